"""What the state file needs while it is open, kept out of the way of commits.

One thread, four chores: copy the log back into the file (checkpoint), delete events
that are too old, try again where writing fails so that it resumes by itself, and
measure. A checkpoint on a connection of its own never waits for the writer, nor the
writer for it.
"""

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway import reserve, schema
from gateway.condition import Condition, State, diagnosis
from gateway.errors import StoreError
from gateway.opened import Opened
from gateway.writer import GroupCommit
from services.runtime.logs import Seldom
from services.runtime.metrics import (
    EVENTS_PRUNED,
    STORE_BYTES,
    STORE_SET_ASIDE,
)

_log = logging.getLogger(__name__)
_TICK = 0.25
# Seconds between measurements, and before a chore that failed is tried again.
_MEASURE, _PAUSE = 5.0, 1.0
# Events looked at (and at most deleted) in one transaction, and seconds between rounds.
_PRUNE_ROWS, _PRUNE_EVERY = 100, 3600.0
# What is deleted is gone, so a clock that leaps ahead by so much is believed only once it has
# said so for so long. In seconds.
_LEAP, _DISBELIEF = 7 * 86_400.0, 86_400.0
# The newest of so many events that came last shows, at a start, when that was.
_LAST = 1_000
# Written back after this many rows (about 16 MB of log) or seconds, whichever comes first.
_ROWS, _SECONDS = 4_000, 10.0
# Pages of log beyond which the writer is held for the last of them, so that the log ends.
_MOST_PAGES = schema.WAL_BYTES // 4096


class Checkpointer:
    """Copies the log of one open file back, now and then. Used by one thread."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self._writer = opened.writer
        self._telling = opened.telling
        self._path = path
        self._connection = schema.write_back(path)
        self._rows = 0
        # When the log was copied, and was to be emptied, last.
        self._last = self._tried = time.monotonic()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def tend(self) -> None:
        """Copy if it is time to; raises sqlite3.Error."""
        waiting = self._writer.rows - self._rows
        now = time.monotonic()
        telling = self._telling.is_set() and now - self._tried >= _SECONDS
        if not telling and (not waiting or (waiting < _ROWS and now - self._last < _SECONDS)):
            return
        self._rows, self._last = self._writer.rows, now
        pages, copied = self._copy("PASSIVE")
        if telling:
            self._tried = now
            self._empty()
        elif pages > _MOST_PAGES and copied < pages:
            # Under steady load commits come in while a copy runs, so the log never
            # ends by itself. Most is copied by now: the writer waits for little.
            with self._writer.held():
                self._copy("RESTART")

    def _empty(self) -> None:
        """Leave nothing in the log, which shows what was in it until it is written over.

        Not while somebody reads, such as a backup: then it is tried again later.
        """
        with self._writer.held():
            self._copy("TRUNCATE")
            if not schema.log_of(self._path).stat().st_size:
                self._telling.clear()

    def _copy(self, how: str) -> tuple[int, int]:
        _, pages, copied = self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        return pages, copied


class Upkeep:
    """The thread that does the chores of one store."""

    def __init__(
        self,
        path: Path,
        condition: Condition,
        opened: Callable[[], Opened | None],
        repair: Callable[[], None],
        keep_days: float,
    ) -> None:
        """`repair` replaces a damaged file or raises; `keep_days` 0: events are kept for good."""
        self._path = path
        self._condition = condition
        self._opened = opened
        self._repair = repair
        self._pruner = Pruner(keep_days)
        self._checkpointer: Checkpointer | None = None
        self._served: Opened | None = None
        self._measured = 0.0
        self._seldom = Seldom()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-upkeep", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; blocks for at most the chore it is at."""
        self._stopping.set()
        self._thread.join()
        self._follow(None)

    def _run(self) -> None:
        while not self._stopping.wait(_TICK):
            try:
                self._tend()
            except Exception as error:  # without this thread no log is written back or repaired
                self._complain(error)
                self._stopping.wait(_PAUSE)

    def _complain(self, error: Exception) -> None:
        """Say what is wrong, but not at every try: a full disk is not to be filled further."""
        if not self._seldom.news(error):
            return
        if isinstance(error, StoreError | OSError | sqlite3.Error):
            _log.warning("upkeep of the state file", extra={"reason": str(error)})
        else:
            _log.error("upkeep of the state file failed", exc_info=error)

    def _tend(self) -> None:
        if time.monotonic() - self._measured > _MEASURE:
            self._measured = time.monotonic()
            measure(self._path)
            if self._condition.state is State.OK:
                reserve.keep(self._path)
        if self._condition.state is State.DAMAGED:
            self._follow(None)
            self._repair()
        opened = self._opened()
        if opened is None:
            return
        checkpointer = self._follow(opened)
        if self._condition.state is not State.OK:
            opened.writer.now(_probe)
        try:
            if checkpointer is not None:
                checkpointer.tend()
            self._pruner.tend(opened.writer)
        except sqlite3.DatabaseError as error:
            # A log that cannot be copied back waits; commits go on until its disk is full.
            if diagnosis(error) is State.DAMAGED:
                self._condition.ill(error)
            raise

    def _follow(self, opened: Opened | None) -> Checkpointer | None:
        """Let go of a file that was replaced and take up the new one."""
        if opened is not self._served:
            if self._checkpointer is not None:
                self._checkpointer.close()
            self._served = opened
            self._checkpointer = None if opened is None else Checkpointer(self._path, opened)
        return self._checkpointer


class Pruner:
    """Deletes events that are too old, a few at a time. Used by one thread."""

    def __init__(
        self,
        keep_days: float,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells the time, `steady` never leaps; both in seconds."""
        self._keep_ms = keep_days * 86_400_000
        self._clock = clock
        self._steady = steady
        self._next = 0.0
        self._at = 0
        # What both said when they were looked at last.
        self._said: tuple[float, float] | None = None

    def tend(self, writer: GroupCommit) -> None:
        """Look at the next events, or rest until the next round; raises sqlite3.Error."""
        if not self._keep_ms or self._steady() < self._next:
            return
        ahead = self._ahead(writer)
        if ahead > _LEAP:
            _log.warning(
                "the clock leaps ahead, so old events are not deleted for a day",
                extra={"days": round(ahead / 86_400, 1)},
            )
            self._next = self._steady() + _DISBELIEF
            return
        cutoff = int(max(self._clock() * 1000 - self._keep_ms, 0))
        end = time.monotonic() + _TICK
        while time.monotonic() < end:
            self._at, deleted = writer.now(lambda c: _prune(c, self._at, cutoff))
            EVENTS_PRUNED.inc(deleted)
            if not self._at:
                self._next = self._steady() + _PRUNE_EVERY
                return
            time.sleep(0.01)  # commits go first

    def _ahead(self, writer: GroupCommit) -> float:
        """Return the seconds by which the clock is ahead of what should be, and of the file."""
        before, self._said = self._said, (self._clock(), self._steady())
        now, at = self._said
        if before is not None:
            return now - before[0] - (at - before[1])
        newest = writer.now(_newest)
        return 0.0 if newest is None else now - newest / 1000


def _newest(connection: sqlite3.Connection) -> int | None:
    """Return the time of the newest event, in milliseconds; None where there is none."""
    (newest,) = connection.execute(
        "SELECT max(time_ms) FROM (SELECT time_ms FROM events ORDER BY seq DESC LIMIT ?)", (_LAST,)
    ).fetchone()
    return None if newest is None else int(newest)


def _prune(connection: sqlite3.Connection, after: int, cutoff: int) -> tuple[int, int]:
    """Delete the old ones of the next events; return (where to go on, how many).

    The newest event stays whatever its age: the numbering goes on from it.
    """
    (last,) = connection.execute(
        "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?)",
        (after, _PRUNE_ROWS),
    ).fetchone()
    if last is None:
        return 0, 0
    deleted = connection.execute(
        "DELETE FROM events WHERE seq > ? AND seq <= ? AND time_ms < ? "
        "AND seq < (SELECT max(seq) FROM events)",
        (after, last, cutoff),
    ).rowcount
    return last, deleted


def _probe(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO progress VALUES ('probe', ?)", (time.time_ns(),))


def measure(path: Path) -> None:
    """Bring the gauges of size and room up to date."""
    files = [path, schema.log_of(path)]
    STORE_BYTES.labels("used").set(sum(f.stat().st_size for f in files if f.exists()))
    STORE_BYTES.labels("free").set(shutil.disk_usage(path.parent).free)
    STORE_SET_ASIDE.set(len(set_aside(path)))


def set_aside(path: Path) -> list[Path]:
    """Return the damaged files that were replaced and still lie beside this one."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(f for f in found if not f.name.endswith(("-wal", "-shm")))
