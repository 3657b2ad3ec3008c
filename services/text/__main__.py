"""Run this service: `python -m services.text`."""

import os
import sys

from services.runtime.early import prepare

prepare("text")

from services.text.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
