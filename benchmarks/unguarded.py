"""Runs a gateway without a part of its protection, to see what the part is good for.

python -m benchmarks.unguarded turns|gates|bell|ahead MODULE

turns: rankings are merged as soon as their answers are there, whoever waits at the door.
gates: everybody is let in at once. bell: of what gRPC tells, one byte is read in each
turn of the loop, as grpc.aio does. ahead: calls are taken in one at a time.
"""

import runpy
import sys
from collections.abc import Callable

from gateway.admission import lanes
from gateway.admission.turns import Turns
from services.runtime import accepting, loop

_EVERYBODY = 1_000_000


async def _at_once(*_: object) -> None:
    """Stand in for the pause before a piece of work."""


def _without_turns() -> None:
    Turns.let_in = _at_once  # type: ignore[method-assign,assignment]


def _without_gates() -> None:
    lanes.FLOOR = lanes.START = lanes.CEILING = _EVERYBODY


def _without_bell() -> None:
    loop.is_bell = lambda *_: False


def _without_ahead() -> None:
    accepting.AHEAD = 1


PARTS: dict[str, Callable[[], None]] = {
    "turns": _without_turns,
    "gates": _without_gates,
    "bell": _without_bell,
    "ahead": _without_ahead,
}


def main() -> None:
    """Take the part away, then become the module."""
    PARTS[sys.argv.pop(1)]()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
