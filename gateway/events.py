"""Taking events: durable first, then visible, then acknowledged, in one step."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gateway.catalogue import Catalogue
from gateway.condition import REASONS, State
from gateway.errors import JournalAway, StoreBusy, StoreFailed
from gateway.journal.entries import Events
from gateway.journal.shared import Shared
from gateway.store import Store
from gateway.trails import Trails
from gateway.trends import Trends
from gateway.types import Event
from services.runtime.errors import Unavailable
from services.runtime.metrics import EVENTS, EVENTS_REFUSED, UNKNOWN_ITEMS

_JOURNAL = "journal"
for _reason in (*(state.value for state in State if state is not State.OK), "busy", _JOURNAL):
    EVENTS_REFUSED.labels(_reason)  # shown as 0 from the start


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of events."""

    new: int
    duplicates: int  # their event_id had been stored before
    unknown: int  # new ones about items that the catalogue lacks


class EventTaker:
    """Records events. Belongs to the event loop."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        trails: Trails,
        trends: Trends,
        follow: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        """`follow` hears of new events that name a ranking, once they are durable."""
        self._follow = follow
        self._store = store
        self._catalogue = catalogue
        self._trails = trails
        self._trends = trends
        self._shared: Shared | None = None

    def share(self, shared: Shared) -> None:
        """Record through a journal from now on, which gives everything to `take`."""
        self._shared = shared

    def check(self, events: int) -> None:
        """Refuse so many events at once where the disk would not take them: raises Unavailable.

        Callers send refused events again, and more come meanwhile: a crowd that must cost
        rankings nothing. The store finds out by itself when it can write again.
        """
        state = self._store.condition.state
        if state is not State.OK:
            raise self._refusal(events, REASONS[state], state.value)
        if self._shared is not None and self._shared.trouble:
            raise self._refusal(events, JournalAway.told, _JOURNAL)

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Record events, all or none; when this returns the next request counts them.

        Raises Unavailable, with the pause before a retry, where the disk, or the journal
        that gateways share, does not take them.
        """
        try:
            if self._shared is None:
                numbers = await self.take(events)
            else:
                numbers = await self._shared.write(Events(tuple(events)))
        except StoreFailed as error:
            raise self._refusal(len(events), error.told, _why(self._store, error)) from None
        new = [e for e, number in zip(events, numbers, strict=True) if number]
        named = np.array([e.key for e in new if e.key], np.int64)
        unknown = int((self._catalogue.rows(named) < 0).sum())
        return Recorded(len(new), len(events) - len(new), unknown)

    async def take(
        self,
        events: Sequence[Event],
        position: int | None = None,
        here: Sequence[bool] | None = None,
    ) -> list[int]:
        """Make events durable and visible; return each one's number, 0 for a known event_id.

        `position`: theirs in the journal; `here`: which of them this gateway was given, all
        without a journal. Raises StoreFailed.
        """
        ours = here or [True] * len(events)

        def then(numbers: list[int]) -> None:
            both = zip(events, numbers, strict=True)
            new = [replace(e, number=number) for e, number in both if number]
            self._trails.add(new)
            self._count(new, max(numbers))
            mine = (e for e, n, own in zip(events, numbers, ours, strict=True) if n and own)
            if followed := [e for e in mine if e.ranking_id]:
                asyncio.get_running_loop().call_soon(self._follow, followed)

        return await self._store.record(events, then, position)

    def _refusal(self, events: int, problem: str, reason: str) -> Unavailable:
        EVENTS_REFUSED.labels(reason).inc(events)
        remedy = "send them again with the same event_id"
        return self._store.condition.refusal("no event was recorded", problem, remedy)

    def _count(self, events: Sequence[Event], last_seq: int) -> None:
        rows = self._catalogue.rows(np.array([e.key for e in events], np.int64)).tolist()
        for event, row in zip(events, rows, strict=True):
            self._trends.add(event.market, row, event.type, event.quantity, event.time_ms)
            EVENTS.labels(event.type.name.lower()).inc()
            if event.key and row < 0:
                UNKNOWN_ITEMS.labels("catalogue").inc()
        self._trends.last_seq = max(self._trends.last_seq, last_seq)


def _why(store: Store, error: StoreFailed) -> str:
    if isinstance(error, StoreBusy):
        return "busy"
    if isinstance(error, JournalAway):
        return _JOURNAL
    state = store.condition.state  # well again meanwhile: it did fail
    found = State.FAILING if state is State.OK else state
    return str(found.value)
