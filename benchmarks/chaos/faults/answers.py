"""A model that answers late, or answers garbage: a proxy meddles with what it says."""

from functools import partial

from benchmarks.chaos.faults.sources import ordered
from benchmarks.chaos.trial import Wiring

VICTIM = "cf"
_trial = partial(ordered, VICTIM, Wiring(meddled=VICTIM), breaker=True)

TRIALS = (
    _trial("slow", f"{VICTIM} takes ten times as long", "slow 10", missing=False, breaker=False),
    _trial("stall", f"{VICTIM} takes 1.5 s, beyond any deadline", "stall 1.5"),
    _trial("wrong-shape", f"{VICTIM} answers scores of a wrong shape", "shape"),
    _trial("wrong-type", f"{VICTIM} answers scores of a wrong type", "type"),
    _trial("nan", f"{VICTIM} answers NaN for every item", "nan"),
    _trial("other-keys", f"{VICTIM} answers items nobody knows", "keys"),
    _trial("nothing", f"{VICTIM} answers no tensors at all", "nothing"),
    _trial("no-message", f"{VICTIM} answers bytes that are no message", "bytes"),
)
