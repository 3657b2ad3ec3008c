"""A gateway's part in a journal, from joining it to leaving: what the application sees of it."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.assembly import Assembled
from gateway.config import GatewayConfig
from gateway.errors import StoreError
from gateway.journal.follower import Follower
from gateway.journal.joining import Joining
from gateway.journal.memory import StateMemory
from gateway.journal.place import Place
from gateway.journal.stream import Journal
from gateway.rollouts.record import RecordFile
from gateway.rollouts.sharing import SharedRollouts
from gateway.store import Store
from services.runtime.errors import StartError

_log = logging.getLogger(__name__)


class Membership:
    """Joins, follows and leaves one journal. Belongs to the event loop."""

    def __init__(
        self,
        config: GatewayConfig,
        stopping: threading.Event,
        tell: Callable[[bool], Awaitable[None]],
    ) -> None:
        """`tell` hears when the journal is followed and when it is away."""
        self.journal = Journal(
            config.journal.text, config.journal_minutes, config.journal_password.text
        )
        self._joining = Joining(
            self.journal,
            config.state.resolve(),
            config.others(),
            stopping,
            RecordFile(config.state).forget,
        )
        self._tell = tell
        self._follower: Follower | None = None
        self._rollouts: SharedRollouts | None = None

    async def join(self) -> Place:
        """Bring the state file to the journal before it is read; see Joining.join."""
        return await self._joining.join()

    async def settle(self, store: Store, place: Place) -> Place:
        """Return where the file stands, now that it is open, and keep it there.

        `place`: what `join` returned. Raises StartError.
        """
        try:
            stored = await asyncio.to_thread(store.place)
            if place.journal is None:
                place = await self._joining.settle(stored)
            # That a repair may have lost something is known to the file alone.
            place = replace(place, gap=place.gap or stored.gap, empty=False)
            if place != stored:  # else nothing is written: the disk may be full
                await store.put_place(place)
        except StoreError as error:
            if place.journal is None:
                raise StartError(f"the place in the journal cannot be kept: {error}") from None
            # Damaged, and being repaired: shoppers are not to wait. What is taken in puts it down.
            _log.error("place in the journal not kept", extra={"reason": str(error)})
        return place

    async def start(self, store: Store, assembled: Assembled, place: Place) -> None:
        """Take in what others wrote meanwhile, then follow; writes go through the journal."""
        parts = assembled.parts
        memory = StateMemory(
            store, parts.events, parts.keeper, parts.forgetter, self._take_rollouts
        )
        follower = Follower(self.journal, memory, place, secrets.token_bytes(8), self._followed)
        rollouts = SharedRollouts(
            self.journal, follower, assembled.record, parts.canaries, parts.fusion
        )
        parts.events.share(follower)
        parts.keeper.share(follower)
        parts.forgetter.share(follower)
        self._follower, self._rollouts = follower, rollouts
        await follower.start()
        await rollouts.start()

    async def stop(self) -> None:
        """Follow no longer, and let go of Valkey."""
        if self._rollouts is not None:
            await self._rollouts.stop()
        if self._follower is not None:
            await self._follower.stop()
        await self.journal.stop()

    def restate(self) -> None:
        """Have a repaired file tell where it stands, and that it may lack what came before."""
        if self._follower is not None:
            self._follower.restate()

    async def _followed(self, followed: bool) -> None:
        await self._tell(followed)
        if followed and self._rollouts is not None:
            self._rollouts.keep()

    def _take_rollouts(self, record: str) -> None:
        if self._rollouts is not None:
            self._rollouts.take(record)


async def leave(store: Store) -> None:
    """Let a file that goes on alone be of no journal: it will hold what no other knows."""
    try:
        if (await asyncio.to_thread(store.place)).journal is not None:
            await store.put_place(Place())
            _log.warning("the state file leaves its journal: the setting is empty")
    except StoreError as error:  # no reason not to serve
        _log.error("the state file cannot leave its journal", extra={"reason": str(error)})
