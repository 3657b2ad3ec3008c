"""Shoppers' newest events in memory: what makes an event count in the next request.

An acknowledged event is added here in the same step that acknowledges it. Who is
not here is read from the store; what arrives during that read is added to its result,
so the cache never lags behind what was acknowledged.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from gateway.errors import StoreError
from gateway.extending import extended
from gateway.reads import MOST_JUDGED
from gateway.types import Event, EventType, Trail, columns_of
from services.runtime.logs import Seldom

_log = logging.getLogger(__name__)
_OPINIONS = (EventType.LIKE, EventType.DISLIKE)
# Part of a ranking's time that reading its shopper's events may take, and the least of it in
# seconds: the rest is for the sources.
_SHARE, _LEAST_SECONDS = 0.5, 0.01
# Shoppers being read at once; a disk that stands still must not fill the memory.
_MOST_LOADING = 1_000
EMPTY = Trail(
    keys=np.zeros(0, np.int64),
    types=np.zeros(0, np.int8),
    times=np.zeros(0, np.int64),
    ids=np.zeros(0, np.int64),
    purchased=np.zeros(0, np.int64),
    disliked=np.zeros(0, np.int64),
    judged=np.zeros(0, np.int64),
    judged_ms=np.zeros(0, np.int64),
    seen=0,
)
# As empty, but what there is is not known: callers tell the two apart by identity.
UNREAD = replace(EMPTY)


class Trails:
    """A bounded cache of trails, least recently used out first."""

    def __init__(
        self, read: Callable[[str], Awaitable[Trail]], *, capacity: int, length: int
    ) -> None:
        """`read` fetches a shopper from the store; `length`: events kept of each."""
        self._read = read
        self._capacity = capacity
        self._length = length
        self._trails: OrderedDict[str, Trail] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Trail]] = {}
        # What was acknowledged of shoppers while they were being read. Not a reason to read
        # again: of an id that many share, something always is.
        self._meanwhile: dict[str, list[Event]] = {}
        self._seldom = Seldom()

    async def get(self, user_id: str, until: float) -> Trail:
        """Return a shopper's trail; EMPTY for an anonymous one, UNREAD if the store fails.

        UNREAD also where reading takes more than its part of the time that there is `until`
        (time.perf_counter()): what is read then is there for the next request.
        """
        if not user_id:
            return EMPTY
        trail = self._trails.get(user_id)
        if trail is not None:
            self._trails.move_to_end(user_id)
            return trail
        task = self._loading.get(user_id)
        if task is None:
            if len(self._loading) >= _MOST_LOADING:
                return self._unread("too many are being read")
            task = self._loading[user_id] = asyncio.create_task(self._load(user_id))
            # Whoever waited may have gone: then an error is nobody's.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Others may wait for the same read: neither a caller that goes nor one whose time is up
        # may end it.
        seconds = max(_SHARE * (until - perf_counter()), _LEAST_SECONDS)
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            return self._unread("not within the time of a ranking")
        try:
            return task.result()
        except StoreError as error:
            return self._unread(str(error))

    def _unread(self, reason: str) -> Trail:
        """Go on without: a ranking without history is worth more to the shopper than an error."""
        # What ails the store is in its condition, and this may be every request: also where
        # each read in between comes to its end, only later than a ranking can wait.
        if self._seldom.news(reason):
            _log.error("shoppers' events cannot be read", extra={"reason": reason})
        return UNREAD

    async def _load(self, user_id: str) -> Trail:
        try:
            return await self._read_through(user_id)
        finally:
            # At once, so that nobody is given this result after something was added.
            del self._loading[user_id]
            self._meanwhile.pop(user_id, None)

    async def _read_through(self, user_id: str) -> Trail:
        while True:
            meanwhile = self._meanwhile[user_id] = []
            trail = await self._read(user_id)
            # Somebody who was forgotten in between is read again.
            if meanwhile is self._meanwhile[user_id] and self._tells(trail, meanwhile):
                break
        trail = extended(trail, columns_of(meanwhile), self._length)
        self._trails[user_id] = trail
        while len(self._trails) > self._capacity:
            self._trails.popitem(last=False)
        return trail

    def add(self, events: Iterable[Event]) -> None:
        """Take in events that were just made durable."""
        by_user: dict[str, list[Event]] = {}
        for event in events:
            by_user.setdefault(event.user_id, []).append(event)
        for user_id, theirs in by_user.items():
            if user_id in self._meanwhile:
                self._meanwhile[user_id] += theirs
            trail = self._trails.get(user_id)
            if trail is None:
                continue
            if self._tells(trail, theirs):
                self._trails[user_id] = extended(trail, columns_of(theirs), self._length)
            else:
                del self._trails[user_id]  # it is read again

    def forget(self, user_id: str) -> None:
        """Drop a shopper whose events were just deleted."""
        self._trails.pop(user_id, None)
        if user_id in self._meanwhile:
            self._meanwhile[user_id] = []

    def _tells(self, trail: Trail, events: Sequence[Event]) -> bool:
        """Say whether a trail reaches back far enough to tell which opinion is the newest."""
        if len(trail.judged) < MOST_JUDGED:
            return True  # it is all there is
        return all(e.time_ms >= trail.judged_ms[0] for e in events if e.type in _OPINIONS)
