"""How many calls may be worked on at once: as many as end within a target time.

Nobody has to guess the number. Calls are watched in windows; after each the limit
is multiplied by target / median, so that it grows while calls are quicker than
they need be and shrinks while they are slower. This is the gradient of Netflix's
concurrency-limits (2018, github.com/Netflix/concurrency-limits: limit x noload
time / time) with a target in place of the no-load time: calls that ride in one
batch are each slower than a lone one and cheaper together, and a limit that takes
every slowing for a queue would forbid the batches. docs/decisions/0010 has the figures.
"""

from statistics import median

# A window ends with so many calls (or half the limit, if that is more), so that one slow
# call moves nothing. More: steadier, and slower to see that a machine has lost its speed.
_LEAST_CALLS = 10
# It also ends after so long, in seconds: where few come, what they met still counts.
_LONGEST_WINDOW = 0.5
# The most one window changes the limit by. Down faster than up: a limit that is too high
# makes everybody late, one that is too low refuses a few who could have been served.
_SHRINK, _GROW = 0.8, 1.15


class Limit:
    """An adaptive limit on concurrency. Pure: times come in, nothing is waited for."""

    def __init__(self, *, target: float, floor: int, ceiling: int, start: int) -> None:
        """`target`: seconds a call should take at most; `floor` and `ceiling` bound the limit."""
        self.target = target
        self._floor = floor
        self._ceiling = ceiling
        self._exact = float(min(max(start, floor), ceiling))
        self._began: float | None = None
        self._took: list[float] = []
        self._peak = 0
        # What a call took in the last window, in seconds; 0 before there was one.
        self.typical = 0.0

    @property
    def value(self) -> int:
        """How many calls may be worked on at once."""
        return int(self._exact)

    @property
    def load(self) -> float:
        """The typical time of a call as a part of the target; above 1 is too much."""
        return self.typical / self.target

    def note(self, seconds: float, busy: int, now: float) -> bool:
        """Take in how long a call took, and how many were under way, itself included.

        True where that ended a window, and with it may have moved the limit.
        """
        if self._began is None:
            self._began = now
        self._took.append(seconds)
        self._peak = max(self._peak, busy)
        enough = len(self._took) >= max(_LEAST_CALLS, self.value // 2)
        if not enough and now - self._began < _LONGEST_WINDOW:
            return False
        self._close()
        return True

    def _close(self) -> None:
        self.typical = median(self._took)
        gradient = min(max(self.target / max(self.typical, 1e-6), _SHRINK), _GROW)
        if gradient < 1:
            # What was under way is what was too much, wherever the limit stood.
            self._exact = min(self._exact, max(self._peak, self._floor)) * gradient
        elif self._peak >= self.value:
            # Only a limit that was reached has been shown to be too low.
            self._exact *= gradient
        self._exact = min(max(self._exact, self._floor), self._ceiling)
        self._began, self._took, self._peak = None, [], 0
