"""Takes entries of the journal into what they are about, in order.

Events that follow each other share a commit. What nobody can take in is passed over; a
disk that takes nothing is waited for.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import StoreFailed, StoreRefused, StoreUnseen
from gateway.journal.entries import Change, Events, NotUnderstood, Write, decode
from gateway.journal.place import Place
from gateway.journal.positions import Entry
from gateway.journal.standing import Standing
from gateway.journal.writes import Writes
from services.runtime.metrics import JOURNAL_BEHIND, JOURNAL_ENTRIES, JOURNAL_SKIPPED

_log = logging.getLogger(__name__)
# Seconds before a disk that refuses is tried again.
_AGAIN = 0.25
# Longest pause before what failed as nothing should is tried again.
_PAUSE = 1.0
# Events that share a commit, and so a turn of the event loop: shoppers wait meanwhile.
_MOST_TOGETHER = 500


class Memory(Protocol):
    """What entries are taken into."""

    async def take_events(
        self, events: Events, position: int, here: Sequence[bool]
    ) -> Sequence[int]:
        """Take in events; `here`: which were recorded through this gateway.

        Returns each one's number, 0 for one that was known. Raises StoreFailed.
        """
        ...

    async def take(self, write: Change, position: int) -> Any:
        """Take in anything else; raises StoreFailed."""
        ...

    async def pass_over(self, place: Place) -> None:
        """Keep a position whose entry nobody can take in; raises StoreFailed."""
        ...


@dataclass(frozen=True, slots=True)
class _Read:
    """An entry that was understood."""

    entry: Entry
    write: Write


class Taker:
    """Takes in entries, and tells who waits for them. Belongs to the event loop."""

    def __init__(self, memory: Memory, standing: Standing, writes: Writes) -> None:
        """`standing` steps behind each entry; `writes` knows those of this gateway."""
        self._memory = memory
        self._standing = standing
        self._writes = writes

    async def take(self, entries: Sequence[Entry]) -> None:
        """Take in entries; events that follow each other share a commit."""
        run: list[_Read] = []
        for entry in entries:
            try:
                read = _Read(entry, decode(entry.raw))
            except Exception as error:
                await self._take_run(run)
                run = []
                await self._skip(entry, _reason(error))
                continue
            if not _together(run, read):
                await self._take_run(run)
                run = []
            run.append(read)
        await self._take_run(run)

    async def _take_run(self, run: Sequence[_Read]) -> None:
        """Take in one write, or some of events, and tell who waits for them."""
        pause = _AGAIN
        while run:
            _show_behind(run[0].entry)
            try:
                results = await self._try(run)
            except StoreUnseen as error:  # once more would be twice
                results = [error] * len(run)
            except Exception as error:
                passes = isinstance(error, StoreFailed) and not isinstance(error, StoreRefused)
                if passes:
                    # However long: on a disk that is nearly full small writes go, and large ones
                    # have to wait for room.
                    await asyncio.sleep(_AGAIN)
                elif len(run) > 1:
                    for read in run:  # one of them is to blame
                        await self._take_run([read])
                    return
                elif isinstance(error, StoreRefused) or pause > _PAUSE:
                    await self._skip(run[0].entry, _reason(error))
                    return
                else:  # a defect, or no memory for a moment: not to be waited for as a disk is
                    await asyncio.sleep(pause)
                    pause *= 2
                continue
            self._arrived(run, results)
            return

    async def _try(self, run: Sequence[_Read]) -> Sequence[Any]:
        position = run[-1].entry.position
        first = run[0].write
        if not isinstance(first, Events):
            return [await self._memory.take(first, position)]
        parts = [read.write.events for read in run if isinstance(read.write, Events)]
        here = [
            self._writes.has(read.entry)
            for read, events in zip(run, parts, strict=True)
            for _ in events
        ]
        together = Events(tuple(event for events in parts for event in events))
        numbers = await self._memory.take_events(together, position, here)
        return _split(numbers, [len(events) for events in parts])

    def _arrived(self, run: Sequence[_Read], results: Sequence[Any]) -> None:
        for read, result in zip(run, results, strict=True):
            self._standing.step(read.entry, kept=True)
            JOURNAL_ENTRIES.labels("here" if self._writes.has(read.entry) else "elsewhere").inc()
            self._writes.answer(read.entry, result)

    async def _skip(self, entry: Entry, reason: str) -> None:
        """Leave out what nobody can take in; the others are not to wait for it for ever."""
        JOURNAL_SKIPPED.inc()
        _log.error(
            "an entry of the journal is passed over",
            extra={"position": entry.position, "reason": reason},
        )
        self._writes.answer(entry, StoreRefused(f"the write was refused ({reason})"))
        self._standing.step(entry, kept=False)
        await self._standing.keep()


def _reason(error: Exception) -> str:
    """Return why an entry is passed over; of an error nobody thought of, say where it is."""
    if isinstance(error, NotUnderstood | StoreRefused):
        return str(error)
    _log.error("an entry cannot be taken in", exc_info=error)
    return type(error).__name__


def _together(run: Sequence[_Read], read: _Read) -> bool:
    """Say whether a write may share the commit of those before it."""
    before = [r.write.events for r in run if isinstance(r.write, Events)]
    if not isinstance(read.write, Events) or len(before) < len(run):
        return not run
    return sum(map(len, before)) + len(read.write.events) <= _MOST_TOGETHER


def _show_behind(oldest: Entry) -> None:
    JOURNAL_BEHIND.set(max(time.time() - oldest.time_ms / 1000, 0.0))


def _split(numbers: Sequence[int], counts: Sequence[int]) -> list[Sequence[int]]:
    parts, start = [], 0
    for count in counts:
        parts.append(numbers[start : start + count])
        start += count
    return parts
