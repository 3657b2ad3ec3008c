"""What becomes of events when their caller has gone."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.catalogue import Catalogue
from gateway.events import EventTaker
from gateway.extending import extended
from gateway.store import Store, StoreSettings
from gateway.trails import Trails
from gateway.trends import Trends
from gateway.types import Event, EventType, columns_of
from tests.unit.gateway.test_catalogue import FUSION, item


async def test_an_event_that_is_durable_is_followed_though_its_caller_has_gone(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "state.sqlite", StoreSettings(5))
    store.start()
    followed, heard = list[Event](), asyncio.Event()

    def follow(events: Sequence[Event]) -> None:
        followed.extend(events)
        heard.set()

    trails = Trails(store.trail, capacity=9, length=5)
    taker = EventTaker(store, Catalogue(FUSION, [item("1")]), trails, Trends(7.0, 8, 1_000), follow)
    click = Event("u", 1, EventType.CLICK, 1_000, event_id="a", ranking_id="r")
    view = Event("u", 1, EventType.VIEW, 1_000, event_id="b")
    try:
        with store._use().writer.held():  # as long as the disk takes
            call = asyncio.create_task(taker.record([click, view]))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
        async with asyncio.timeout(30):
            await heard.wait()
        assert followed == [click]
        # Whoever sends it again is told that it is known, and it is not followed twice.
        assert (await taker.record([click])).duplicates == 1
        assert (await taker.record([view])).duplicates == 1
        assert followed == [click]
    finally:
        store.stop()


async def test_what_is_recorded_counts_as_often_in_memory_as_after_a_restart(
    tmp_path: Path,
) -> None:
    """Two units of one thing at one time, in calls of their own and without ids, are two."""
    store = Store(tmp_path / "state.sqlite", StoreSettings(9))
    store.start()
    trails = Trails(store.trail, capacity=9, length=9)
    taker = EventTaker(store, Catalogue(FUSION, [item("1")]), trails, Trends(7.0, 8, 1_000))
    bought = Event("u", 1, EventType.PURCHASE, 1_000)
    named = Event("u", 1, EventType.PURCHASE, 1_000, event_id="a")
    until = time.perf_counter() + 30
    try:
        await trails.get("u", until)
        for events in ([named], [bought], [bought, bought], [named]):
            await taker.record(events)
        known = await trails.get("u", until)
        read = await Trails(store.trail, capacity=9, length=9).get("u", until)
        assert known.keys.tolist() == read.keys.tolist() == [1] * 4
        assert known.ids.tolist() == read.ids.tolist()
        # What a request brings may be what the store has already.
        assert extended(known, columns_of([bought]), 9) is known
    finally:
        store.stop()
