"""The log is written back, old events go, and a store that was ill recovers by itself."""

import asyncio
import errno
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway import condition as condition_of_store
from gateway import opened as opened_file
from gateway import upkeep
from gateway.condition import Condition, State
from gateway.errors import StoreBusy, StoreFailed
from gateway.opened import Opened
from gateway.schema import log_of
from gateway.store import Store, StoreSettings
from gateway.trends import Trends
from gateway.types import Event, EventType
from gateway.upkeep import Checkpointer, Pruner, Upkeep, measure
from gateway.writer import GroupCommit
from services.runtime.metrics import STORE_BYTES
from tests.support.servers import eventually

DAY = 86_400_000


def event(key: int, time_ms: int, user: str = "u") -> Event:
    return Event(user, key, EventType.VIEW, time_ms, market="m")


def ignore(_: object) -> None: ...


@contextmanager
def opened(path: Path, sync_ms: float = 10.0) -> Iterator[Opened]:
    made = Opened(path, Condition(), sync_ms=sync_ms)
    yield made
    made.quiet()
    made.close()


def write_rows(state: Opened, count: int) -> None:
    def work(connection: sqlite3.Connection) -> None:
        rows = ((f"u{n}", n, n % 50) for n in range(count))
        connection.executemany(
            "INSERT INTO events (user_id, item_key, type, time_ms, quantity, market) "
            "VALUES (?, ?, 1, ?, 1.0, 'm')",
            rows,
        )

    state.writer.now(work)


def in_file_alone(path: Path) -> int:
    """Events that a copy of the file without its log has."""
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    for file in (copy, log_of(copy)):
        file.unlink(missing_ok=True)
    return int(count)


def test_the_log_is_written_back_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    monkeypatch.setattr(upkeep, "_ROWS", 100)
    with opened(path) as state:
        checkpointer = Checkpointer(path, state)
        sizes = []
        for _ in range(5):
            write_rows(state, 500)
            checkpointer.tend()
            sizes.append(log_of(path).stat().st_size)
        assert in_file_alone(path) == 2500
        assert sizes[-1] < 2 * sizes[0]
        checkpointer.close()


def test_under_steady_load_the_writer_is_held_so_that_the_log_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    monkeypatch.setattr(upkeep, "_ROWS", 100)
    monkeypatch.setattr(upkeep, "_MOST_PAGES", 1)
    with opened(path) as state, closing(sqlite3.connect(path, isolation_level=None)) as late:
        checkpointer = Checkpointer(path, state)
        late.execute("BEGIN")
        late.execute("SELECT count(*) FROM events").fetchone()  # keeps a copy from the end
        write_rows(state, 500)
        checkpointer.tend()
        late.execute("COMMIT")
        write_rows(state, 500)
        checkpointer.tend()
        assert in_file_alone(path) == 1000
        checkpointer.close()


def test_a_backup_that_reads_for_long_holds_no_writer_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    monkeypatch.setattr(upkeep, "_ROWS", 100)
    monkeypatch.setattr(upkeep, "_MOST_PAGES", 1)
    with opened(path) as state, closing(sqlite3.connect(path, isolation_level=None)) as backup:
        checkpointer = Checkpointer(path, state)
        write_rows(state, 500)
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM events").fetchone()
        write_rows(state, 500)
        began = time.monotonic()
        checkpointer.tend()
        assert time.monotonic() - began < 2.0
        checkpointer.close()


async def test_who_is_forgotten_is_soon_out_of_the_log_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SECONDS", 0.3)
    store = Store(tmp_path / "state.sqlite", StoreSettings(history_length=10))
    store.start()
    log = log_of(tmp_path / "state.sqlite")
    await store.record([event(n, n, "secret") for n in range(1, 100)], ignore)
    with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM events").fetchone()
        await store.forget("secret", ignore)
        await store.record([event(1, 1, "other")], ignore)
        await asyncio.sleep(1.0)
        assert b"secret" in log.read_bytes(), "somebody still reads it"
    await eventually(lambda: b"secret" not in log.read_bytes(), "an empty log")
    assert len((await store.trail("other")).keys) == 1
    await store.record([event(2, 2, "other")], ignore)
    assert len((await store.trail("other")).keys) == 2
    store.stop()


def test_only_events_that_are_too_old_go_and_numbers_are_never_given_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PRUNE_ROWS", 7)
    now = int(time.time() * 1000)
    path = tmp_path / "state.sqlite"
    with opened(path) as state:
        old_and_young = [(f"u{n}", n, now - (40 if n % 3 else 5) * DAY) for n in range(1, 51)]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO events (user_id, item_key, type, time_ms, quantity, market) "
                "VALUES (?, ?, 1, ?, 1.0, 'm')",
                old_and_young,
            )

        state.writer.now(work)
        Pruner(30.0).tend(state.writer)
        with closing(sqlite3.connect(path)) as connection:
            left = [row[0] for row in connection.execute("SELECT seq FROM events ORDER BY seq")]
        assert left == [*range(3, 50, 3), 50]  # the newest stays whatever its age
        Pruner(0.0).tend(state.writer)
    measure(path)
    assert STORE_BYTES.labels("used")._value.get() > 4096


@pytest.mark.parametrize("started_ahead", [True, False])
def test_a_clock_that_leaps_ahead_deletes_nothing_before_it_has_said_so_for_a_day(
    tmp_path: Path, *, started_ahead: bool
) -> None:
    clock, steady = [1e9], [5.0]
    with opened(tmp_path / "state.sqlite") as state:

        def record(times: list[float]) -> None:
            rows = [("u", 1, int(seconds * 1000)) for seconds in times]
            state.writer.now(
                lambda c: c.executemany(
                    "INSERT INTO events (user_id, item_key, type, time_ms, quantity, market) "
                    "VALUES (?, ?, 1, ?, 1.0, 'm')",
                    rows,
                )
            )

        def left() -> int:
            (count,) = state.writer.now(
                lambda c: c.execute("SELECT count(*) FROM events").fetchone()
            )
            return int(count)

        def pass_by(seconds: float) -> None:
            clock[0] += seconds
            steady[0] += seconds
            pruner.tend(state.writer)

        day, years = DAY / 1000, 10 * 365 * DAY / 1000
        record([clock[0] - 40 * day, *(clock[0] - n * day for n in range(9))])
        pruner = Pruner(30.0, lambda: clock[0], lambda: steady[0])
        if not started_ahead:
            pruner.tend(state.writer)
            assert left() == 9, "what was too old"
        before = left()
        clock[0] += years
        pass_by(3_700)
        record([clock[0]])  # what comes by now is stamped by that clock
        pass_by(3_700)
        assert left() == before + 1
        clock[0] -= years
        pass_by(day)
        assert left() == 10, "as it should be once the clock is right"
        # One that stays ahead is right: the gateway was away for long.
        clock[0] += years
        pass_by(3_700)
        assert left() == 10
        pass_by(1.1 * day)
        assert left() == 1


def test_an_error_that_nobody_expected_ends_no_upkeep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PAUSE", 0.01)
    condition, repaired, tries = Condition(), threading.Event(), []

    def repair() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("items")  # what salvage printed was not what it prints
        condition.repaired()
        repaired.set()

    condition.ill(ValueError("attributes are not JSON"))
    made = Upkeep(tmp_path / "state.sqlite", condition, lambda: None, repair, 0.0)
    made.start()
    assert repaired.wait(30)
    made.stop()
    assert condition.state is State.OK


@pytest.mark.parametrize("error", [StoreFailed("the disk is full"), KeyError("items")])
def test_a_trouble_that_lasts_is_complained_of_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr(upkeep, "_PAUSE", 0.0)
    monkeypatch.setattr(upkeep, "_TICK", 0.001)
    condition, often, tries = Condition(), threading.Event(), []

    def repair() -> None:
        tries.append(1)
        if len(tries) > 20:
            often.set()
        raise error

    condition.ill(ValueError("attributes are not JSON"))
    made = Upkeep(tmp_path / "state.sqlite", condition, lambda: None, repair, 0.0)
    made.start()
    assert often.wait(30)
    made.stop()
    assert len([r for r in caplog.records if "upkeep" in r.getMessage()]) == 1


def test_events_may_be_kept_for_longer_than_there_was_time(tmp_path: Path) -> None:
    with opened(tmp_path / "state.sqlite") as state:
        write_rows(state, 3)
        Pruner(1e300, clock=lambda: 1.0).tend(state.writer)
        (count,) = state.writer.now(lambda c: c.execute("SELECT count(*) FROM events").fetchone())
        assert count == 3


async def test_a_store_that_failed_is_well_again_without_a_write_of_anybody(
    tmp_path: Path,
) -> None:
    told: list[State] = []
    store = Store(tmp_path / "state.sqlite", StoreSettings(5), tell=told.append)
    store.start()
    store.condition.ill(OSError(28, "No space left on device"))
    await eventually(lambda: told == [State.FULL, State.OK], "recovery")
    await store.record([event(1, 1)], ignore)
    store.stop()


async def test_a_write_that_does_not_end_says_that_the_disk_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_file, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(opened_file, "_LOOK_SECONDS", 0.01)
    told: list[State] = []
    store = Store(tmp_path / "state.sqlite", StoreSettings(5), tell=told.append)
    store.start()
    let = threading.Event()
    stuck = store._use().writer.submit(lambda _: let.wait(30))
    await eventually(lambda: told == [State.FAILING], "the alarm")
    let.set()
    assert await stuck
    await eventually(lambda: told == [State.FAILING, State.OK], "recovery")
    await store.record([event(1, 1)], ignore)
    store.stop()


async def test_a_sync_that_does_not_end_says_that_the_disk_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_file, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(opened_file, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(condition_of_store, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "_TICK", 0.001)
    let = threading.Event()
    monkeypatch.setattr(opened_file, "_sync", lambda _: let.wait(30))
    told: list[State] = []
    store = Store(tmp_path / "state.sqlite", StoreSettings(5, sync_ms=10.0), tell=told.append)
    store.start()
    await store.record([event(1, 1)], ignore)
    await eventually(lambda: told == [State.FAILING], "the alarm")
    # The upkeep writes all the while, and its writes go well: they wait for no sync.
    before = store._use().writer.rows
    await eventually(lambda: store._use().writer.rows > before + 3, "three writes that go well")
    assert told == [State.FAILING]
    let.set()
    await eventually(lambda: told == [State.FAILING, State.OK], "recovery")
    store.stop()


async def test_a_disk_that_takes_writes_and_syncs_none_is_not_well_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []

    def broken(handle: int) -> None:
        syncs.append(handle)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(opened_file, "_sync", broken)
    monkeypatch.setattr(condition_of_store, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "_TICK", 0.001)
    told: list[State] = []
    store = Store(tmp_path / "state.sqlite", StoreSettings(5, sync_ms=200.0), tell=told.append)
    store.start()
    await store.record([event(1, 1)], ignore)
    # The upkeep tries to write all the while, and its writes go well.
    await eventually(lambda: len(syncs) >= 3, "three syncs that failed")
    assert told == [State.FAILING]
    monkeypatch.setattr(opened_file, "_sync", lambda _: None)
    await eventually(lambda: told == [State.FAILING, State.OK], "recovery")
    store.stop()


@pytest.mark.parametrize("sync_ms", [0.0, 10.0])
async def test_a_stopped_store_has_everything_on_disk_and_takes_nothing_more(
    tmp_path: Path, sync_ms: float
) -> None:
    path = tmp_path / "state.sqlite"
    store = Store(path, StoreSettings(5, sync_ms=sync_ms))
    store.start()
    await asyncio.gather(*(store.record([event(n, n)], ignore) for n in range(1, 50)))
    store.stop()
    with pytest.raises(StoreFailed):
        await store.record([event(1, 1)], ignore)
    assert in_file_alone(path) == 49


async def test_writes_that_would_pile_up_behind_a_disk_that_stands_still_are_refused(
    tmp_path: Path,
) -> None:
    with closing(
        sqlite3.connect(tmp_path / "s", isolation_level=None, check_same_thread=False)
    ) as connection:
        writer = GroupCommit(connection)
        writer.start()
        with writer.held():
            waiting: list[asyncio.Future[object]] = []
            with pytest.raises(StoreBusy):
                waiting.extend(
                    writer.submit(lambda c: c.execute("SELECT 1").fetchone()) for _ in range(10_000)
                )
        assert len(waiting) < 5_000
        assert set(await asyncio.gather(*waiting)) == {(1,)}
        writer.stop()


def test_a_busy_market_that_nobody_asks_for_takes_no_more_memory_with_every_event() -> None:
    trends = Trends(7.0, 4, 0)
    for n in range(10_000):
        trends.add("quiet", n % 10, EventType.CLICK, 1.0, n)
    assert max(len(m.risen) for m in trends._markets.values()) == 10
