"""The roll of a source's replicas: kept in step with what its names resolve to.

A name that cannot be looked up at the moment keeps the replicas it had: a DNS
server that is down must not take the models with it. Each name is looked up by itself,
as one that is not answered for may take a quarter of a minute.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from gateway.replicas.addresses import Address, look_up
from gateway.replicas.breaker import State
from gateway.replicas.replica import STATES, Replica
from gateway.replicas.settings import Settings
from gateway.replicas.tasks import end
from services.runtime.metrics import BREAKER_CHANGES, REPLICAS

_log = logging.getLogger(__name__)


class Roll:
    """All replicas of one source."""

    def __init__(
        self,
        source: str,
        addresses: Sequence[Address],
        settings: Settings,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is told whenever one came, went, or became usable or not."""
        self.replicas: tuple[Replica, ...] = ()
        self._source = source
        self._settings = settings
        self._changed = changed
        self._names = [a for a in addresses if not a.target]
        # What to dial, by where that is known from; addresses that are no names are known.
        self._found = {a: frozenset({a.target}) for a in addresses if a.target}
        self._breakers: dict[str, State] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Connect to what is known, and look up the rest, again and again."""
        for state in State:  # from 0, so that the first change is seen as one
            BREAKER_CHANGES.labels(self._source, state.value)
        self._adopt()
        for address in self._names:
            name = f"look-up-{self._source}-{address.host}"
            self._looking.append(asyncio.create_task(self._look(address), name=name))

    async def stop(self) -> None:
        """Cancel calls under way and close."""
        await end(*self._looking)
        await end(*self._tasks)
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        self.replicas = ()
        self._count()

    async def _look(self, address: Address) -> None:
        while True:
            found = await look_up(address)
            if found is None:
                what = {"source": self._source, "name": address.host}
                _log.debug("name not found", extra=what)
            else:
                self._found[address] = found
                self._adopt()
            await asyncio.sleep(self._settings.look_up)

    def _adopt(self) -> None:
        """Start replicas that are new and retire those that are listed no more."""
        wanted = frozenset().union(*self._found.values())
        known = {replica.target for replica in self.replicas}
        if wanted == known:
            return
        gone = [r for r in self.replicas if r.target not in wanted]
        new = [self._made(target) for target in sorted(wanted - known)]
        self.replicas = (*(r for r in self.replicas if r.target in wanted), *new)
        self._note("replica found", (r.target for r in new))
        self._note("replica no longer listed", (r.target for r in gone))
        for replica in gone:
            task = asyncio.create_task(replica.retire(), name=f"retire-{replica.target}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._breakers.pop(replica.target, None)
        self._tell()

    def _made(self, target: str) -> Replica:
        replica = Replica(self._source, target, self._settings, self._turned)
        replica.start()
        return replica

    def _note(self, event: str, targets: Iterable[str]) -> None:
        for target in targets:
            _log.info(event, extra={"source": self._source, "replica": target})

    def _turned(self, replica: Replica) -> None:
        """Hear that a replica changed; those retired still do, while they finish."""
        if replica not in self.replicas:
            return
        state = replica.breaker.state
        if state is not self._breakers.get(replica.target, State.CLOSED):
            BREAKER_CHANGES.labels(self._source, state.value).inc()
        self._breakers[replica.target] = state
        self._tell()

    def _tell(self) -> None:
        self._count()
        self._changed()

    def _count(self) -> None:
        states = [replica.state for replica in self.replicas]
        for state in STATES:
            REPLICAS.labels(self._source, state).set(states.count(state))
