"""What a damaged state file still holds comes out of it, whatever part is damaged."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway import schema
from gateway.rows import IMAGE, PUT_VECTOR, RECORD_EVENT, event_row
from gateway.salvage import Saved, salvage
from gateway.seed import EventBatch, seed
from gateway.types import Event, EventType, Item
from tests.unit.gateway.damage import PAGE, pages_of, spoil

ITEMS = [Item(f"item {n}", 7919 * n, title="Ü" * n, text="x" * (n * 97 % 9_000)) for n in range(80)]
COUNT = 6_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "state.sqlite"
    drawn = random.Random(0)
    batch = EventBatch(
        user_ids=sorted(f"user {drawn.randrange(300)}" for _ in range(COUNT)),
        item_keys=[drawn.randrange(1, 2**62) for _ in range(COUNT)],
        types=["purchase"] * COUNT,
        times_ms=[1_700_000_000_000 + n for n in range(COUNT)],
        quantities=[2.5] * COUNT,
        prices=[None] * COUNT,
        markets=["north"] * COUNT,
        queries=[None] * COUNT,
    )
    seed(path, ITEMS, [batch])
    return path


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    path = tmp_path / "state.sqlite"
    path.write_bytes(whole.read_bytes())
    return path


def who_what_when(path: Path) -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT seq, event_id, user_id, item_key, type, time_ms FROM events"
        return set(connection.execute(query))


def saved(path: Path) -> tuple[Saved, Path]:
    new = path.with_name("new.sqlite")
    made = salvage(path, new)
    with closing(schema.open_state(new)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return made, new


def test_nothing_is_missing_from_a_file_without_damage(state: Path) -> None:
    made, new = saved(state)
    assert made == Saved(len(ITEMS), COUNT, 0)
    assert who_what_when(new) == who_what_when(state)


def test_images_are_saved_and_other_vectors_made_again(state: Path) -> None:
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(PUT_VECTOR, (IMAGE, 7919, "", b"\1\2\3\4"))
        connection.execute(PUT_VECTOR, ("text", 7919, "1", b"\1\2\3\4"))
    _, new = saved(state)
    with closing(sqlite3.connect(new)) as connection:
        assert connection.execute("SELECT * FROM embeddings").fetchall() == [
            (IMAGE, 7919, "", b"\1\2\3\4")
        ]


def with_images(state: Path, most: int) -> dict[int, bytes]:
    """Give every item an image of 300 bytes and up to `most` more."""
    images = {item.key: bytes([at]) * (300 + at * 97 % most) for at, item in enumerate(ITEMS)}
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.executemany(PUT_VECTOR, [(IMAGE, k, "", i) for k, i in images.items()])
    return images


def images_of(path: Path) -> dict[int, bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT item_key, vector FROM embeddings"))


def test_a_destroyed_header_costs_no_image(state: Path) -> None:
    images = with_images(state, most=5_000)  # beyond a thousand they take several pages
    spoil(state, [1])
    _, new = saved(state)
    assert images_of(new) == images


@pytest.mark.parametrize("places", [[0], [3], [2, -3]])
def test_damage_costs_the_images_that_lie_on_its_pages(state: Path, places: list[int]) -> None:
    images = with_images(state, most=600)
    pages = pages_of(state, "embeddings")
    if len(pages) < 9:
        pytest.skip("this SQLite cannot say which pages a table has (no dbstat)")
    spoil(state, [pages[place] for place in places])
    _, new = saved(state)
    found = images_of(new)
    assert found.items() < images.items()
    # At most thirteen are on a page.
    assert len(found) >= len(images) - 13 * len(places)


def test_a_destroyed_header_costs_nothing(state: Path) -> None:
    before = who_what_when(state)
    spoil(state, [1])
    made, new = saved(state)
    assert made == Saved(len(ITEMS), COUNT, 0)
    assert who_what_when(new) == before


@pytest.mark.parametrize("table", ["events", "items", "events_by_user"])
def test_a_destroyed_root_hides_nothing(state: Path, table: str) -> None:
    before = who_what_when(state)
    spoil(state, pages_of(state, table)[:1])
    made, new = saved(state)
    assert (made.items, made.events) == (len(ITEMS), COUNT)
    assert who_what_when(new) == before


def test_what_the_table_has_lost_comes_from_the_index(state: Path) -> None:
    before = who_what_when(state)
    leaves = pages_of(state, "events")[1:]
    if not leaves:
        pytest.skip("this SQLite cannot say which pages a table has (no dbstat)")
    spoil(state, leaves[3:23])
    made, new = saved(state)
    assert made.events == COUNT
    assert made.from_index > 100
    assert who_what_when(new) == before
    with closing(sqlite3.connect(new)) as connection:
        kept = "SELECT count(*) FROM events WHERE quantity = 2.5 AND market = 'north'"
        assert connection.execute(kept).fetchone() == (COUNT - made.from_index,)


def test_noise_all_over_the_file_costs_little(state: Path) -> None:
    before = who_what_when(state)
    count = state.stat().st_size // PAGE
    drawn = random.Random(1)
    spoil(state, [drawn.randrange(1, count + 1) for _ in range(count // 20)])
    made, new = saved(state)
    assert made.events > 0.98 * COUNT
    assert who_what_when(new) <= before


def test_what_is_only_in_the_log_is_saved_and_what_was_never_committed_is_not(
    state: Path,
) -> None:
    writer = schema.open_state(state)
    event = Event("late", 5, EventType.CART, 1, event_id="late-1", market="m")
    writer.execute(RECORD_EVENT, event_row(event))
    other = schema.open_state(state)  # keeps the log in place
    writer.execute("BEGIN")
    writer.execute("PRAGMA cache_size = 1")
    for n in range(500):
        writer.execute(RECORD_EVENT, event_row(Event(f"never {n}", 5, EventType.CART, 1)))
    copy = state.with_name("copy.sqlite")
    copy.write_bytes(state.read_bytes())
    schema.log_of(copy).write_bytes(schema.log_of(state).read_bytes())
    writer.close()
    other.close()
    spoil(copy, [1])  # SQLite itself would not open it
    made, new = saved(copy)
    assert made.events == COUNT + 1
    with closing(sqlite3.connect(new)) as connection:
        late = "SELECT user_id, item_key FROM events WHERE event_id = 'late-1'"
        assert connection.execute(late).fetchall() == [("late", 5)]


@pytest.mark.parametrize("size", [0, 100, PAGE * 3 + 17])
def test_a_file_that_was_never_ours_gives_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "other"
    path.write_bytes(os.urandom(size))
    made, _ = saved(path)
    assert (made.items, made.events) == (0, 0)
