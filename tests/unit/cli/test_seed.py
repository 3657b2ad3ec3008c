"""A dataset becomes the gateway's memory, and times move by one constant."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli.seed import _in_words, seed_state
from gateway.errors import StoreError
from gateway.store import Store, StoreSettings
from models.data.dataset import Dataset, DatasetInfo, write_dataset
from models.data.importers.base import complete_events, complete_items, with_keys
from tests.unit.cli.conftest import Run

DAY = timedelta(days=1)
LAST = datetime(2017, 12, 31, 12, tzinfo=UTC)


def make(path: Path, *, times: bool = True) -> Dataset:
    items = complete_items(
        pl.DataFrame(
            {
                "item_id": ["7", "sku-9"],
                "title": ["Yogurt", "Milk"],
                "price": [0.79, None],
                "attributes": ['{"size": "6 oz"}', "{}"],
                "available": [True, False],
            }
        )
    )
    events = pl.DataFrame(
        {
            "user_id": ["a", "a", "b"],
            "item_id": ["7", "sku-9", "7"],
            "order": [0, 1, 0],
            "time": [LAST - 2 * DAY, LAST, LAST - DAY] if times else [None] * 3,
        },
        schema_overrides={"time": pl.Datetime("us", "UTC")},
    )
    info = DatasetInfo("tiny", "made for a test", "time" if times else "order")
    return write_dataset(
        path, items=items, events=complete_events(with_keys(events, items)), info=info
    )


def times_in(state: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(state)) as connection:
        return connection.execute("SELECT user_id, time_ms FROM events ORDER BY seq").fetchall()


def test_all_times_move_by_one_constant_so_that_the_last_is_now(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    done = seed_state(make(tmp_path / "data"), tmp_path / "state.sqlite")
    (_, first), (_, last), (_, other) = times_in(tmp_path / "state.sqlite")
    assert before.timestamp() * 1000 - 1 <= last <= datetime.now(UTC).timestamp() * 1000 + 1
    assert last - first == 2 * DAY.total_seconds() * 1000
    assert last - other == DAY.total_seconds() * 1000
    assert done.shift is not None
    assert "last event is now" in done.note


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (timedelta(hours=-9), "back by 9 hours"),
        (timedelta(minutes=50), "forward by 1 hour"),
        (timedelta(days=26, hours=2), "forward by 26 days"),
        (timedelta(days=-44, seconds=3), "back by 44 days"),
    ],
)
def test_how_far_times_move_is_told_as_it_is(shift: timedelta, words: str) -> None:
    assert _in_words(shift) == words


def test_times_are_kept_where_that_is_asked(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    done = seed_state(make(tmp_path / "data"), state, align_now=False)
    assert max(t for _, t in times_in(state)) == LAST.timestamp() * 1000
    assert done.shift is None


def test_events_without_times_keep_their_order(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    done = seed_state(make(tmp_path / "data", times=False), state)
    (_, first), (_, second), _ = times_in(state)
    assert first < second
    assert "no times" in done.note


def test_items_arrive_with_their_fields(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    seed_state(make(tmp_path / "data"), state)
    with closing(sqlite3.connect(state)) as connection:
        rows = connection.execute(
            "SELECT item_id, title, price, available, attributes FROM items ORDER BY item_id"
        ).fetchall()
    assert rows == [("7", "Yogurt", 0.79, 1, '{"size": "6 oz"}'), ("sku-9", "Milk", None, 0, "{}")]


def test_images_arrive_with_their_items(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain")
    vectors = pl.Series([None, [0.5, -2.0, 1e-3]], dtype=pl.List(pl.Float32()))
    items = plain.items.with_columns(image_vector=vectors)
    info = DatasetInfo("tiny", "made for a test", "time")
    data = write_dataset(tmp_path / "seen", items=items, events=plain.events, info=info)
    seed_state(data, tmp_path / "state.sqlite")
    store = Store(tmp_path / "state.sqlite", StoreSettings(10))
    store.start()
    try:
        found = {item.item_id: np.frombuffer(item.image, "<f4") for item in store.items()}
    finally:
        store.stop()
    assert found["7"].tolist() == []
    assert found["sku-9"].tolist() == np.array([0.5, -2.0, 1e-3], np.float32).tolist()


def test_a_store_that_stays_is_told_before_the_dataset_is_read(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "data")
    (tmp_path / "data" / "events.parquet").write_bytes(b"not to be read")
    (tmp_path / "state.sqlite").touch()
    state = str(tmp_path / "state.sqlite")
    refused = run("seed", str(tmp_path / "data"), "--state", state)
    assert (refused.exit_code, "--replace" in refused.output) == (1, True)
    assert (
        "events.parquet"
        in run("seed", str(tmp_path / "data"), "--state", state, "--replace").output
    )


def test_a_store_is_only_replaced_when_asked(tmp_path: Path) -> None:
    data, state = make(tmp_path / "data"), tmp_path / "state.sqlite"
    seed_state(data, state)
    with pytest.raises(StoreError, match="replace"):
        seed_state(data, state)
    assert seed_state(data, state, replace=True).events == 3


def test_the_command_says_what_lies_in_the_store(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "data")
    state = str(tmp_path / "state.sqlite")
    first = run("seed", str(tmp_path / "data"), "--state", state, "--json")
    assert json.loads(first.output)["events"] == 3
    again = run("seed", str(tmp_path / "data"), "--state", state)
    assert again.exit_code == 1
    assert "Traceback" not in again.output
    assert "--replace" in again.output
    person = run("seed", str(tmp_path / "data"), "--state", state, "--replace")
    assert "2 items, 3 events of 2 users" in person.output


def test_no_dataset_is_one_line_that_says_what_to_do(tmp_path: Path, run: Run) -> None:
    result = run("seed", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "plait import" in result.output


@pytest.mark.parametrize("more", [(), ("--replace",)])
def test_a_directory_is_no_store_and_stays_as_it_is(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    make(tmp_path / "data")
    (tmp_path / "stores").mkdir()
    result = run("seed", str(tmp_path / "data"), "--state", str(tmp_path / "stores"), *more)
    assert result.exit_code == 1
    assert "is a directory; name a file with --state" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"data", "stores"}
