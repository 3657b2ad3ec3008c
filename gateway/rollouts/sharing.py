"""What is rolled out, the same at every gateway of a journal.

An operator tells one gateway. It checks the change, keeps it and tells the others, who
take it without checking it again: the servers behind them are the same. Who comes later
finds the last record beside the journal.
"""

import asyncio
import contextlib
import logging

from gateway.errors import JournalAway, StoreFailed, TakenLater
from gateway.journal.entries import Rollouts, encode
from gateway.journal.shared import Followed
from gateway.journal.stream import Journal
from gateway.rollouts.canaries import Canaries
from gateway.rollouts.fusion import FusionVersions
from gateway.rollouts.record import Record, RecordKeeper, parse, written
from services.runtime.errors import PlaitError, Unavailable

_log = logging.getLogger(__name__)
# Seconds before the others are told again of what they could not be told.
_AGAIN = 1.0
# Longest that entries which tell of rollouts are waited for at once, in seconds.
_PATIENCE = 3.0


class SharedRollouts:
    """One gateway's record as part of that of all. Belongs to the event loop."""

    def __init__(
        self,
        journal: Journal,
        shared: Followed,
        keeper: RecordKeeper,
        canaries: Canaries,
        fusion: FusionVersions,
    ) -> None:
        self._journal = journal
        self._shared = shared
        self._keeper = keeper
        self._canaries = canaries
        self._fusion = fusion
        # What was told of last; only that is to be in force.
        self._told: str | None = None
        # Whether what is in force here is what all have, as far as is known.
        self._common = True
        # Losses of the journal after which all were told again of it, where need be.
        self._mended = 0
        self._adopting: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._started = self._stopping = False

    async def start(self) -> None:
        """Adopt what was rolled out meanwhile, and tell the others of changes from now on."""
        self._keeper.share(self._announce)
        self._started = True
        settled = False
        with contextlib.suppress(JournalAway):
            settled = await self._settled()
        if not settled:
            self.keep()

    async def stop(self) -> None:
        """Adopt and tell nothing more."""
        self._stopping = True
        tasks = [t for t in (self._adopting, self._telling, self._keeping) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def keep(self) -> None:
        """Be of one mind with what Valkey keeps, soon: it may have lost something, or this one."""
        if self._started and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(JournalAway):
                if await self._settled() and self._shared.losses == self._mended:
                    return
            await asyncio.sleep(_AGAIN)

    async def _settled(self) -> bool:
        """Adopt what Valkey keeps, or tell all again of what it has lost; say whether that is done.

        Raises JournalAway.
        """
        losses = self._shared.losses
        held = await self._journal.rollouts()
        last = (await self._journal.bounds()).last
        if not await self._shared.level(last, _PATIENCE):
            return False
        async with self._keeper.changing:
            if self._told is not None or (self._telling is not None and not self._telling.done()):
                return False
            told = written(self._keeper.record)
            if told != (written(Record()) if held is None else held):
                # Of before there was a journal, maybe: who comes later is to have it too.
                if held is None or (self._common and losses != self._mended):
                    await self._journal.put_rollouts(told, encode(Rollouts(told)), before=held)
                    return False
                self._told = held
        self._mended = losses
        if held is None or self._told is None:
            self._common = True
        elif await self._try():
            self.take(self._told or held)  # on a full disk it may be long until it goes
        return True

    def take(self, record: str) -> None:
        """Adopt what a gateway told of, soon: loading a fusion takes a while.

        What this one told of comes back too: where two did at the same time, the journal
        says which was the last.
        """
        self._told = record
        if self._adopting is None or self._adopting.done():
            self._adopting = asyncio.create_task(self._adopted())

    async def _announce(self, record: Record) -> None:
        try:
            await self._tell(record)
        except StoreFailed as error:
            if not self._stopping and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell_later())
            raise Unavailable(
                f"changed at this gateway; the others will be told later ({error.told})"
            ) from None

    async def _tell(self, record: Record) -> None:
        # Not once more where only this gateway is behind: what others change meanwhile would
        # be undone everywhere.
        with contextlib.suppress(TakenLater):
            await self._shared.write(Rollouts(written(record)))
        self._common = True

    async def _tell_later(self) -> None:
        """Tell the others what is in force here, once the journal takes it."""
        while True:
            await asyncio.sleep(_AGAIN)
            async with self._keeper.changing:
                try:
                    await self._tell(self._keeper.record)
                except StoreFailed:
                    continue
                return

    async def _adopted(self) -> None:
        """Adopt the last that was told of; again and again where the disk does not keep it."""
        refused = None
        while self._told is not None:
            told = self._told
            why = await self._try()
            if why and told != refused:
                _log.error("rollouts of another gateway not adopted", extra={"reason": why})
            if self._told is not None:
                refused = told
                await asyncio.sleep(_AGAIN)

    async def _try(self) -> str:
        """Adopt what was told of last; return why not, and leave it where that may pass."""
        async with self._keeper.changing:
            told, self._told = self._told, None
            try:
                if told is not None:
                    await self._adopt(parse(told))
            except Unavailable as error:
                self._told = self._told or told
                return str(error)
            except (ValueError, OverflowError, KeyError, TypeError, PlaitError) as error:
                self._common = False
                return str(error)
            return ""

    async def _adopt(self, record: Record) -> None:
        if record != self._keeper.record:
            await self._canaries.adopt(record.canaries)
            await self._fusion.adopt(record.fusion, record.fusion_before)
            _log.info("rollouts of another gateway adopted")
        self._common = True
