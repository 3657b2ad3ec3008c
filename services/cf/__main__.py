"""Run this service: `python -m services.cf`."""

import os
import signal
import sys

# Before the imports, which take seconds: process 1 of a container, which has no handler, hears
# of no SIGTERM, and would serve until it is killed.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from services.cf.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
