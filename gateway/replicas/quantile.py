"""The p95 of what was seen lately, without keeping what was seen.

A histogram with buckets 5 % apart, in which an observation's weight halves every
`half_life` seconds. Instead of ageing every bucket all the time, newer
observations weigh more (forward decay: Cormode et al., ICDE 2009).
"""

import math
from collections.abc import Callable

_LEAST = 1e-4  # seconds, the upper bound of the first bucket
_RATIO = 1.05
_BUCKETS = 256  # up to 25 s
_REFRESH_SECONDS = 0.1
_RESCALE = 1e9
# Half-lives after which nothing is left of what was seen.
_FORGOTTEN = 100.0


class Quantile:
    """One quantile of durations, in seconds."""

    def __init__(
        self,
        q: float,
        clock: Callable[[], float],
        *,
        half_life: float = 10.0,
        least_seen: float = 20.0,
    ) -> None:
        """`least_seen`: below so many observations, aged, there is no saying."""
        self._q = q
        self._clock = clock
        self._half_life = half_life
        self._least_seen = least_seen
        self._weights = [0.0] * _BUCKETS
        self._total = 0.0
        self._origin = clock()
        self._value: float | None = None
        self._fresh_until = -math.inf

    def observe(self, seconds: float) -> None:
        """Take one duration; takes constant time."""
        weight = self._weight()
        if weight > _RESCALE:
            self._weights = [w / weight for w in self._weights]
            self._total /= weight
            self._origin, weight = self._clock(), 1.0
        place = math.ceil(math.log(max(seconds, _LEAST) / _LEAST) / math.log(_RATIO))
        self._weights[min(place, _BUCKETS - 1)] += weight
        self._total += weight

    @property
    def value(self) -> float | None:
        """The quantile, at most 5 % too high; None while too little was seen.

        Once known, it is worked out at most ten times a second.
        """
        now = self._clock()
        if self._value is None or now >= self._fresh_until:
            self._fresh_until = now + _REFRESH_SECONDS
            self._value = self._work_out()
        return self._value

    def _work_out(self) -> float | None:
        weight = self._weight()
        if self._total / weight < self._least_seen:
            return None
        wanted = self._q * self._total
        for place, weight in enumerate(self._weights):
            wanted -= weight
            if weight and wanted <= 1e-9 * self._total:
                return float(_LEAST * _RATIO**place)
        return None

    def _weight(self) -> float:
        now = self._clock()
        age = (now - self._origin) / self._half_life
        if age > _FORGOTTEN:
            # Begun anew: in three hours without a call the power would grow out of a float.
            self._weights, self._total = [0.0] * _BUCKETS, 0.0
            self._origin, age = now, 0.0
        return float(2.0**age)
