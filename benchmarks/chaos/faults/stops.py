"""SIGSTOP of a model: the process is there, its port takes connections, and nothing answers."""

import os
import signal

from benchmarks.chaos.faults.sources import SourceTrial
from benchmarks.chaos.world import World

_VICTIM = "sequence"


def _send(number: signal.Signals, world: World) -> None:
    os.kill(world.fleet.pid(_VICTIM), number)


TRIALS = (
    SourceTrial(
        "stop",
        f"{_VICTIM} stopped (SIGSTOP)",
        (_VICTIM,),
        lambda world: _send(signal.SIGSTOP, world),
        lambda world: _send(signal.SIGCONT, world),
        breaker=True,
    ),
)
