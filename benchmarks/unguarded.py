"""Runs a gateway without a part of its protection, to see what the part is good for.

python -m benchmarks.unguarded turns|gates MODULE

turns: every ranking is merged as soon as its answers are there, whoever waits at the
door. gates: everybody is let in at once.
"""

import runpy
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.admission import lanes
from gateway.admission.turns import Turns

_EVERYBODY = 1_000_000


@asynccontextmanager
async def _at_once(self: Turns) -> AsyncIterator[None]:
    """Stand in for a turn."""
    del self
    yield


def _without_turns() -> None:
    Turns.turn = _at_once  # type: ignore[method-assign]


def _without_gates() -> None:
    lanes.FLOOR = lanes.START = lanes.CEILING = _EVERYBODY


PARTS: dict[str, Callable[[], None]] = {"turns": _without_turns, "gates": _without_gates}


def main() -> None:
    """Take the part away, then become the module."""
    PARTS[sys.argv.pop(1)]()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
