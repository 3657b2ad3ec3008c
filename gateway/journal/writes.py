"""This gateway's writes on their way through the journal, and who waits for them.

A write is appended, comes back as an entry like everybody else's, and is acknowledged once
that is taken in: in the state file and in memory.
"""

import asyncio
import logging
from typing import Any

from gateway.errors import JournalAway, StoreFailed, TakenLater
from gateway.journal.entries import Rollouts, Write, encode
from gateway.journal.positions import Entry
from gateway.journal.stream import Journal
from services.runtime.logs import Seldom

_log = logging.getLogger(__name__)
# Longest a write waits to be taken in here, in seconds: the disk may stand still.
_PATIENCE = 5.0
# Bytes of who wrote an entry, and of the number of his write.
_WRITER, _NUMBER = 8, 8


class Writes:
    """Appends writes, and tells each caller what became of his. Belongs to the event loop."""

    def __init__(self, journal: Journal, writer: bytes) -> None:
        """`writer`: eight bytes that no other gateway has."""
        self._journal = journal
        self._writer = writer
        self._count = 0
        self._expected: dict[bytes, asyncio.Future[Any]] = {}
        self._seldom = Seldom()

    async def write(self, write: Write) -> Any:
        """Append a write; return what became of it here, once it is taken in.

        Raises StoreFailed: JournalAway where nobody may have it. It can still have been
        written then, so events are to be sent again with their event_id; TakenLater where
        it has been, and this gateway is behind.
        """
        self._count += 1
        by = self._writer + self._count.to_bytes(_NUMBER, "big")
        taken = self._expected[by] = asyncio.get_running_loop().create_future()
        try:
            rollouts = write.record if isinstance(write, Rollouts) else None
            await self._append(by, encode(write), rollouts)
            async with asyncio.timeout(_PATIENCE):
                return await taken
        except TimeoutError:
            raise TakenLater(
                f"not taken in here within {_PATIENCE:g} s; it will be, unless Valkey loses it"
            ) from None
        finally:
            del self._expected[by]

    async def _append(self, by: bytes, raw: bytes, rollouts: str | None) -> None:
        try:
            await self._journal.append(by, raw, rollouts)
        except JournalAway as error:
            # Callers are not told why, and a journal that is full can be followed all the while.
            if self._seldom.news(error.reason):
                _log.error("the journal takes no write", extra=self._journal.about(error))
            raise

    def answer(self, entry: Entry, result: Any) -> None:
        """Tell who waits for an entry, if anybody does, what became of it."""
        waiting = self._expected.get(entry.by)
        if waiting is None or waiting.done():
            return
        if isinstance(result, StoreFailed):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)

    def has(self, entry: Entry) -> bool:
        """Say whether an entry was written here."""
        return entry.by[:_WRITER] == self._writer
