"""Connections to a model that are reset: at once, or after a moment, again and again."""

from benchmarks.chaos.faults.sources import SourceTrial
from benchmarks.chaos.trial import Wiring

VICTIM = "content"
WIRING = Wiring(cut=VICTIM)


def _trial(
    name: str, fault: str, order: str, *, missing: bool = True, breaker: bool = False
) -> SourceTrial:
    return SourceTrial(
        name,
        f"{VICTIM}: {fault}",
        (VICTIM,),
        lambda world: world.helpers[VICTIM].order(order),
        lambda world: world.helpers[VICTIM].order("pass"),
        wiring=WIRING,
        missing=missing,
        breaker=breaker,
    )


TRIALS = (
    _trial(
        "reset-calls", "a connection is reset when it carries a question", "calls", breaker=True
    ),
    # Nothing can be asked of a server that no connection reaches: it counts as away.
    _trial("reset", "every connection is reset", "reset"),
    _trial("flaky", "connections are reset after a moment", "flaky", missing=False),
)
