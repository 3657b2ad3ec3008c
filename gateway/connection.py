"""A connection to one model server, and what it says its models want.

Each model describes itself (ModelMetadata) once per connection, and again when
an answer comes from another version; the gateway sends what is asked for there.
A server that is away is knocked at in the background, so that it is used again by
itself soon after it is back.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

import grpc

from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceStub

_log = logging.getLogger(__name__)
_DESCRIBE_SECONDS = 2.0
_MAX_MESSAGE = 64 << 20


@dataclass(frozen=True, slots=True)
class Contract:
    """What one version of a model takes and gives, by tensor name."""

    version: str
    inputs: frozenset[str]
    outputs: frozenset[str]


class Connection:
    """A channel to one model server; reconnects by itself."""

    def __init__(
        self, name: str, address: str, *, reconnect_min_ms: int, reconnect_max_ms: int
    ) -> None:
        """`name` is the source's and its model's."""
        self.name = name
        self.contract: Contract | None = None
        self._address = address
        self._pause = reconnect_min_ms / 1000
        self._options = _options(reconnect_min_ms, reconnect_max_ms)
        self._changed = asyncio.Event()
        self._described = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect and describe in the background."""
        self._channel = grpc.aio.insecure_channel(self._address, options=self._options)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._task = asyncio.create_task(self._keep_described(), name=f"describe-{self.name}")

    async def stop(self) -> None:
        """Cancel calls under way and close."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        await self._channel.close()

    async def contacted(self) -> None:
        """Wait until the server has described its model once."""
        await self._described.wait()

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Call ModelInfer within `seconds`; raises grpc.aio.AioRpcError.

        An answer from another version than described has the model described anew.
        """
        response: pb.ModelInferResponse = await self._stub.ModelInfer(request, timeout=seconds)
        version = response.model_version
        news = self.contract is not None and version != self.contract.version
        if version and news and not request.model_version:
            self._changed.set()
        return response

    def look_again(self) -> None:
        """Have the model described anew: its server may serve other versions by now."""
        self._changed.set()

    async def _keep_described(self) -> None:
        while True:
            try:
                contract = await self.describe(self.name, patient=True)
            except grpc.aio.AioRpcError as error:
                reason = {"source": self.name, "code": error.code().name}
                _log.debug("source not described", extra=reason)
                await asyncio.sleep(self._pause)
                continue
            if contract != self.contract:
                what = {"source": self.name, "version": contract.version}
                _log.info("source described", extra=what)
            self.contract = contract
            self._described.set()
            await self._until_stale()
            # A server whose word is in doubt is asked at most at this pace.
            await asyncio.sleep(self._pause)

    async def describe(self, model: str, *, patient: bool = False) -> Contract:
        """Ask what a model of this server takes and gives; raises grpc.aio.AioRpcError.

        `patient` waits for the server to be reachable, up to the time a call may take.
        """
        # Waiting for a connection is also what keeps the channel trying to make one.
        answer = await self._stub.ModelMetadata(
            pb.ModelMetadataRequest(name=model), timeout=_DESCRIBE_SECONDS, wait_for_ready=patient
        )
        return Contract(
            version=answer.versions[-1] if answer.versions else "",
            inputs=frozenset(t.name for t in answer.inputs),
            outputs=frozenset(t.name for t in answer.outputs),
        )

    async def _until_stale(self) -> None:
        """Wait until the connection breaks or an answer names another version."""
        self._changed.clear()
        told = asyncio.create_task(self._changed.wait())
        try:
            while not told.done():
                state = self._channel.get_state()
                if state != grpc.ChannelConnectivity.READY:
                    return
                broken = asyncio.create_task(self._channel.wait_for_state_change(state))
                try:
                    await asyncio.wait({told, broken}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    broken.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await broken
        finally:
            told.cancel()


def _options(reconnect_min_ms: int, reconnect_max_ms: int) -> list[tuple[str, int | str]]:
    return [
        ("grpc.initial_reconnect_backoff_ms", reconnect_min_ms),
        ("grpc.max_reconnect_backoff_ms", max(reconnect_min_ms, reconnect_max_ms)),
        # How long one attempt may hang, for a host that is gone without a word.
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A retry hidden in the transport would spend the deadline without anyone knowing.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        # All replicas behind one name are used; a model server is never behind a web proxy.
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
    ]
