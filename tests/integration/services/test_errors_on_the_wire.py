"""Whatever a method raises, the caller gets a status and never a secret."""

import logging
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from inference import inference_pb2 as pb
from services.runtime import errors
from services.runtime.errors import InvalidArgument, PlaitError
from services.runtime.health import Health
from services.runtime.inference_service import SERVICE
from services.runtime.server import Server, ServerConfig
from tests.support.servers import eventually, stub_for

METHOD = "/inference.GRPCInferenceService/ServerLive"


class Application:
    """Serves one method, which raises what it is told to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def _raise(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        raise self._error

    def register(self, server: grpc.aio.Server, health: Health) -> Sequence[str]:
        handler = grpc.unary_unary_rpc_method_handler(
            self._raise,
            request_deserializer=pb.ServerLiveRequest.FromString,
            response_serializer=pb.ServerLiveResponse.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"ServerLive": handler})
        server.add_generic_rpc_handlers((handlers,))
        return [SERVICE]

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


async def _call(error: Exception) -> grpc.aio.AioRpcError:
    server = Server(ServerConfig(drain_seconds=0.0), Application(error))
    await server.start()
    try:
        async with stub_for(server.port) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.ServerLive(pb.ServerLiveRequest())
            return raised.value
    finally:
        await server.stop()


def _make(cls: type[PlaitError]) -> PlaitError:
    return InvalidArgument("k", "wrong") if cls is InvalidArgument else cls("k: wrong")


@pytest.mark.parametrize("cls", PlaitError.__subclasses__())
async def test_every_error_arrives_with_its_status_and_message(cls: type[PlaitError]) -> None:
    error = await _call(_make(cls))
    assert error.code() is cls.status
    assert error.details() == "k: wrong"


async def test_a_refusal_carries_its_pushback() -> None:
    error = await _call(errors.ResourceExhausted("full", retry_after_ms=70))
    assert ("grpc-retry-pushback-ms", "70") in tuple(error.trailing_metadata())


def _count(outcome: str) -> float:
    labels = {"method": METHOD, "outcome": outcome}
    return REGISTRY.get_sample_value("plait_request_seconds_count", labels) or 0.0


async def test_an_unexpected_error_tells_an_id_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = _count("INTERNAL")
    with caplog.at_level(logging.ERROR):
        error = await _call(RuntimeError("password=hunter2"))
    assert error.code() is grpc.StatusCode.INTERNAL
    details = error.details() or ""
    assert "hunter2" not in details
    (record,) = [r for r in caplog.records if r.message == "unexpected error"]
    error_id = vars(record)["error_id"]
    assert details == f"internal error, logged as {error_id}"
    assert vars(record)["method"] == METHOD
    # The call is counted after its caller has the reply.
    await eventually(lambda: _count("INTERNAL") == before + 1, "counting the call")


async def test_an_unknown_method_is_unimplemented() -> None:
    server = Server(ServerConfig(drain_seconds=0.0), Application(RuntimeError()))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call: Any = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(b"")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop()
