"""Runs a process of Plait with metrics that count nothing, to see what counting costs.

python -m benchmarks.unmetered MODULE

The measuring code around the metrics stays; what goes is every update of one.
"""

import runpy
import sys
from typing import Any

import prometheus_client as prometheus

from services.runtime.histogram import Histogram


def _nothing(self: Any, *values: Any, **labels: Any) -> None:
    """Stand in for every update of a metric."""


def main() -> None:
    """Silence the metrics, then become the module."""
    for kind in (prometheus.Counter, prometheus.Gauge, prometheus.Histogram, Histogram):
        for update in {"inc", "dec", "set", "observe"} & set(vars(kind)):
            setattr(kind, update, _nothing)
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
