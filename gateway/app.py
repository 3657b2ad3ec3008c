"""The gateway as an application: in which order it starts and stops.

State is read first, then sources are contacted in the background: the gateway
serves trends before any model is up, and each model as it comes.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import grpc
import numpy as np

from gateway.api.profiles import ProfileServicer
from gateway.api.rollouts import RolloutServicer
from gateway.api.servicer import (
    CatalogServicer,
    EventServicer,
    Parts,
    RecommendationServicer,
    add_to_server,
)
from gateway.assembly import Assembled, Known, assemble
from gateway.condition import State as Condition
from gateway.config import GatewayConfig
from gateway.connection import Connection
from gateway.embedded import EmbeddedLink
from gateway.errors import StoreError
from gateway.exposure import ExposureLog
from gateway.journal.copying import StateServicer, clear
from gateway.journal.membership import Membership, leave
from gateway.journal.place import Place
from gateway.journal.stream import Journal
from gateway.link import Link
from gateway.loading import State, load_state
from gateway.rollouts.fusion import first_fusion
from gateway.rollouts.record import RecordFile
from services.runtime.errors import StartError, Unavailable
from services.runtime.health import Health
from services.runtime.metrics import GATEWAYS_WANTED

_log = logging.getLogger(__name__)
# The health name that says whether events can be made durable.
STORE = "store"
# And the one that says whether other gateways hear of them.
JOURNAL = "journal"
# Seconds before items that a repaired file lacks are written again, where that failed.
_RESTORE_AGAIN = 5.0


class GatewayApplication:
    """The application of the gateway's server (see services.runtime.server.Application)."""

    def __init__(
        self, config: GatewayConfig, embedded: Mapping[str, EmbeddedLink] | None = None
    ) -> None:
        """`embedded`: sources whose models are part of this process, instead of called."""
        self._config = config
        GATEWAYS_WANTED.set(config.wanted_gateways)
        self._embedded = embedded or {}
        self._connections: dict[str, Link] = {
            name: self._embedded.get(name) or Connection(name, address, config.replicas())
            for name, address in config.addresses().items()
        }
        self._exposures: ExposureLog | None = None
        if config.exposure_log is not None:
            self._exposures = ExposureLog(config.exposure_log, config.exposure_log_mb << 20)
        self._health: Health | None = None
        self._state: State | None = None
        self._assembled: Assembled | None = None
        # Whether the file was repaired before there was anything to give it from.
        self._lacking = False
        self._restoring: asyncio.Task[None] | None = None
        self._stopping = threading.Event()
        self._membership: Membership | None = None
        if config.journal.text:
            self._membership = Membership(config, self._stopping, self._tell_journal)

    def register(self, server: grpc.aio.Server, health: Health) -> Sequence[str]:
        """Add the services."""
        self._health = health
        return [
            add_to_server(server, servicer)
            for servicer in (
                RecommendationServicer(
                    self._ready, self._config.default_page_size, self._config.max_message_bytes
                ),
                EventServicer(self._ready),
                CatalogServicer(self._ready),
                ProfileServicer(self._ready),
                StateServicer(self._config.state.resolve(), lambda: self._shown),
                RolloutServicer(self._ready, self._config.rollouts),
            )
        ]

    async def start(self) -> None:
        """Load the fusion artifact and the state, then contact the sources.

        Raises StartError or an ArtifactError, each naming the file and what to do.
        """
        config = self._config
        # First: a state that is copied comes without what was rolled out beside an earlier one.
        joined = None if self._membership is None else await self._membership.join()
        record = await asyncio.to_thread(RecordFile(config.state).read)
        fusion = await asyncio.to_thread(
            first_fusion, config.repository, config.version, record.fusion
        )
        what = {"version": fusion.version, "items": len(fusion.item_keys)}
        _log.info("fusion loaded", extra=what)
        try:
            tell = await self._watch_store()
            self._state = await asyncio.to_thread(load_state, config, fusion, tell, self._stopping)
        except StoreError as error:
            raise StartError(str(error)) from None
        await asyncio.to_thread(clear, config.state.resolve())
        # The catalogue holds what is known of its items by now; a copy would be as large.
        fusion = fusion.only(np.zeros(len(fusion.item_keys), np.bool_))
        await self._save_trends()
        await asyncio.gather(*(link.load() for link in self._embedded.values()))
        await self._contact()
        place = await self._place(self._state, joined)
        known = Known(self._state, fusion, record)
        assembled = assemble(config, self._connections, known, self._exposures)
        if self._membership is not None and place is not None:
            await self._membership.start(self._state.store, assembled, place)
        self._assembled = assembled
        if self._lacking:
            self._restoring = asyncio.create_task(self._restore())
        if not len(self._state.catalogue):
            _log.warning("the catalogue is empty: run `plait seed`, or upsert items")

    async def _place(self, state: State, joined: Place | None) -> Place | None:
        """Return where the file stands in the journal, None without one."""
        if self._membership is None or joined is None:
            await leave(state.store)
            return None
        return await self._membership.settle(state.store, joined)

    async def _tell_journal(self, followed: bool) -> None:
        """Show whether what is recorded reaches other gateways, as the health name `journal`."""
        if self._health is not None:
            await self._health.set(JOURNAL, ready=followed)

    @property
    def _shown(self) -> Journal | None:
        """The journal, while others may copy the state."""
        if self._membership is None or self._assembled is None:
            return None
        return self._membership.journal

    async def stop(self) -> None:
        """Close connections, write what is pending, let go of the state file."""
        self._stopping.set()  # also for a start that is under way in its thread
        assembled, self._assembled = self._assembled, None
        if self._membership is not None:
            await self._membership.stop()
        if assembled is not None:
            await assembled.embedder.stop()
        for connection in self._connections.values():
            await connection.stop()
        if self._exposures is not None:
            await self._exposures.stop()
        if assembled is not None:
            await assembled.adaptive.stop()
        if self._state is not None:
            await self._save_trends()
            await asyncio.to_thread(self._state.store.stop)

    async def _watch_store(self) -> Callable[[Condition], None]:
        """Show what the store can do as the health name `store`; return whom it shall tell.

        The process stays ready whatever it is: rankings need no writes.
        """
        if self._health is None:
            return lambda _: None
        health, loop = self._health, asyncio.get_running_loop()
        await health.set(STORE, ready=True)

        before = Condition.OK

        def tell(condition: Condition) -> None:
            nonlocal before
            repaired = condition is Condition.OK and before is Condition.DAMAGED
            before = condition
            ready = condition is Condition.OK
            then = self._complete(health) if repaired else health.set(STORE, ready=ready)
            asyncio.run_coroutine_threadsafe(then, loop)

        return tell

    async def _complete(self, health: Health) -> None:
        """Give a repaired file the items that only memory still has, and say that it is well."""
        if self._membership is not None:
            self._membership.restate()
        await self._restore()
        if self._state is None or self._state.store.condition.state is Condition.OK:
            await health.set(STORE, ready=True)

    async def _restore(self) -> None:
        """Store the items that a repaired file lacks; again and again where that fails.

        Nobody else would: they were acknowledged, and after a restart nobody has them.
        """
        said = False
        while (assembled := self._assembled) is not None:
            try:
                await assembled.parts.keeper.restore()
            except StoreError as error:
                if not said:
                    _log.error("items that the repaired file lacks", extra={"reason": str(error)})
                said = True
            else:
                return
            await asyncio.sleep(_RESTORE_AGAIN)
        self._lacking = True

    async def _contact(self) -> None:
        """Connect to the sources; wait a moment for them, but for none that is away."""
        for connection in self._connections.values():
            connection.start()
        waiting = [asyncio.create_task(c.contacted()) for c in self._connections.values()]
        if waiting:  # without sources there are trends
            _, missing = await asyncio.wait(waiting, timeout=self._config.contact_ms / 1000)
            for task in missing:
                task.cancel()

    def _ready(self) -> Parts:
        if self._assembled is None:
            raise Unavailable("the gateway is starting or stopping; try again")
        return self._assembled.parts

    async def _save_trends(self) -> None:
        """Keep the trends, so that the next start counts only what came after."""
        if self._state is None:
            return
        trends, keys = self._state.trends, self._state.catalogue.columns.keys
        snapshots = trends.snapshots(keys, int(time.time() * 1000))
        try:
            await self._state.store.put_trends(snapshots, trends.last_seq)
        except StoreError as error:
            # They can be counted again from the events.
            _log.warning("trends were not saved", extra={"reason": str(error)})
