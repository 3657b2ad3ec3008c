"""The cache of histories never lags behind what was acknowledged."""

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import StoreCorrupt
from gateway.extending import extended
from gateway.reads import MOST_KEYS
from gateway.trails import EMPTY, UNREAD, Trails
from gateway.types import Event, EventType, Trail, columns_of

# Far beyond what any test takes, on time.perf_counter().
LATER = 1e9


def event(user: str, key: int, time_ms: int = 1) -> Event:
    return Event(user, key, EventType.VIEW, time_ms)


class FakeStore:
    """Holds events; a read takes until `let` is set."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.let = asyncio.Event()
        self.let.set()
        self.reads = 0

    async def read(self, user_id: str) -> Trail:
        self.reads += 1
        found = extended(EMPTY, columns_of(e for e in self.events if e.user_id == user_id), 10)
        await self.let.wait()
        return found


def trails(store: FakeStore, capacity: int = 10) -> Trails:
    return Trails(store.read, capacity=capacity, length=10)


async def test_a_shopper_is_read_once_and_kept_up_to_date() -> None:
    store = FakeStore()
    cache = trails(store)
    store.events.append(event("u", 1))
    assert (await cache.get("u", LATER)).keys.tolist() == [1]
    cache.add([event("u", 2, 2), event("other", 3)])
    assert (await cache.get("u", LATER)).keys.tolist() == [1, 2]
    assert store.reads == 1


async def test_an_event_that_overtakes_a_read_is_in_its_result() -> None:
    store = FakeStore()
    store.let.clear()
    cache = trails(store)
    reading = asyncio.create_task(cache.get("u", LATER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.events.append(event("u", 1))
    cache.add([event("u", 1)])
    store.let.set()
    assert (await reading).keys.tolist() == [1]
    assert (await cache.get("u", LATER)).keys.tolist() == [1]


async def test_an_id_that_many_share_is_read_once_however_many_events_overtake_the_read() -> None:
    store = FakeStore()
    reading = store.read

    async def overtaken(user_id: str) -> Trail:
        """Some events come before what is read is read, and some before it is here."""
        happen(event("guest", 2 * store.reads + 1, 10 + 2 * store.reads))
        trail = await reading(user_id)
        happen(event("guest", 2 * store.reads + 2, 11 + 2 * store.reads))
        return trail

    def happen(one: Event) -> None:
        store.events.append(one)
        cache.add([one])

    cache = Trails(overtaken, capacity=3, length=10)
    assert (await cache.get("guest", LATER)).keys.tolist() == [1, 4]
    happen(event("guest", 9, 90))
    assert (await cache.get("guest", LATER)).keys.tolist() == [1, 4, 9]
    assert store.reads == 1


async def test_callers_at_the_same_time_share_one_read_which_outlives_each_of_them() -> None:
    store = FakeStore()
    store.let.clear()
    cache = trails(store)
    first, second = (asyncio.create_task(cache.get("u", LATER)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    store.let.set()
    assert (await second).keys.tolist() == []
    assert store.reads == 1


async def test_the_least_recently_used_shopper_goes_first() -> None:
    store = FakeStore()
    cache = trails(store, capacity=2)
    for user in ("a", "b", "a", "c", "a", "b"):
        await cache.get(user, LATER)
    assert store.reads == 4


async def test_nobody_has_no_history_and_is_not_read() -> None:
    store = FakeStore()
    assert not len((await trails(store).get("", LATER)).keys)
    assert not store.reads


async def test_a_store_that_fails_costs_the_history_not_the_answer() -> None:
    async def fails(user_id: str) -> Trail:
        raise StoreCorrupt(f"{user_id}: damaged")

    cache = Trails(fails, capacity=2, length=10)
    assert await cache.get("u", LATER) is UNREAD


async def test_a_read_that_takes_too_long_costs_the_history_once_and_is_there_for_the_next() -> (
    None
):
    store = FakeStore()
    store.events.append(event("u", 1))
    store.let.clear()
    cache = trails(store)
    assert await cache.get("u", until=0.0) is UNREAD
    assert await cache.get("u", until=0.0) is UNREAD
    store.let.set()
    assert (await cache.get("u", LATER)).keys.tolist() == [1]
    assert store.reads == 1


async def test_a_disk_that_is_slow_for_one_after_the_other_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FakeStore()
    cache = trails(store)
    for number in range(5):
        store.let.clear()
        assert await cache.get(f"u{number}", 0.0) is UNREAD
        store.let.set()
        while await cache.get(f"u{number}", LATER) is UNREAD:
            pass
    assert [r.getMessage() for r in caplog.records] == ["shoppers' events cannot be read"]


async def test_a_disk_that_stands_still_does_not_gather_reads_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.trails._MOST_LOADING", 3)
    store = FakeStore()
    store.let.clear()
    cache = trails(store)
    for number in range(9):
        assert await cache.get(f"u{number}", until=0.0) is UNREAD
    assert store.reads == 3
    store.let.set()
    store.events.append(event("u8", 1))
    assert [len((await cache.get(f"u{n}", LATER)).keys) for n in (0, 8)] == [0, 1]


async def test_a_read_that_fails_after_its_caller_has_gone_leaves_no_traceback() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    let = asyncio.Event()

    async def broken(_: str) -> Trail:
        await let.wait()
        raise StoreCorrupt("damaged")

    caller = asyncio.create_task(Trails(broken, capacity=3, length=3).get("u", LATER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    del caller  # what it was cancelled in holds the read
    let.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert not complaints


def test_what_one_shopper_bought_is_bounded_and_the_latest_stays() -> None:
    trail = EMPTY
    for start in range(1, 12_000, 1_000):
        bought = [Event("u", k, EventType.PURCHASE, k) for k in range(start, start + 1_000)]
        trail = extended(trail, columns_of(bought), 10)
    assert len(trail.purchased) == MOST_KEYS
    assert {11_001, 12_000} <= set(trail.purchased.tolist())


async def test_an_event_as_a_read_ends_is_in_the_next_answer_though_there_is_no_room_for_it() -> (
    None
):
    store = FakeStore()
    asked: list[asyncio.Task[Trail]] = []

    async def read(user_id: str) -> Trail:
        trail = await store.read(user_id)
        if not asked:  # both come between the end of this read and what waits for it
            asyncio.get_running_loop().call_soon(happen)
            asked.append(asyncio.create_task(cache.get("u", LATER)))
        return trail

    def happen() -> None:
        store.events.append(event("u", 7))
        cache.add([event("u", 7)])

    cache = Trails(read, capacity=0, length=10)
    assert (await cache.get("u", LATER)).keys.tolist() == []
    assert (await asked[0]).keys.tolist() == [7]


def test_what_a_read_left_out_came_before_all_of_the_same_moment_that_it_did_not() -> None:
    held = [numbered(number, EventType.DISLIKE) for number in (2, 3)]
    trail = replace(extended(EMPTY, columns_of(held), 2), seen=3)
    # Told of late, though the read saw it and kept the two after it.
    found = extended(trail, columns_of([numbered(1, EventType.LIKE)]), 2)
    assert (found.ids.tolist(), found.disliked.tolist()) == ([-2, -3], [1])
    found = extended(trail, columns_of([numbered(4, EventType.LIKE)]), 2)
    assert (found.ids.tolist(), found.disliked.tolist()) == ([-3, -4], [])


def numbered(number: int, kind: EventType) -> Event:
    return Event("u", 1, kind, 10, number=number)


async def test_who_is_forgotten_while_being_read_is_read_again() -> None:
    store = FakeStore()
    store.events.append(event("u", 1))
    store.let.clear()
    cache = trails(store)
    reading = asyncio.create_task(cache.get("u", LATER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert store.reads == 1
    store.events.clear()
    cache.forget("u")
    store.events.append(event("u", 2))
    cache.add([event("u", 2)])
    store.let.set()
    assert (await reading).keys.tolist() == [2]
    assert store.reads == 2


async def test_who_is_forgotten_is_read_anew() -> None:
    store = FakeStore()
    cache = trails(store)
    store.events += [event("u", 1), event("other", 1)]
    await cache.get("u", LATER)
    await cache.get("other", LATER)
    store.events.clear()
    cache.forget("u")
    cache.forget("nobody")
    assert not len((await cache.get("u", LATER)).keys)
    assert (await cache.get("other", LATER)).keys.tolist() == [1]
