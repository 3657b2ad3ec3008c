"""Run the gateway: `python -m gateway`."""

import os
import signal
import sys

# Before the imports, which take seconds: process 1 of a container, which has no handler, hears
# of no SIGTERM, and would serve until it is killed.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
# Before numpy is loaded. The products of a request are small: a second BLAS thread would
# save no time and spin for as long as the first computes (measured: twice the CPU).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from services.runtime.process import run

if __name__ == "__main__":
    sys.exit(
        run("gateway", GatewayConfig, GatewayApplication, argv=sys.argv[1:], environ=os.environ)
    )
