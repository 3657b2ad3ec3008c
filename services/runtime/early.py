"""What a serving process does before its imports, which take a second or two."""

import os
import signal
import sys

from services.runtime import logs


def prepare(role: str) -> None:
    """Hear SIGTERM from the beginning, and leave out what no server needs; call it first.

    `role` is that of the logs: imports that have to compile (artifacts/compiled.py) take up to
    a minute, and say so.
    """
    # Process 1 of a container has no handler of its own, hears of no SIGTERM, and would serve
    # until it is killed.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    logs.configure(role, "info")
    # numba looks for scipy, for matrix products inside compiled code. There are none, serving
    # images lack it, and where it is installed it would take a tenth of a second and 10 MB here.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
