"""The quality factor: under load every ranking is made of a little less, before any is refused.

A ladder of factors. One step down when the load is high, one step up when it is
low, nothing in between: a shop at the edge must not flicker. Down is quicker than
up, because a refused shopper is worse than a ranking of fewer candidates. Steps are
taken when the load is told, which rankings do: without any there is none, and the
next one is made of all.
"""

import time
from collections.abc import Callable

# Few values, so that questions of one moment are alike and share a batch.
LADDER = (1.0, 0.8, 0.6, 0.45, 0.3)
# Load, as a part of what is too much, from which a step down is due, and below which up.
_HIGH, _LOW = 0.58, 0.38
# Seconds that a step is given to show its effect.
_DOWN_PAUSE, _UP_PAUSE = 0.2, 0.5
# Seconds after which a load that nothing was heard of is none.
_QUIET = 3.0


class Quality:
    """Where on the ladder rankings are made."""

    def __init__(
        self, *, floor: float = LADDER[-1], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """The factor never falls below `floor`; 1 switches it off."""
        self._ladder = tuple(f for f in LADDER if f >= floor)
        self._clock = clock
        self._rung = 0
        self._moved = self._noted = float("-inf")

    @property
    def factor(self) -> float:
        """A number in (0, 1]: the part of the usual candidates and careful places."""
        return self._ladder[0 if self._quiet(self._clock()) else self._rung]

    def of(self, usual: int, least: int = 1) -> int:
        """Return that part of a number, at least `least` (but never more than usual)."""
        return min(usual, max(round(usual * self.factor), least))

    def note(self, load: float, now: float) -> None:
        """Take in the load (1: as much as can be done in time) at a moment of the clock."""
        if self._quiet(now):
            self._rung = 0
        self._noted = now
        last = len(self._ladder) - 1
        if load > _HIGH and self._rung < last and now - self._moved >= _DOWN_PAUSE:
            self._step(1, now)
        elif load < _LOW and self._rung > 0 and now - self._moved >= _UP_PAUSE:
            self._step(-1, now)

    def _quiet(self, now: float) -> bool:
        return now - self._noted > _QUIET

    def _step(self, by: int, now: float) -> None:
        self._rung += by
        self._moved = now
