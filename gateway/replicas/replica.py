"""One server of a source: its connection, what it says of itself, how it has done lately.

It describes its model (ModelMetadata) once per connection, again when an answer
comes from another version, and after its breaker's rest: that answer is the sign
of life which lets trials through. What it says of its health (grpc.health.v1
Watch) is followed all the time, so that a draining server gets no new calls
before it has to refuse them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.replicas.balance import Pace
from gateway.replicas.breaker import Breaker, State
from gateway.replicas.channel import open_channel
from gateway.replicas.contract import Contract, widths_of
from gateway.replicas.line import Line
from gateway.replicas.settings import Settings
from gateway.replicas.tasks import end
from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceStub
from services.runtime.logs import Seldom

_log = logging.getLogger(__name__)
_DESCRIBE_SECONDS = 2.0
_WATCH_PAUSE = 1.0
# Calls under way on a server that its name no longer lists may finish.
_RETIRE_SECONDS = 10.0
_MOST_VERSIONS = 8
_GONE = (
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED
)  # fmt: skip
# What a replica can be; the last three are its breaker's.
AWAY, DRAINING = "away", "draining"
STATES = (AWAY, DRAINING, *(state.value for state in State))


class Replica:
    """One server; reconnects by itself."""

    def __init__(
        self, model: str, target: str, settings: Settings, changed: Callable[["Replica"], None]
    ) -> None:
        """`target` is what gRPC dials; `changed` is told whenever it became usable or not."""
        self.model = model
        self.target = target
        # Version -> contract; `contract` is the one that answers where none is named.
        self.contracts: dict[str, Contract] = {}
        self.contract: Contract | None = None
        self.pace = Pace(time.perf_counter)
        self.breaker = Breaker(settings.rules, time.perf_counter, self._broke)
        self.rows = 0
        self.draining = False
        # Whether its breaker has been closed since it last opened.
        self._well = True
        self._seldom = Seldom()
        # Described since it was last connected.
        self.here = False
        self._busy_until = 0.0
        self._settings = settings
        self._changed = changed
        self._doubt = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect and describe in the background."""
        self._channel = open_channel(self.target, self._settings)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._line = Line(self._channel, open_calls=self._settings.open_calls)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._tasks.append(asyncio.create_task(self._keep(), name=f"keep-{self.target}"))

    async def stop(self) -> None:
        """Cancel calls under way and close."""
        await self._close(None)

    async def retire(self) -> None:
        """Let calls under way finish, then close."""
        await self._close(_RETIRE_SECONDS)

    async def _close(self, grace: float | None) -> None:
        self.here = False
        await end(*self._tasks)
        await self._unwatch()
        self._line.close()
        await self._channel.close(grace)

    @property
    def state(self) -> str:
        """One of STATES."""
        if not self.here:
            return AWAY
        return DRAINING if self.draining else self.breaker.state.value

    @property
    def busy(self) -> bool:
        """Whether it asked for a pause (grpc-retry-pushback-ms) that is not over."""
        return time.perf_counter() < self._busy_until

    def pause(self, seconds: float) -> None:
        """Note that it asked for a pause."""
        self._busy_until = time.perf_counter() + seconds

    def takes(self, request: pb.ModelInferRequest, written_by: Contract | None) -> bool:
        """Say whether it serves the version a request names, and reads what is in it."""
        if request.model_version:
            contract = written_by = self.contracts.get(request.model_version)
        else:
            contract = self.contract
        if contract is None or request.model_name != self.model:
            return contract is not None
        return contract.fits(request, written_by)

    def look_again(self) -> None:
        """Have the model described anew."""
        self._doubt.set()

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Ask the model within `seconds`; raises grpc.aio.AioRpcError."""
        response = await self._line.infer(request, seconds)
        if request.model_name == self.model and self._is_news(request, response):
            self.look_again()
        return response

    def _is_news(self, request: pb.ModelInferRequest, response: pb.ModelInferResponse) -> bool:
        version = response.model_version
        if not version or self.contract is None:
            return False
        return version not in self.contracts or (
            not request.model_version and version != self.contract.version
        )

    async def describe(
        self, model: str, version: str = "", *, patient: bool = False
    ) -> tuple[Contract, tuple[str, ...]]:
        """Ask what a model takes and gives, and which versions there are, the default last.

        Raises grpc.aio.AioRpcError. `patient` waits for the server to be reachable, up
        to the time a call may take.
        """
        # Waiting for a connection is also what keeps the channel trying to make one.
        answer = await self._stub.ModelMetadata(
            pb.ModelMetadataRequest(name=model, version=version),
            timeout=_DESCRIBE_SECONDS,
            wait_for_ready=patient,
        )
        versions = tuple(answer.versions)
        contract = Contract(
            version=version or (versions[-1] if versions else ""),
            inputs=frozenset(t.name for t in answer.inputs),
            outputs=frozenset(t.name for t in answer.outputs),
            widths=widths_of((t.name, t.shape) for t in answer.inputs),
        )
        return contract, versions

    async def _keep(self) -> None:
        while True:
            self._doubt.clear()
            try:
                await self._learn()
            except grpc.aio.AioRpcError as error:
                self._not_described(error)
            except Exception as error:  # a keeper that dies would leave the replica out for good
                if self._seldom.news(error):
                    _log.exception("describing failed", extra=self._what)
            else:
                await self._until_in_doubt()
            # A server whose word is in doubt is asked at most at this pace.
            await asyncio.sleep(self._settings.reconnect_min)

    async def _learn(self) -> None:
        """Have the model described: default version, and the others served beside it."""
        contract, versions = await self.describe(self.model, patient=True)
        self._line.renew()
        contracts = {contract.version: contract}
        for version in versions[-_MOST_VERSIONS:-1]:
            with contextlib.suppress(grpc.aio.AioRpcError):
                contracts[version], _ = await self.describe(self.model, version)
        if contract != self.contract:
            _log.info("source described", extra=self._what | {"version": contract.version})
        self.contract, self.contracts = contract, contracts
        self.here = True
        self.breaker.try_again()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name=f"watch-{self.target}")
        self._changed(self)

    def _not_described(self, error: grpc.aio.AioRpcError) -> None:
        _log.debug("source not described", extra=self._what | {"code": error.code().name})
        # Silence is the breaker's to judge; these say that nobody or nothing is there.
        if self.here and error.code() in _GONE:
            self.here = False
            self._changed(self)

    async def _until_in_doubt(self) -> None:
        """Wait until the connection breaks, the breaker has rested, or news of a version."""
        told = asyncio.create_task(self._doubt.wait())
        try:
            while not told.done():
                state = self._channel.get_state()
                if state is not grpc.ChannelConnectivity.READY:
                    await self._lost()
                    return
                resting = self.breaker.state is State.OPEN
                broken = asyncio.create_task(self._channel.wait_for_state_change(state))
                try:
                    done, _ = await asyncio.wait(
                        {told, broken},
                        timeout=self.breaker.rest_left if resting else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    await end(broken)
                if not done:
                    return
        finally:
            told.cancel()

    async def _lost(self) -> None:
        self.here = False
        await self._unwatch()
        self.draining = False
        self._changed(self)

    async def _watch(self) -> None:
        """Follow what the server says of the model's health."""
        request = health_pb2.HealthCheckRequest(service=self.model)
        while True:
            try:
                async for word in self._health.Watch(request):
                    self._said(serving=word.status != health_pb2.HealthCheckResponse.NOT_SERVING)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return  # it has no health service; that it describes its model must do
            await asyncio.sleep(_WATCH_PAUSE)

    def _said(self, *, serving: bool) -> None:
        if self.draining == (not serving):
            return
        self.draining = not serving
        if serving:
            self._doubt.set()  # it may have come back as another version
        self._changed(self)

    async def _unwatch(self) -> None:
        if self._watching is not None:
            await end(self._watching)
            self._watching = None

    def _broke(self, state: State) -> None:
        # Where a trouble begins and where it ends; trials come every few seconds in between.
        level = logging.DEBUG
        if state is State.CLOSED or self._well:
            level = logging.INFO if state is State.CLOSED else logging.WARNING
        self._well = state is State.CLOSED
        _log.log(level, "breaker", extra=self._what | {"state": state.value})
        if state is State.OPEN:
            self._doubt.set()
        self._changed(self)

    @property
    def _what(self) -> dict[str, str]:
        return {"source": self.model, "replica": self.target}
