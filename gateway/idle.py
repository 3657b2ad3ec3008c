"""Rankings of shoppers who did nothing since: shown again while nothing they depend on changed.

A ranking is kept for one shopper and one request. It is given out again, under an
id of its own, only while the shopper's history, the catalogue, the learned settings
and everything known about the sources are what they were, and for some seconds at
most, because trends move with everybody's events. Off unless a number of seconds
is set.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from gateway.paging import new_ranking_id
from gateway.types import Ask, Ranking, Timings
from services.runtime.metrics import IDLE_LOOKUPS

_HIT, _MISS = (IDLE_LOOKUPS.labels(outcome) for outcome in ("hit", "miss"))


@dataclass(frozen=True, slots=True)
class Moment:
    """What a ranking depends on, at the time it was asked for."""

    # Replaced as a whole when anything in them changes: history, settings. Not the catalogue's
    # columns: each ranking would keep those of its time in memory.
    snapshots: tuple[object, ...]
    # Compared by value: the catalogue's number of changes, versions, servers and their states.
    stamp: tuple[object, ...]

    def holds(self, now: "Moment") -> bool:
        """Say whether nothing changed since."""
        same = all(a is b for a, b in zip(self.snapshots, now.snapshots, strict=True))
        return same and self.stamp == now.stamp


class IdleRankings:
    """Recent rankings by request; the oldest goes first. Belongs to the event loop."""

    def __init__(
        self,
        moment: Callable[[str, float], Awaitable[Moment]],
        *,
        capacity: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`moment`: all that rankings for a shopper depend on, now; known by when `find` says."""
        self._moment = moment
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[Ask, tuple[float, Moment, Ranking]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, ask: Ask, until: float) -> tuple[Ranking | None, Moment | None]:
        """Return what was kept for an ask, and the moment to keep a new ranking for.

        No moment where rankings for such an ask are not kept at all. A new ranking must be
        made by `until` (time.perf_counter()).
        """
        if not self._seconds or not ask.user_id or len(ask.events) or ask.explain:
            return None, None
        moment = await self._moment(ask.user_id, until)
        good_until, then, ranking = self._kept.get(ask, (0.0, None, None))
        if ranking is None or then is None or good_until < self._clock() or not then.holds(moment):
            self._kept.pop(ask, None)
            _MISS.inc()
            return None, moment
        _HIT.inc()
        return _again(ranking), moment

    def keep(self, ask: Ask, moment: Moment | None, ranking: Ranking) -> None:
        """Keep a ranking that lacks nothing: no source that was asked, nor the shopper's events."""
        if moment is None or ranking.partial or ranking.fallback or ranking.unread:
            return
        now = self._clock()
        self._kept[ask] = (now + self._seconds, moment, ranking)
        self._kept.move_to_end(ask)
        while len(self._kept) > self._capacity or self._oldest() < now:
            self._kept.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Drop the rankings of a shopper."""
        for ask in [ask for ask in self._kept if ask.user_id == user_id]:
            del self._kept[ask]

    def _oldest(self) -> float:
        """Return until when the oldest is given out."""
        return next(iter(self._kept.values()))[0]


def _again(ranking: Ranking) -> Ranking:
    """The same ranking as one of its own, for which no source was asked."""
    return replace(
        ranking,
        ranking_id=new_ranking_id(),
        answers=tuple(answer._replace(seconds=0.0) for answer in ranking.answers),
        timings=Timings(total=0.0, merge=0.0, stages=()),
        again=True,
    )
