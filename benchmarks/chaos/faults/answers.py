"""A model that answers late, or answers garbage: a proxy meddles with what it says."""

from benchmarks.chaos.faults.sources import SourceTrial
from benchmarks.chaos.trial import Wiring

VICTIM = "cf"
WIRING = Wiring(meddled=VICTIM)


def _trial(
    name: str, fault: str, order: str, *, missing: bool = True, breaker: bool = True
) -> SourceTrial:
    return SourceTrial(
        name,
        f"{VICTIM} {fault}",
        (VICTIM,),
        lambda world: world.helpers[VICTIM].order(order),
        lambda world: world.helpers[VICTIM].order("pass"),
        wiring=WIRING,
        missing=missing,
        breaker=breaker,
    )


TRIALS = (
    _trial("slow", "takes ten times as long", "slow 10", missing=False, breaker=False),
    _trial("stall", "takes 1.5 s, beyond any deadline", "stall 1.5"),
    _trial("wrong-shape", "answers scores of a wrong shape", "shape"),
    _trial("wrong-type", "answers scores of a wrong type", "type"),
    _trial("nan", "answers NaN for every item", "nan"),
    _trial("other-keys", "answers items nobody knows", "keys"),
    _trial("nothing", "answers no tensors at all", "nothing"),
    _trial("no-message", "answers bytes that are no message", "bytes"),
)
