"""What the store acknowledges is on disk, whole, and in order."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from gateway.errors import StoreFailed, StoreInUse, StoreRefused
from gateway.extending import extended
from gateway.reads import MOST_KEYS, MarketTrend
from gateway.seed import EventBatch, SeedError, seed
from gateway.store import Store, StoreSettings
from gateway.trails import EMPTY, Trails
from gateway.types import Event, EventType, Item, columns_of
from gateway.writer import GroupCommit
from tests.support.disks import small_disk

BUY, LIKE, DISLIKE = EventType.PURCHASE, EventType.LIKE, EventType.DISLIKE


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "state.sqlite", StoreSettings(5))
    made.start()
    yield made
    made.stop()


def event(
    key: int, time_ms: int = 0, kind: EventType = BUY, id_: str = "", user: str = "u"
) -> Event:
    return Event(user, key, kind, time_ms, event_id=id_, market="m")


def ignore(_: object) -> None: ...


async def test_events_read_back_by_time_the_newest_of_them(store: Store) -> None:
    await store.record([event(n, time_ms=100 - n) for n in range(1, 9)], ignore)
    trail = await store.trail("u")
    assert trail.keys.tolist() == [5, 4, 3, 2, 1]
    assert trail.times.tolist() == [95, 96, 97, 98, 99]
    assert sorted(trail.purchased.tolist()) == list(range(1, 9))
    assert not len((await store.trail("nobody")).keys)


@pytest.mark.parametrize("kind", [BUY, DISLIKE])
async def test_of_very_many_things_bought_or_disliked_the_latest_are_read_back(
    store: Store, kind: EventType
) -> None:
    most = MOST_KEYS + 1_000
    await store.record([event(n, time_ms=most - n, kind=kind) for n in range(1, most)], ignore)
    trail = await store.trail("u")
    keys = trail.purchased if kind is BUY else trail.disliked
    assert keys.tolist() == list(range(MOST_KEYS, 0, -1))
    # One more takes the place of the oldest, as in the file.
    later = extended(trail, columns_of([event(most, time_ms=most, kind=kind)]), 5)
    keys = later.purchased if kind is BUY else later.disliked
    assert sorted(keys.tolist()) == [*range(1, MOST_KEYS), most]


async def test_an_opinion_that_comes_later_than_memory_reaches_back_is_read_from_the_file(
    store: Store,
) -> None:
    trails = Trails(store.trail, capacity=9, length=5)

    async def take(*events: Event) -> list[int]:
        await store.record(events, lambda _: trails.add(events))
        trail = await trails.get("u", 1e9)
        assert set(trail.disliked.tolist()) == set((await store.trail("u")).disliked.tolist())
        return trail.disliked.tolist()

    assert await take(event(7, 10, DISLIKE)) == [7]
    assert await take(*(event(n, 20 + n) for n in range(1, 9))) == [7], "it is out of memory"
    assert await take(event(7, 5, LIKE)) == [7], "what was said before it, and came late"
    assert await take(event(7, 12, LIKE)) == []
    assert await take(event(7, 11, DISLIKE)) == []
    assert await take(event(7, 40, DISLIKE)) == [7]


async def test_events_of_one_moment_keep_the_order_of_arrival(store: Store) -> None:
    await store.record([event(9), event(3), event(7)], ignore)
    assert (await store.trail("u")).keys.tolist() == [9, 3, 7]


async def test_an_event_id_is_stored_once_whoever_sends_it(store: Store) -> None:
    numbers = await store.record([event(1, id_="a"), event(1, id_="a"), event(2)], ignore)
    assert [bool(n) for n in numbers] == [True, False, True]
    assert await store.record([event(1, id_="a"), event(3, id_="b")], ignore) == [0, numbers[2] + 1]


async def test_the_newest_opinion_of_an_item_decides(store: Store) -> None:
    opinions = [event(1, 1, DISLIKE), event(1, 2, LIKE), event(2, 1, LIKE), event(2, 2, DISLIKE)]
    # Of one moment the one that came last.
    opinions += [event(3, 1, DISLIKE), event(3, 1, LIKE), event(4, 1, LIKE), event(4, 1, DISLIKE)]
    await store.record(opinions, ignore)
    assert sorted((await store.trail("u")).disliked.tolist()) == [2, 4]


@pytest.mark.parametrize("together", [True, False], ids=["one call", "a call each"])
@pytest.mark.parametrize(
    ("first", "second", "disliked"),
    [
        ((LIKE, 1), (DISLIKE, 2), True),
        ((DISLIKE, 1), (LIKE, 2), False),
        ((DISLIKE, 2), (LIKE, 1), True),
        ((LIKE, 2), (DISLIKE, 1), False),
        ((LIKE, 1), (DISLIKE, 1), True),
        ((DISLIKE, 1), (LIKE, 1), False),
    ],
)
async def test_memory_and_file_agree_on_which_opinion_is_the_newest(
    store: Store,
    first: tuple[EventType, int],
    second: tuple[EventType, int],
    *,
    disliked: bool,
    together: bool,
) -> None:
    one, other = (event(1, time_ms, kind) for kind, time_ms in (first, second))
    remembered = EMPTY
    for call in [[one, other]] if together else [[one], [other]]:
        await store.record(call, ignore)
        remembered = extended(remembered, columns_of(call), 5)
    read = await store.trail("u")
    assert bool(len(read.disliked)) == bool(len(remembered.disliked)) == disliked


async def test_what_is_made_durable_is_taken_in_even_if_the_caller_has_gone(store: Store) -> None:
    taken: list[object] = []
    caller = asyncio.create_task(store.record([event(1)], taken.append))
    await asyncio.sleep(0)
    caller.cancel()
    async with asyncio.timeout(30):
        while not taken:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert caller.cancelled() or caller.cancelling()
    assert (await store.trail("u")).keys.tolist() == [1]


async def test_many_callers_share_commits(tmp_path: Path) -> None:
    commits: list[float] = []
    store = Store(tmp_path / "state.sqlite", StoreSettings(5), observe=commits.append)
    store.start()
    await asyncio.gather(*(store.record([event(n, user=f"u{n}")], ignore) for n in range(1, 201)))
    store.stop()
    assert len(commits) < 100


async def test_a_write_that_fails_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(
        tmp_path / "s.sqlite", isolation_level=None, check_same_thread=False
    )
    connection.execute("CREATE TABLE t (x INTEGER UNIQUE)")
    writer = GroupCommit(connection)
    writer.start()

    def insert(*values: int) -> "asyncio.Future[None]":
        def work(c: sqlite3.Connection) -> None:
            c.executemany("INSERT INTO t VALUES (?)", [(v,) for v in values])

        return writer.submit(work)

    done = await asyncio.gather(insert(1), insert(2, 1), insert(3), return_exceptions=True)
    writer.stop()
    assert [type(d) for d in done] == [type(None), StoreRefused, type(None)]
    assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (3,)]
    connection.close()


async def test_what_the_disk_does_not_take_is_not_acknowledged(tmp_path: Path) -> None:
    connection = sqlite3.connect(
        tmp_path / "s.sqlite", isolation_level=None, check_same_thread=False
    )
    connection.execute("CREATE TABLE t (x INTEGER)")
    connection.execute("PRAGMA query_only = ON")
    writer = GroupCommit(connection)
    writer.start()
    taken: list[object] = []
    with pytest.raises(StoreFailed, match="disk fails"):
        await writer.submit(lambda c: c.execute("INSERT INTO t VALUES (1)"), taken.append)
    connection.execute("PRAGMA query_only = OFF")
    await writer.submit(lambda c: c.execute("INSERT INTO t VALUES (2)"), taken.append)
    writer.stop()
    assert len(taken) == 1
    assert connection.execute("SELECT x FROM t").fetchall() == [(2,)]
    connection.close()


def upserted(file: Path) -> list[int]:
    """When each item came through the API; 0: it was seeded."""
    with closing(sqlite3.connect(file)) as opened:
        return [ms for (ms,) in opened.execute("SELECT upserted_ms FROM items")]


async def test_items_vectors_and_trends_read_back(store: Store, tmp_path: Path) -> None:
    item = Item("a", 7, "Title", price=None, available=False, attributes={"size": "ü"})
    await store.upsert_items([item, Item("b", 8, price=1.5)], [], ignore)
    assert list(store.items()) == [item, Item("b", 8, price=1.5)]
    times = upserted(tmp_path / "state.sqlite")
    assert len(times) == 2
    assert all(times)
    vectors = np.array([[1, 2], [3, 4]], np.float32)
    await store.put_embeddings("text", "3", [7, 8], vectors)
    stored = store.embeddings("text")
    assert stored[8][0] == "3"
    np.testing.assert_array_equal(stored[8][1], vectors[1])
    assert store.embeddings("content") == {}
    await store.upsert_items([item], [7], ignore)
    assert set(store.embeddings("text")) == {8}
    await store.delete_items([8], ignore)
    assert [i.key for i in store.items()] == [7]
    assert store.embeddings("text") == {}
    await store.put_trends({"m": MarketTrend(np.array([7]), np.array([0.5]), 9)}, 4)
    trends, last = store.trends()
    assert (trends["m"].keys.tolist(), trends["m"].time_ms, last) == ([7], 9, 4)


async def test_the_image_of_an_item_is_kept_until_the_item_comes_without(store: Store) -> None:
    image = np.array([1, -2], "<f4").tobytes()
    seen = Item("a", 7, image=image)
    await store.upsert_items([seen, Item("b", 8, image=image)], [7], ignore)
    assert [i.image for i in store.items()] == [image, image]
    await store.upsert_items([Item("a", 7)], [], ignore)
    await store.delete_items([8], ignore)
    await store.upsert_items([Item("b", 8)], [], ignore)
    assert [i.image for i in store.items()] == [b"", b""]


async def test_two_processes_cannot_hold_one_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match="another gateway"):
        Store(tmp_path / "state.sqlite", StoreSettings(5)).start()
    with pytest.raises(StoreInUse):
        seed(tmp_path / "state.sqlite", [], [], replace=True)


def batch(*rows: tuple[str, int]) -> EventBatch:
    n = len(rows)
    return EventBatch(
        user_ids=[r[0] for r in rows], item_keys=[r[1] for r in rows], types=["purchase"] * n,
        times_ms=list(range(n)), quantities=[1.0] * n, prices=[None] * n, markets=["m"] * n,
        queries=[None] * n,
    )  # fmt: skip


async def test_a_first_start_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(state)) as cut_short:
        cut_short.execute("PRAGMA journal_mode = WAL")  # the first thing that is written
    assert state.stat().st_size
    store = Store(state, StoreSettings(5))
    store.start()
    await store.record([event(1)], ignore)
    assert (await store.trail("u")).keys.tolist() == [1]
    store.stop()


async def test_a_link_to_a_state_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    file, link = tmp_path / "large" / "state.sqlite", tmp_path / "state.sqlite"
    link.symlink_to(file)
    store = Store(link, StoreSettings(5))
    store.start()
    await store.record([event(1)], ignore)
    with pytest.raises(StoreInUse):
        Store(file, StoreSettings(5)).start()
    with pytest.raises(StoreInUse):
        seed(link, [], [], replace=True)
    store.stop()
    seed(link, [Item("a", 1)], [], replace=True)
    assert link.is_symlink()
    store = Store(file, StoreSettings(5))
    store.start()
    assert [item.key for item in store.items()] == [1]
    store.stop()


def test_a_place_where_no_file_can_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="cannot be locked"):
        Store(tmp_path / "file" / "state.sqlite", StoreSettings(5)).start()


async def test_a_seeded_file_opens_with_what_was_put_in(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.sqlite"
    progress: list[int] = []
    seed(
        path, [Item("a", 1)], [batch(("u", 1), ("u", 2)), batch(("v", 1))],
        progress=progress.append,
    )  # fmt: skip
    assert progress == [2, 3]
    store = Store(path, StoreSettings(5))
    store.start()
    assert list(store.items()) == [Item("a", 1)]
    assert upserted(path) == [0]
    assert (await store.trail("u")).keys.tolist() == [1, 2]
    assert store.events_after(0, 0).last_seq == 3
    await store.record([event(5, 9)], ignore)
    assert (await store.trail("u")).keys.tolist() == [1, 2, 5]
    store.stop()
    assert (path.stat().st_mode & 0o777) == 0o644


@pytest.mark.parametrize("full", [True, False], ids=["no room", "little room"])
def test_a_disk_without_room_is_not_taken_for_bad_data(tmp_path: Path, *, full: bool) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        if disk is None:
            pytest.skip("mounting a small file system takes root")
        (disk.root / "state.sqlite.lock").touch()
        if full:
            disk.fill()
        large = (Item(str(key), key, "word " * 200) for key in range(1, 5_000))
        with pytest.raises(SeedError, match=r"cannot be written \(.*full\)"):
            seed(disk.root / "state.sqlite", large, [])
        assert not (disk.root / "state.sqlite").exists()


def test_seeding_replaces_only_when_asked_and_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    seed(path, [Item("a", 1)], [])
    before = path.read_bytes()
    with pytest.raises(SeedError, match="exists"):
        seed(path, [Item("b", 2)], [])
    with pytest.raises(SeedError, match="cannot be stored"):
        seed(path, [Item("b", 2)], [batch(("u", 2**70))], replace=True)
    bad = EventBatch(["u"], [1], ["stared"], [0], [1.0], [None], ["m"], [None])
    with pytest.raises(SeedError, match="stared"):
        seed(path, [], [bad], replace=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    seed(path, [Item("b", 2)], [], replace=True)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT item_id FROM items").fetchall() == [("b",)]
