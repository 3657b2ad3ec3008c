"""What is known of one shopper, read when asked for and added up; nothing of it is kept.

It is read from the store, where every acknowledged event is before it is acknowledged:
further back than the trails in memory, and with the prices that were paid.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.formulas import by_step
from artifacts.profiles import Deeds, Profile, profile
from gateway.catalogue import Catalogue
from gateway.errors import StoreError
from gateway.fusion.types import Bools, Columns, Rows
from gateway.history import TYPE_WEIGHT, HistorySettings, fading, is_recent
from gateway.reads import StoredEvent
from gateway.store import Store
from gateway.types import Event, EventType
from services.runtime.errors import Unavailable

# Newest events of a shopper that are read; some years of a busy household.
MOST_EVENTS = 5_000


@dataclass(frozen=True, slots=True)
class Portrait:
    """A profile, and what its numbers of categories, domains and brands stand for."""

    profile: Profile
    columns: Columns
    truncated: bool  # there are older events


class Profiles:
    """Makes profiles. Belongs to the event loop."""

    def __init__(
        self, store: Store, catalogue: Catalogue, ageing: Callable[[], HistorySettings]
    ) -> None:
        """`ageing`: how events lose weight by the fusion artifact of the moment."""
        self._store = store
        self._catalogue = catalogue
        self._ageing = ageing

    async def get(self, user_id: str, events: Sequence[Event]) -> Portrait:
        """Return a shopper's profile as of now; empty where nothing is known.

        `events` are the request's own. Raises Unavailable where the store cannot be read:
        an empty profile would say that the shopper is unknown.
        """
        try:
            stored = await self._store.events_of(user_id, MOST_EVENTS + 1)
        except StoreError:
            raise Unavailable(
                "the shopper's events cannot be read at the moment; try again",
                retry_after_ms=self._store.condition.pause_ms,
            ) from None
        told, inline = joined(stored[-MOST_EVENTS:], events)
        now_ms = int(time.time() * 1000)
        columns, keys = self._catalogue.columns, np.array([e.key for e in told], np.int64)
        made = deeds(told, self._catalogue.rows(keys), inline, now_ms, self._ageing())
        # The prices of whole categories are sorted: not in the way of rankings.
        found = await asyncio.to_thread(profile, made, columns, now_ms)
        return Portrait(found, columns, len(stored) > MOST_EVENTS)


def joined(
    stored: Sequence[StoredEvent], events: Sequence[Event]
) -> tuple[list[StoredEvent], Bools]:
    """Add a request's own events to the stored ones that lack them, by time.

    Returns all [L], and which of them came with the request [L].
    """
    held = {e.event_id for e in stored if e.event_id} if events else set()
    same = {e[:3] for e in stored} if events else set()
    both = [(event, False) for event in stored]
    for event in events:
        known = event.event_id in held if event.event_id else event_of(event)[:3] in same
        if not known:
            both.append((event_of(event), True))
            held.add(event.event_id)
            same.add(event_of(event)[:3])
    both.sort(key=lambda pair: pair[0].time_ms)  # stable: of one moment as they came
    return [event for event, _ in both], np.array([new for _, new in both], np.bool_)


def event_of(event: Event) -> StoredEvent:
    """Return an event of a request as the store would have it."""
    return StoredEvent(
        event.key, int(event.type), event.time_ms, event.event_id or None, event.price
    )


def deeds(
    events: Sequence[StoredEvent],
    rows: Rows,
    inline: Bools,
    now_ms: int,
    settings: HistorySettings,
) -> Deeds:
    """Weigh events [L] as the models are told of them; `rows` are their items' [L].

    `inline` [L] came with the request: they are happening now, whatever the caller's clock says.
    """
    types = np.array([e.type for e in events], np.int8)
    times = np.array([e.time_ms for e in events], np.int64)
    worth = TYPE_WEIGHT[types]
    recent = is_recent(times, now_ms, settings) | inline
    step_weights = np.zeros(len(events), np.float32)
    step_weights[recent] = by_step(worth[recent])
    prices = [np.nan if e.price is None else e.price for e in events]
    return Deeds(
        keys=np.array([e.key for e in events], np.int64),
        rows=rows,
        times=times,
        weights=worth * fading(now_ms - times, settings),
        bought=types == EventType.PURCHASE,
        paid=np.array(prices, np.float32),
        recent=recent,
        step_weights=step_weights,
    )
