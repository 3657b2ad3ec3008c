"""What is rolled out, the same at every gateway of a journal.

An operator tells one gateway. It checks the change, keeps it and tells the others, who
take it without checking it again: the servers behind them are the same. Who comes later
finds the last record beside the journal.
"""

import asyncio
import logging

from gateway.errors import JournalAway, StoreFailed
from gateway.journal.entries import Rollouts
from gateway.journal.shared import Shared
from gateway.journal.stream import Journal
from gateway.rollouts.canaries import Canaries
from gateway.rollouts.fusion import FusionVersions
from gateway.rollouts.record import Record, RecordKeeper, parse, written
from services.runtime.errors import PlaitError, Unavailable

_log = logging.getLogger(__name__)


class SharedRollouts:
    """One gateway's record as part of that of all. Belongs to the event loop."""

    def __init__(
        self,
        journal: Journal,
        shared: Shared,
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
        self._adopting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Adopt what was rolled out meanwhile, and tell the others of changes from now on."""
        self._keeper.share(self._announce)
        try:
            record = await self._journal.rollouts()
        except JournalAway:
            return  # entries that tell of it follow once it is back
        if record is not None:
            self._told = record
            await self._adopted()

    async def stop(self) -> None:
        """Adopt nothing more."""
        if self._adopting is not None:
            self._adopting.cancel()
            await asyncio.gather(self._adopting, return_exceptions=True)

    def take(self, record: str) -> None:
        """Adopt what a gateway told of, soon: loading a fusion takes a while.

        What this one told of comes back too: where two did at the same time, the journal
        says which was the last.
        """
        self._told = record
        if self._adopting is None or self._adopting.done():
            self._adopting = asyncio.create_task(self._adopted())

    async def _announce(self, record: Record) -> None:
        text = written(record)
        try:
            await self._journal.put_rollouts(text)
            await self._shared.write(Rollouts(text))
        except StoreFailed as error:
            raise Unavailable(
                f"changed at this gateway, but the others were not told ({error}): do it again"
            ) from None

    async def _adopted(self) -> None:
        async with self._keeper.changing:
            while self._told is not None:
                told, self._told = self._told, None
                try:
                    await self._adopt(parse(told))
                except (ValueError, KeyError, TypeError, PlaitError) as error:
                    why = {"reason": str(error)}
                    _log.error("rollouts of another gateway not adopted", extra=why)

    async def _adopt(self, record: Record) -> None:
        if record != self._keeper.record:
            await self._canaries.adopt(record.canaries)
            await self._fusion.adopt(record.fusion, record.fusion_before)
            _log.info("rollouts of another gateway adopted")
