"""Run this service: `python -m services.cf`."""

import os
import sys

from services.runtime.early import prepare

prepare("cf")

from services.cf.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
