"""Takes the journal's entries into this gateway, in order, its own among them.

A write here is appended, comes back as an entry like everybody else's, and is
acknowledged once it is taken in: in the state file and in memory. All gateways decide
by the same order which of two events with one id came first.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.errors import JournalAway, StoreFailed, StoreRefused, StoreUnseen, TakenLater
from gateway.journal.entries import Change, Events, NotUnderstood, Rollouts, Write, decode, encode
from gateway.journal.place import Place
from gateway.journal.stream import Bounds, Entry, Journal
from services.runtime.logs import Seldom
from services.runtime.metrics import (
    JOURNAL_BEHIND,
    JOURNAL_ENTRIES,
    JOURNAL_GAPS,
    JOURNAL_SKIPPED,
    JOURNAL_STATE,
)

_log = logging.getLogger(__name__)
# Longest a write waits to be taken in here, in seconds: the disk may stand still.
_PATIENCE = 5.0
# Seconds before Valkey, or a disk that refuses, is tried again.
_AGAIN = 0.25
# Longest pause before what failed as nothing should is tried again.
_PAUSE = 1.0
# Seconds between two looks at how far it has come.
_LOOK = 0.05
# Longest a start waits for what others recorded meanwhile.
_START_SECONDS = 60.0
# Seconds of taking in entries after which the journal is looked at before it is read again.
_LONG = 5.0
# Events that share a commit, and so a turn of the event loop: shoppers wait meanwhile.
_MOST_TOGETHER = 500
# Entries remembered, to find what is left of them in a journal that lost its last ones:
# seconds of a busy shop.
_REMEMBERED = 10_000
# Bytes of who wrote an entry, and of the number of his write.
_WRITER, _NUMBER = 8, 8


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
        self._memory = memory
        self._place = place
        self._writer = writer
        self._tell = tell
        self._written = 0
        self._expected: dict[bytes, asyncio.Future[Any]] = {}
        self._task: asyncio.Task[None] | None = None
        # Who wrote each of the last entries that were taken in, by position, oldest first.
        self._taken: dict[int, bytes] = {}
        # How often the journal was found to have lost entries that were taken in here.
        self.losses = 0
        # When the last read began that brought all there was, by time.monotonic().
        self._level = 0.0
        # Why nothing can be written; "": it can.
        self.trouble = "it was not read yet"
        self._caught_up = asyncio.Event()
        # Whether there was more than the last read brought.
        self._behind = False
        # Whether the place in the file is another than here.
        self._unkept = False
        self._seldom = Seldom()
        # Whether the journal may have changed behind our back.
        self._unsure = True
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

        Raises StoreFailed: JournalAway where nobody may have it. It can still have been
        written then, so events are to be sent again with their event_id; TakenLater where
        it has been, and this gateway is behind.
        """
        if self.trouble:
            raise JournalAway(self.trouble)
        self._written += 1
        by = self._writer + self._written.to_bytes(_NUMBER, "big")
        taken = self._expected[by] = asyncio.get_running_loop().create_future()
        try:
            rollouts = write.record if isinstance(write, Rollouts) else None
            await self._journal.append(by, encode(write), rollouts)
            async with asyncio.timeout(_PATIENCE):
                return await taken
        except TimeoutError:
            raise TakenLater(f"not taken in within {_PATIENCE:g} s; it will be") from None
        finally:
            del self._expected[by]

    async def level(self, last: int, seconds: float) -> bool:
        """Wait until everything up to a position is taken in; say whether it was in time."""
        began = time.monotonic()
        while self._place.position < last and self._level < began:
            if time.monotonic() > began + seconds:
                return False
            await asyncio.sleep(_LOOK)
        return True

    def restate(self) -> None:
        """Write again where the file stands, soon: it was replaced, and may lack something."""
        # Between two takings: a place of before the one under way must not be written after it.
        self._place = replace(self._place, gap=True)
        self._unkept = True

    async def _follow(self) -> None:
        while True:
            try:
                await self._keep()
                if self._unsure:
                    await self._verify()
                known, reads = self._caught_up.is_set(), time.monotonic()
                entries, more = await self._journal.read(self._place.position, wait=known)
                if more or self._behind:
                    # Who is behind can be overtaken by what lets entries go.
                    await self._look_back(await self._journal.bounds())
                began = time.monotonic()
                await self._take(entries)
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

    async def _keep(self) -> None:
        """Write where the file stands, if it does not say so."""
        if not self._unkept:
            return
        # Before: another file may take this one's place meanwhile.
        self._unkept = False
        try:
            await self._memory.pass_over(self._place)
        except StoreFailed:
            self._unkept = True
            raise

    async def _verify(self) -> None:
        """See that the journal is the same, and reaches back to where this file stands."""
        known = self._place.journal
        if known is None:
            raise JournalAway("it is not known which it is")
        held = await self._journal.found(known)
        if held != known:
            raise JournalAway(f"it is another one ({held}, the state file belongs to {known})")
        bounds = await self._journal.bounds()
        await self._go_back(bounds)
        await self._look_back(bounds)
        self._unsure = False

    async def _go_back(self, bounds: Bounds) -> None:
        """Go on from the last entry that both have, where the journal lost some that were taken in.

        What others wrote since may come before those: a server that takes another's place, and
        whose clock is behind, numbers entries lower than the other did.
        """
        position = self._place.position
        shared = min(position, bounds.last)
        if self._taken and 0 < bounds.first <= position:
            shared = await self._journal.last_of(self._taken) or min(*self._taken, shared + 1) - 1
        if shared == position:
            return
        _log.error(
            "the journal has lost its last entries: gateways may differ in them",
            extra={"had": position, "has": shared},
        )
        self._taken = {at: by for at, by in self._taken.items() if at <= shared}
        self._place = replace(self._place, position=shared)
        self._unkept = True
        self.losses += 1

    async def _look_back(self, bounds: Bounds) -> None:
        """Note where entries that were not taken in are gone."""
        if bounds.passed(self._place.position) and not self._place.gap:
            JOURNAL_GAPS.inc()
            self._place = replace(self._place, gap=True)
            _log.error("entries are gone before they were read; the next start copies a state")
            self._unkept = True
            await self._keep()

    async def _take(self, entries: Sequence[Entry]) -> None:
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
            self._is_ours(read.entry)
            for read, events in zip(run, parts, strict=True)
            for _ in events
        ]
        together = Events(tuple(event for events in parts for event in events))
        numbers = await self._memory.take_events(together, position, here)
        return _split(numbers, [len(events) for events in parts])

    def _arrived(self, run: Sequence[_Read], results: Sequence[Any]) -> None:
        for read, result in zip(run, results, strict=True):
            self._pass(read.entry)
            JOURNAL_ENTRIES.labels("here" if self._is_ours(read.entry) else "elsewhere").inc()
            self._answer(read.entry, result)

    async def _skip(self, entry: Entry, reason: str) -> None:
        """Leave out what nobody can take in; the others are not to wait for it for ever."""
        JOURNAL_SKIPPED.inc()
        _log.error(
            "an entry of the journal is passed over",
            extra={"position": entry.position, "reason": reason},
        )
        self._answer(entry, StoreRefused(f"the write was refused ({reason})"))
        self._pass(entry)
        self._unkept = True
        await self._keep()

    def _pass(self, entry: Entry) -> None:
        """Stand behind an entry from now on."""
        self._place = replace(self._place, position=entry.position)
        self._taken[entry.position] = entry.by
        if len(self._taken) > _REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def _answer(self, entry: Entry, result: Any) -> None:
        """Tell who waits for an entry, if anybody does, what became of it."""
        waiting = self._expected.get(entry.by)
        if waiting is None or waiting.done():
            return
        if isinstance(result, StoreFailed):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)

    def _is_ours(self, entry: Entry) -> bool:
        return entry.by[:_WRITER] == self._writer

    async def _reached(self) -> None:
        if self.trouble:
            self.trouble = ""
            _log.info("the journal is followed", extra={"position": self._place.position})
            await self._tell(True)
        _show(followed=True)

    async def _lost(self, error: JournalAway) -> None:
        _show(followed=False)
        self._unsure = True
        before, self.trouble = self.trouble, str(error)
        if not before:
            _log.error("nothing can be recorded", extra={"reason": str(error)})
            await self._tell(False)


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


def _show(*, followed: bool) -> None:
    JOURNAL_STATE.labels("followed").set(followed)
    JOURNAL_STATE.labels("away").set(not followed)


def _show_behind(oldest: Entry) -> None:
    JOURNAL_BEHIND.set(max(time.time() - oldest.time_ms / 1000, 0.0))


def _split(numbers: Sequence[int], counts: Sequence[int]) -> list[Sequence[int]]:
    parts, start = [], 0
    for count in counts:
        parts.append(numbers[start : start + count])
        start += count
    return parts
