"""Forgetting a shopper: on disk first, then in memory, then acknowledged.

What is kept of one lies in the state file, in memory (trails, rankings for further pages) and
in the exposure log; models and trends hold sums over all shoppers, of which nobody can be told.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import StoreFailed
from gateway.exposure import ExposureLog
from gateway.journal.entries import Forgotten
from gateway.journal.shared import Shared
from gateway.store import Store
from services.runtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted of a shopper."""

    events: int
    exposures: int  # lines of this gateway's exposure log


@dataclass(frozen=True, slots=True)
class Taken:
    """What this gateway has deleted, and the lines of the log it is still looking for."""

    events: int
    # None where they could not be deleted; absent without a log.
    exposures: asyncio.Task[int | None] | None


class Forgetter:
    """Forgets shoppers. Belongs to the event loop."""

    def __init__(
        self,
        store: Store,
        exposures: ExposureLog | None,
        memories: Sequence[Callable[[str], None]],
    ) -> None:
        """`memories` each drop what they hold of a shopper."""
        self._store = store
        self._exposures = exposures
        self._memories = memories
        self._shared: Shared | None = None

    def share(self, shared: Shared) -> None:
        """Forget through a journal from now on, which gives everything to `take`."""
        self._shared = shared

    async def forget(self, user_id: str) -> Deleted:
        """Delete all that is kept of a shopper; when this returns nothing of it counts.

        Raises Unavailable where the disk, or the journal that gateways share, does not take
        it, and where the exposure log does not.
        """
        try:
            if self._shared is None:
                taken: Taken = await self.take(user_id)
            else:
                taken = await self._shared.write(Forgotten(user_id))
        except StoreFailed as error:
            raise self._store.condition.refusal(
                "the shopper is not forgotten", error.told, "call again"
            ) from None
        # A caller that goes must not stop it.
        lines = 0 if taken.exposures is None else await asyncio.shield(taken.exposures)
        if lines is None:
            raise Unavailable(
                "the shopper's events are deleted, but the exposure log cannot be changed; "
                "call again",
                self._store.condition.pause_ms,
            )
        return Deleted(taken.events, lines)

    async def take(self, user_id: str, position: int | None = None) -> Taken:
        """Forget a shopper here; `position`: the wish's in the journal. Raises StoreFailed."""

        def then(_: int) -> None:
            for drop in self._memories:
                drop(user_id)

        events = await self._store.forget(user_id, then, position)
        # Not waited for: other entries of the journal must not wait for the log's disk.
        lines = None if self._exposures is None else self._exposures.forget(user_id)
        return Taken(events, lines)
