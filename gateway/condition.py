"""What the store can do at this moment, and who is told when that changes.

A store that cannot write is no reason to stop ranking: this is a condition beside
the gateway's readiness, shown as the health name `store`, a metric and one log
line per change (a full disk must not be filled further by its own complaints).
"""

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from enum import Enum

from services.runtime.errors import Unavailable
from services.runtime.metrics import STORE_STATE

_log = logging.getLogger(__name__)


class State(Enum):
    """OK, or why events are refused."""

    OK = "ok"
    FULL = "full"  # the disk or quota has no room
    FAILING = "failing"  # the disk does not do what it is told
    DAMAGED = "damaged"  # the file is being repaired


# What a caller is told, each with the promise that makes a retry safe.
REASONS = {
    State.FULL: "the disk is full",
    State.FAILING: "the disk fails",
    State.DAMAGED: "the state file is damaged and is being repaired",
}
# Seconds without trouble before a store counts as well again.
_LEAST_SECONDS = 1.0
# What a caller is told to wait: this part of how long the store has been ill, within bounds.
# A file under repair takes a minute; a crowd that asks every second takes its CPU.
_PAUSE, _LEAST_PAUSE, _MOST_PAUSE = 0.25, 1.0, 5.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FULL = (sqlite3.SQLITE_FULL,)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Condition:
    """The state of one store. Safe to use from any thread."""

    def __init__(self, tell: Callable[[State], None] | None = None) -> None:
        """`tell` hears of every change, in the thread that found it, and must not wait."""
        self._tell = tell
        self._lock = threading.Lock()
        self.state = State.OK
        self._since = self._began = 0.0
        # Whether the disk has failed to sync what it took, and not done so since.
        self._unsynced = False
        self._show()

    @property
    def pause_ms(self) -> int:
        """How long a caller that was refused should wait before it asks again."""
        ill = 0.0 if self.state is State.OK else time.monotonic() - self._began
        return int(1000 * min(max(_PAUSE * ill, _LEAST_PAUSE), _MOST_PAUSE))

    def refusal(self, what: str, why: str, remedy: str = "send them again") -> Unavailable:
        """Return what a caller is told whose writes were not taken: what became of them, and why.

        With the pause before a retry.
        """
        return Unavailable(f"{what}: {why}; {remedy}", self.pause_ms)

    def well(self) -> None:
        """Note a write that worked; a damaged file is well only once it is repaired."""
        if self.state is State.OK or self.state is State.DAMAGED or self._unsynced:
            return
        # On a full disk small writes may go where large ones do not: once a second is enough.
        if time.monotonic() - self._since >= _LEAST_SECONDS:
            self._become(State.OK, "")

    def ill(self, error: BaseException) -> State:
        """Note what went wrong; return the state that follows."""
        found = diagnosis(error)
        if self.state is not State.DAMAGED:
            self._since = time.monotonic()
            self._become(found, str(error))
        return self.state

    def unsynced(self, error: OSError) -> None:
        """Note that a sync failed; writes that go well do not wait for one and prove nothing."""
        self._unsynced = True
        self.ill(error)

    def synced(self) -> None:
        """Note a sync that worked: with the next write that does, the store is well."""
        self._unsynced = False

    def repaired(self) -> None:
        """Note that a damaged file was replaced."""
        self._unsynced = False
        self._become(State.OK, "", repaired=True)

    def _become(self, state: State, why: str, *, repaired: bool = False) -> None:
        with self._lock:
            if state is self.state or (self.state is State.DAMAGED and not repaired):
                return
            before, self.state = self.state, state
            if before is State.OK:
                self._began = time.monotonic()
            self._show()
            if self._tell is not None:  # here, so that changes are told in their order
                self._tell(state)
        level = logging.INFO if state is State.OK else logging.ERROR
        what = {"before": before.value, "now": state.value, "reason": why}
        _log.log(level, "store condition", extra=what)

    def _show(self) -> None:
        for state in State:
            STORE_STATE.labels(state.value).set(state is self.state)


def diagnosis(error: BaseException) -> State:
    """Tell what an error means: of the system, of SQLite, or of rows that make no sense."""
    if isinstance(error, OSError):
        return State.FULL if error.errno in _NO_ROOM else State.FAILING
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return State.DAMAGED
    if code & 0xFF in _FULL:
        return State.FULL
    return State.DAMAGED if code & 0xFF in _DAMAGED else State.FAILING
