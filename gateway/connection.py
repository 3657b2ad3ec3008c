"""The model servers behind one source, as though they were one.

`ask` picks the replica that should answer soonest, asks a second one where that
pays (replicas/race.py), and leaves alone those that drain or keep failing.
Replicas come and go with what their name resolves to. They may serve different
versions: `contract` is what to write requests by, and a request goes only to a
replica that reads it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

from gateway.replicas.addresses import parse
from gateway.replicas.attempt import Attempt, Call
from gateway.replicas.balance import soonest
from gateway.replicas.breaker import State
from gateway.replicas.budget import Budget
from gateway.replicas.contract import Contract, prevailing
from gateway.replicas.errors import BreakersOpen, NotReachable, ReplicaError, VersionNotServed
from gateway.replicas.quantile import Quantile
from gateway.replicas.race import Reason, race
from gateway.replicas.replica import Replica
from gateway.replicas.roll import Roll
from gateway.replicas.settings import Settings
from inference import inference_pb2 as pb
from services.runtime.metrics import SECOND_CALLS

__all__ = ["Connection", "Contract"]
T = TypeVar("T")
# A second replica is asked after what 95 of 100 answers take.
_PATIENCE = 0.95
# How a second call can end.
_SECONDS = ("used", "unused", "denied")


class Connection:
    """The replicas of one source."""

    def __init__(self, name: str, address: str, settings: Settings | None = None) -> None:
        """`name` is the source's and its model's; `address` as in the setting `sources`.

        Raises ValueError where the address is none.
        """
        settings = settings or Settings()
        self.name = name
        # What to write requests by; None before the first contact, then always something.
        self.contract: Contract | None = None
        # How many replicas can be asked at the same time; at least 1.
        self.width = 1
        self._roll = Roll(name, parse(address), settings, self._note)
        self._usual = Quantile(_PATIENCE, time.perf_counter)
        self._budget = Budget(settings.second_share)
        self._draw = random.Random(name)  # noqa: S311 -- to share load, not to keep secrets
        self._described = asyncio.Event()

    def start(self) -> None:
        """Connect and describe in the background."""
        for reason, outcome in product(Reason, _SECONDS):
            SECOND_CALLS.labels(self.name, reason.value, outcome)
        self._roll.start()

    async def stop(self) -> None:
        """Cancel calls under way and close."""
        await self._roll.stop()

    async def contacted(self) -> None:
        """Wait until a server has described its model once."""
        await self._described.wait()

    @property
    def stamp(self) -> tuple[object, ...]:
        """Every replica, whether it is there and lets calls through, and its versions."""
        return tuple(
            (r.target, r.here, r.draining, r.breaker.state, *r.contracts) for r in self._replicas
        )

    def contract_for(self, version: str) -> Contract | None:
        """Return what a version takes and gives; None where no replica serves it."""
        found = (r.contracts.get(version) for r in self._replicas if r.here)
        return next((contract for contract in found if contract is not None), None)

    def look_again(self) -> None:
        """Have the model described anew: its servers may serve other versions by now."""
        for replica in self._replicas:
            replica.look_again()

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Call ModelInfer within `seconds`; raises as `ask` does."""
        return await self.ask(request, seconds, lambda response: response)

    async def ask(
        self,
        request: pb.ModelInferRequest,
        seconds: float,
        read: Callable[[pb.ModelInferResponse], T],
        *,
        counted: bool = True,
    ) -> T:
        """Call ModelInfer within `seconds` and return what `read` makes of the answer.

        What `read` raises says that the answer is not usable, and counts against its
        replica as a failure does. `counted` False: failures do not count, as those of a
        call that repeats a part of one that has failed already.

        Raises ReplicaError where there is no replica to call, grpc.aio.AioRpcError
        where a call failed, and what `read` raises.
        """
        rows = int(request.inputs[0].shape[0]) if request.inputs and request.inputs[0].shape else 1
        shoppers = request.model_name == self.name
        usual = self._usual if shoppers else None
        call = Call(request, rows, read, usual, counted, tells=shoppers)
        first = Attempt(self._choose(request, shoppers=shoppers), call)
        self._budget.earn(rows)
        if len(self._replicas) == 1:
            return await first.run(seconds)
        return await race(
            first,
            seconds,
            None if usual is None else usual.value,
            lambda reason: self._second(first.replica, call, reason),
            self._tell_second,
        )

    async def describe(self, model: str) -> Contract:
        """Ask what another model of these servers takes and gives; raises as `ask` does."""
        replica = self._choose(pb.ModelInferRequest(model_name=model), shoppers=False)
        contract, _ = await replica.describe(model)
        return contract

    @property
    def _replicas(self) -> Sequence[Replica]:
        return self._roll.replicas

    def _note(self) -> None:
        """Keep the contract and the width in step with the replicas."""
        known = [(r, r.contract) for r in self._replicas if r.contract is not None]
        asked = [c for r, c in known if r.here and r.breaker.state is not State.OPEN]
        self.contract = prevailing(asked or [c for _, c in known]) or self.contract
        self.width = max(1, sum(r.state == State.CLOSED.value for r in self._replicas))
        if self.contract is not None:
            self._described.set()

    def _choose(self, request: pb.ModelInferRequest, *, shoppers: bool) -> Replica:
        fitting = self._fitting(request)
        if not shoppers:
            # A batch of items takes long, and says nothing of answers to shoppers.
            awake = [r for r in fitting if r.breaker.state is not State.OPEN]
            well = [r for r in awake if r.breaker.state is State.CLOSED]
            return self._best(_some(well or awake))
        admitted = _some([r for r in fitting if r.breaker.admits])
        # The next call is the trial of one that gave a sign of life.
        for replica in admitted:
            if replica.breaker.state is State.HALF_OPEN and not replica.draining:
                return replica
        return self._best(admitted)

    def _fitting(self, request: pb.ModelInferRequest) -> list[Replica]:
        """Return the replicas that are there and read a request; raises ReplicaError."""
        here = [r for r in self._replicas if r.here]
        if not here:
            raise NotReachable("not reachable")
        fitting = [r for r in here if r.takes(request, self.contract)]
        if not fitting and request.model_version:
            raise VersionNotServed(f"no replica serves version {request.model_version}")
        if not fitting:
            raise NotReachable("no replica reads this request")
        return fitting

    def _best(self, admitted: Sequence[Replica]) -> Replica:
        """Choose; one that drains or asked for a pause is better than none."""
        serving = [r for r in admitted if not r.draining] or admitted
        return soonest([r for r in serving if not r.busy] or serving, self._draw)

    def _second(self, first: Replica, call: Call[T], reason: Reason) -> Attempt[T] | None:
        """Begin to ask another replica, where there is a healthy one and budget for it."""
        try:
            fitting = self._fitting(call.request)
        except ReplicaError:
            return None
        healthy = [
            r for r in fitting
            if r is not first and r.breaker.state is State.CLOSED and not r.draining and not r.busy
        ]  # fmt: skip
        if not healthy:
            return None
        if not self._budget.spend(call.rows):
            SECOND_CALLS.labels(self.name, reason.value, "denied").inc()
            return None
        return Attempt(soonest(healthy, self._draw), call)

    def _tell_second(self, reason: Reason, used: bool) -> None:
        SECOND_CALLS.labels(self.name, reason.value, "used" if used else "unused").inc()


def _some(admitted: Sequence[Replica]) -> Sequence[Replica]:
    """Return the replicas that may be asked; raises BreakersOpen where there are none."""
    if not admitted:
        raise BreakersOpen("resting after failures")
    return admitted
