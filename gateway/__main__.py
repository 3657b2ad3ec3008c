"""Run the gateway: `python -m gateway`."""

import os
import sys

from services.runtime.early import prepare

prepare("gateway")
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
