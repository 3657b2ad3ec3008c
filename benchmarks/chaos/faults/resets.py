"""Connections to a model that are reset: at once, or after a moment, again and again."""

from benchmarks.chaos.faults.sources import SourceTrial
from benchmarks.chaos.trial import Wiring

VICTIM = "content"
WIRING = Wiring(cut=VICTIM)


def _trial(name: str, fault: str, *, often: bool) -> SourceTrial:
    return SourceTrial(
        name,
        f"{VICTIM}: {fault}",
        (VICTIM,),
        lambda world: world.helpers[VICTIM].order(name),
        lambda world: world.helpers[VICTIM].order("pass"),
        wiring=WIRING,
        missing=often,
        breaker=often,
    )


TRIALS = (
    _trial("reset", "every connection is reset", often=True),
    _trial("flaky", "connections are reset after a moment", often=False),
)
