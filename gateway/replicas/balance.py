"""Which replica gets the next call: the one that will answer soonest.

Expected time = (rows it is busy with + 1) x how long its answers take lately. Rows
alone would send a replica on a busy machine as much as the others until it drowns;
time alone would not see what is under way. A source has few replicas, so all are
looked at. Measured by benchmarks/balancing.py (docs/decisions/0009).
"""

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

# Of an answer's time in the mean.
_NEWEST = 0.2
# Seconds in which a replica that is not asked is taken to be twice as fast as it was,
# so that one that was slow is tried again.
_FORGIVEN = 5.0


class Pace:
    """How long a replica's answers take lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mean: float | None = None
        self._seen = 0.0

    def observe(self, seconds: float) -> None:
        """Take the time of one answer, or how long none had come."""
        before = self.expected
        self._mean = seconds if before is None else before + _NEWEST * (seconds - before)
        self._seen = self._clock()

    @property
    def expected(self) -> float | None:
        """Seconds that an answer should take; None: never seen."""
        if self._mean is None:
            return None
        return float(self._mean * 0.5 ** ((self._clock() - self._seen) / _FORGIVEN))


class Loaded(Protocol):
    """What is known of a replica."""

    @property
    def rows(self) -> int:
        """Rows under way."""
        ...

    @property
    def pace(self) -> Pace:
        """How long its answers take."""
        ...


R = TypeVar("R", bound=Loaded)


def soonest(candidates: Sequence[R], draw: random.Random) -> R:
    """Return the candidate expected to answer first; chance decides between equals.

    One never seen is taken to be as fast as the fastest.
    """
    if len(candidates) == 1:
        return candidates[0]
    paces = [c.pace.expected for c in candidates]
    fastest = min((p for p in paces if p is not None), default=1.0)
    waits = [
        ((c.rows + 1) * (fastest if p is None else p), draw.random(), n)
        for n, (c, p) in enumerate(zip(candidates, paces, strict=True))
    ]
    return candidates[min(waits)[2]]
