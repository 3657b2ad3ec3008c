"""Run this service: `python -m services.sequence`."""

import os
import sys

from services.runtime.early import prepare

prepare("sequence")

from services.sequence.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
