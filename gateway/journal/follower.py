"""Follows the journal: its entries come into this gateway in order, its own among them.

All gateways decide by the same order which of two events with one id came first. Each
entry is taken in by taking.py; who waits for a write is told of it by writes.py; where
the gateway stands is kept by standing.py.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.errors import JournalAway, StoreFailed
from gateway.journal.entries import Write
from gateway.journal.place import Place
from gateway.journal.standing import Standing
from gateway.journal.stream import Journal
from gateway.journal.taking import Memory, Taker
from gateway.journal.writes import Writes
from services.runtime.logs import Seldom
from services.runtime.metrics import JOURNAL_BEHIND, JOURNAL_STATE

_log = logging.getLogger(__name__)
# Seconds before Valkey, or a disk that refuses, is tried again.
_AGAIN = 0.25
# Seconds before what failed as nothing should is tried again.
_PAUSE = 1.0
# Seconds between two looks at how far it has come, and at a journal that may have changed.
_LOOK = 0.05
# Longest a start waits for what others recorded meanwhile.
_START_SECONDS = 60.0
# Seconds of taking in entries after which the journal is looked at before it is read again.
_LONG = 5.0


class Follower:
    """Follows one journal. Belongs to the event loop."""

    def __init__(
        self, journal: Journal, memory: Memory, place: Place, writer: bytes,
        tell: Callable[[bool], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`place`: where the state file stands; `writer`: eight bytes that no other has.

        `tell` hears when the journal goes away and when it is back.
        """
        self._journal = journal
        self._standing = Standing(journal, place, memory.pass_over)
        self._writes = Writes(journal, writer)
        self._taker = Taker(memory, self._standing, self._writes)
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        # When the last read began that brought all there was, by time.monotonic().
        self._level = 0.0
        # Why nothing can be written; "": it can.
        self.trouble = "it was not read yet"
        self._caught_up = asyncio.Event()
        # Whether there was more than the last read brought.
        self._behind = False
        self._seldom = Seldom()
        # Whether the journal may have changed behind our back, and how many connections its
        # reader had made when that was last looked at.
        self._unsure = True
        self._looked_at = 0
        _show(followed=False)

    async def start(self) -> None:
        """Begin to follow; return once what there is by now is taken in.

        Also where the journal is away, or the disk takes nothing for a while: what is
        known is served meanwhile.
        """
        self._task = asyncio.create_task(self._follow())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._caught_up.wait()

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.trouble = "this gateway stops"

    async def write(self, write: Write) -> Any:
        """Have all gateways take in a write; return what became of it here, once it has.

        Raises StoreFailed, as Writes.write does.
        """
        if self.trouble:
            raise JournalAway(self.trouble)
        return await self._writes.write(write)

    @property
    def losses(self) -> int:
        """How often the journal was found to have lost entries that were taken in here."""
        return self._standing.losses

    async def level(self, last: int, seconds: float) -> bool:
        """Wait until everything up to a position is taken in; say whether it was in time."""
        began = time.monotonic()
        while self._standing.position < last and self._level < began:
            if time.monotonic() > began + seconds:
                return False
            await asyncio.sleep(_LOOK)
        return True

    def restate(self) -> None:
        """Write again where the file stands, soon: it was replaced, and may lack something."""
        self._standing.restate()

    async def _follow(self) -> None:
        while True:
            try:
                await self._standing.keep()
                if self._unsure:
                    self._looked_at = await self._journal.connected()
                    await self._standing.verify()
                    self._unsure = False
                known, reads = self._caught_up.is_set(), time.monotonic()
                entries, more = await self._journal.read(self._standing.position, wait=known)
                if self._journal.connections != self._looked_at:
                    # Perhaps from another server: read again once that is looked at.
                    self._unsure = True
                    await asyncio.sleep(_LOOK)
                    continue
                if more or self._behind:
                    # Who is behind can be overtaken by what lets entries go.
                    await self._standing.look_back()
                began = time.monotonic()
                await self._taker.take(entries)
                # Meanwhile others may have let go of what comes next.
                self._unsure = time.monotonic() - began > _LONG
                self._behind = more
                await self._reached()
                if not more:
                    self._level = reads
                    self._caught_up.set()
                    JOURNAL_BEHIND.set(0)
            except JournalAway as error:
                await self._lost(error)
                self._caught_up.set()
                await asyncio.sleep(_AGAIN)
            except StoreFailed:  # of a place, which waits
                await asyncio.sleep(_AGAIN)
            except Exception as error:  # without this task nothing is recorded any more
                if self._seldom.news(repr(error)):
                    _log.exception("following the journal failed")
                await self._lost(JournalAway(f"it cannot be followed: {type(error).__name__}"))
                await asyncio.sleep(_PAUSE)

    async def _reached(self) -> None:
        if self.trouble:
            self.trouble = ""
            _log.info("the journal is followed", extra={"position": self._standing.position})
            await self._tell(True)
        _show(followed=True)

    async def _lost(self, error: JournalAway) -> None:
        _show(followed=False)
        self._unsure = True
        before, self.trouble = self.trouble, error.reason
        if not before:
            _log.error("nothing can be recorded", extra=self._journal.about(error))
            await self._tell(False)


def _show(*, followed: bool) -> None:
    JOURNAL_STATE.labels("followed").set(followed)
    JOURNAL_STATE.labels("away").set(not followed)
