"""A histogram that counts many values at once, when somebody looks or enough wait.

A ranking notes some 25 durations, and prometheus_client takes two locks and a search in
Python for each: a thirtieth of what the gateway does for a ranking. Here a value is put
by, and a few hundred are counted together. Nothing is lost, and nothing is late: whoever
collects has all counted first.
"""

from collections import deque
from collections.abc import Iterable
from threading import Lock

import numpy as np
import prometheus_client
from prometheus_client.samples import Sample

# Values put by before they are counted: enough that counting costs little, few to hold.
MOST = 256


class Histogram(prometheus_client.Histogram):
    """As prometheus_client's, for one process; any thread may observe."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._bounds = np.array(self._upper_bounds)
        self._waiting: deque[float] = deque()
        self._counting = Lock()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Note one value. Exemplars are not kept."""
        del exemplar
        self._waiting.append(amount)
        if len(self._waiting) >= MOST:
            self._count()

    def _count(self) -> None:
        with self._counting:
            # Others may append meanwhile, at the other end; theirs are for the next time.
            values = np.array([self._waiting.popleft() for _ in range(len(self._waiting))])
            if not len(values):
                return
            counts = np.bincount(np.searchsorted(self._bounds, values))
            for bucket, count in zip(self._buckets, counts.tolist(), strict=False):
                if count:
                    bucket.inc(count)
            self._sum.inc(float(values.sum()))

    def _child_samples(self) -> Iterable[Sample]:
        self._count()
        return super()._child_samples()
