"""Where a gateway stands in its journal, as the journal goes on, is trimmed, or loses entries."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.errors import JournalAway, StoreFailed
from gateway.journal.place import Place
from gateway.journal.positions import Bounds, Entry
from gateway.journal.stream import Journal
from services.runtime.metrics import JOURNAL_GAPS

_log = logging.getLogger(__name__)
# Entries remembered, to find what is left of them in a journal that lost its last ones:
# seconds of a busy shop.
_REMEMBERED = 10_000


class Standing:
    """One gateway's place, here and in its file. Belongs to the event loop."""

    def __init__(
        self, journal: Journal, place: Place, put: Callable[[Place], Awaitable[None]]
    ) -> None:
        """`place`: that of the state file; `put` writes one into it, raises StoreFailed."""
        self._journal = journal
        self._place = place
        self._put = put
        # Who wrote each of the last entries that were passed, by position, oldest first.
        self._taken: dict[int, bytes] = {}
        # Whether the place in the file is another than here.
        self._unkept = False
        # How often the journal was found to have lost entries that were taken in here.
        self.losses = 0

    @property
    def position(self) -> int:
        """That of the last entry that was taken in, or passed over."""
        return self._place.position

    def step(self, entry: Entry, *, kept: bool) -> None:
        """Stand behind an entry from now on; `kept`: the file says so already."""
        self._place = replace(self._place, position=entry.position)
        self._unkept = self._unkept or not kept
        self._taken[entry.position] = entry.by
        if len(self._taken) > _REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def restate(self) -> None:
        """Have it kept again: the file was replaced, and may lack something."""
        # Between two takings: a place of before the one under way must not be written after it.
        self._place = replace(self._place, gap=True)
        self._unkept = True

    async def keep(self) -> None:
        """Write where the file stands, if it does not say so; raises StoreFailed."""
        if not self._unkept:
            return
        # Before: another file may take this one's place meanwhile.
        self._unkept = False
        try:
            await self._put(self._place)
        except StoreFailed:
            self._unkept = True
            raise

    async def verify(self) -> None:
        """See that the journal is the same, and reaches back to here.

        Raises JournalAway where it is another one, or does not answer, and StoreFailed.
        """
        known = self._place.journal
        if known is None:
            raise JournalAway("it is not known which it is")
        held = await self._journal.found(known)
        if held != known:
            raise JournalAway(f"it is another one ({held}, the state file belongs to {known})")
        bounds = await self._journal.bounds(reading=True)
        await self._go_back(bounds)
        await self._look_back(bounds)

    async def look_back(self) -> None:
        """Note where entries that were not taken in are gone; raises as `verify` does."""
        await self._look_back(await self._journal.bounds(reading=True))

    async def _look_back(self, bounds: Bounds) -> None:
        if bounds.passed(self._place.position) and not self._place.gap:
            JOURNAL_GAPS.inc()
            self._place = replace(self._place, gap=True)
            _log.error("entries are gone before they were read; the next start copies a state")
            self._unkept = True
            await self.keep()

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
