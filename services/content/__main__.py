"""Run this service: `python -m services.content`."""

import os
import sys

from services.runtime.early import prepare

prepare("content")

from services.content.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
