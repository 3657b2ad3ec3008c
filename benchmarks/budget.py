"""Rounds within a time: a busy machine gets fewer rounds, not a longer run."""

import time
from collections.abc import Callable, Iterator


class Budget:
    """The time that a run may take, in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began = clock()

    @property
    def spent(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._began

    def rounds(self, most: int, share: float) -> Iterator[int]:
        """Yield 0, 1, ... `most` - 1, but end where another round would pass `share` of the time.

        The first is always yielded: a part without a round has nothing to say.
        """
        longest = 0.0
        for number in range(most):
            started = self.spent
            if number and started + longest > share * self._seconds:
                return
            yield number
            longest = max(longest, self.spent - started)
