"""What an error says about the store, and who hears of it."""

import errno
import logging
import sqlite3
import threading
import time

import pytest

from gateway import condition
from gateway.condition import Condition, State, diagnosis


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), State.FULL),
        (OSError(errno.ENOSPC, "full"), State.FULL),
        (OSError(errno.EDQUOT, "over quota"), State.FULL),
        (OSError(errno.EIO, "broken"), State.FAILING),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), State.FAILING),
        (sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX), State.DAMAGED),
        (sqlite_error(sqlite3.SQLITE_NOTADB), State.DAMAGED),
        (ValueError("attributes are not JSON"), State.DAMAGED),
    ],
)
def test_an_error_says_what_is_wrong(error: Exception, state: State) -> None:
    assert diagnosis(error) is state


def test_every_change_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "_LEAST_SECONDS", 0.0)
    told: list[State] = []
    store = Condition(told.append)
    store.well()
    for _ in range(3):
        store.ill(OSError(errno.ENOSPC, "full"))
    store.well()
    store.well()
    assert told == [State.FULL, State.OK]


def test_changes_are_told_in_their_order_however_slow_the_log_is() -> None:
    told: list[State] = []
    store = Condition(told.append)

    class SlowLog(logging.Handler):
        """While it takes the first line, another thread finds the store well again."""

        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=store.repaired)
            other.start()
            other.join()

    handler = SlowLog()
    logger = logging.getLogger(condition.__name__)
    logger.addHandler(handler)
    try:
        store.ill(ValueError("attributes are not JSON"))
    finally:
        logger.removeHandler(handler)
    assert told == [State.DAMAGED, store.state] == [State.DAMAGED, State.OK]


def test_damage_that_is_found_while_a_write_ends_well_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, now = Condition(), time.monotonic()
    store.ill(OSError(errno.EIO, "broken"))

    def meanwhile() -> float:
        monkeypatch.undo()
        store.ill(ValueError("attributes are not JSON"))
        return now + 60

    monkeypatch.setattr(time, "monotonic", meanwhile)
    store.well()
    assert store.state is State.DAMAGED


def test_the_longer_it_is_ill_the_longer_callers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    store, waits = Condition(), []
    assert store.pause_ms == 1000
    store.ill(OSError(errno.ENOSPC, "full"))
    for clock[0] in (101.0, 110.0, 116.0, 400.0):
        store.ill(OSError(errno.ENOSPC, "full"))
        waits.append(store.pause_ms)
    assert waits == [1000, 2500, 4000, 5000]
    clock[0] = 401.5
    store.well()
    assert store.pause_ms == 1000


def test_one_write_that_happens_to_fit_does_not_make_a_full_disk_well() -> None:
    store = Condition()
    store.ill(OSError(errno.ENOSPC, "full"))
    store.well()
    assert store.state is State.FULL


def test_only_a_repair_makes_a_damaged_file_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "_LEAST_SECONDS", 0.0)
    store = Condition()
    store.ill(ValueError("no event has type 99"))
    store.well()
    assert store.ill(OSError(errno.ENOSPC, "full")) is State.DAMAGED
    store.repaired()
    assert store.state is State.OK
