"""Connections to a model that are reset: at once, or after a moment, again and again."""

from functools import partial

from benchmarks.chaos.faults.sources import ordered
from benchmarks.chaos.trial import Wiring

VICTIM = "content"
_trial = partial(ordered, VICTIM, Wiring(cut=VICTIM))

TRIALS = (
    _trial(
        "reset-calls",
        f"{VICTIM}: a connection is reset when it carries a question",
        "calls",
        breaker=True,
    ),
    # Nothing can be asked of a server that no connection reaches: it counts as away.
    _trial("reset", f"{VICTIM}: every connection is reset", "reset"),
    _trial("flaky", f"{VICTIM}: connections are reset after a moment", "flaky", missing=False),
)
