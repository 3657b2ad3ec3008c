"""From bind to drain, in this process, with an engine that waits for the test."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from prometheus_client import REGISTRY

from artifacts.engine import Answer, Question
from inference import inference_pb2 as pb
from services.cf.server import SOURCE as CF
from services.cf.server import open_models
from services.runtime.engine_model import EngineModel
from services.runtime.errors import StartError
from services.runtime.health import Health
from services.runtime.process import serve
from services.runtime.server import Server
from services.runtime.service import ModelService, ServiceConfig
from services.runtime.source import Source
from tests.integration.services.conftest import TINY
from tests.support.servers import (
    NEVER_BEGAN,
    PATIENCE,
    Stub,
    channel_to,
    eventually,
    infer,
    serving,
    stub_for,
)

QUESTION = {"history": TINY.keys[None, :2], "k": np.array([[5]])}
Call = asyncio.Task[Mapping[str, np.ndarray]]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Gated:
    """The cf service whose loading and computing wait for gates."""

    def __init__(self) -> None:
        self.load = threading.Event()
        self.compute = threading.Event()
        self.computing = threading.Event()
        self.source = Source("cf", ("cf",), self._open)

    def _open(self, directory: Path) -> Mapping[str, EngineModel]:
        assert self.load.wait(PATIENCE)
        (model,) = open_models(directory).values()
        whole, run = self, model.engine.run

        class Waiting:
            manifest = model.engine.manifest

            def run(self, question: Question) -> Answer:
                whole.computing.set()
                assert whole.compute.wait(PATIENCE)
                return run(question)

        gated = EngineModel("cf", Waiting())
        gated.warm_up = lambda rows: None  # type: ignore[method-assign]
        return {"cf": gated}


@asynccontextmanager
async def _starting(gated: Gated, repository: Path) -> AsyncIterator[tuple[Server, Any]]:
    """A server in the middle of its start, and the task that starts it."""
    config = ServiceConfig(repository=repository, drain_seconds=0.0)
    server = Server(config, ModelService(gated.source, config))
    task = asyncio.create_task(server.start())
    try:
        await eventually(lambda: server.metrics_port or task.done(), "binding")
        yield server, task
    finally:
        gated.load.set()
        gated.compute.set()
        await task
        await server.stop()


@asynccontextmanager
async def _computing(repository: Path) -> AsyncIterator[tuple[Gated, Server, Stub, Call]]:
    """A server at its first inference, which waits for its gate, and the call that asked."""
    gated = Gated()
    gated.load.set()
    async with _starting(gated, repository) as (server, task), stub_for(server.port) as stub:
        await task
        call = asyncio.create_task(infer(stub, "cf", QUESTION))
        await eventually(gated.computing.is_set, "the first inference")
        yield gated, server, stub, call


async def _health(port: int, name: str = "") -> int:
    async with channel_to(port) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest(service=name))).status)


async def test_a_loading_service_is_live_and_not_ready(shared: Path) -> None:
    gated = Gated()
    async with _starting(gated, shared) as (server, task), stub_for(server.port) as stub:
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert await _health(server.port) == NOT_SERVING
        assert await _health(server.port, "cf") == NOT_SERVING
        assert await _health(server.port, "live") == SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="no version is loaded"):
            await infer(stub, "cf", QUESTION)
        gated.load.set()
        gated.compute.set()
        await task
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert await _health(server.port) == SERVING


async def test_metrics_say_whether_the_process_serves(shared: Path) -> None:
    gated = Gated()
    async with _starting(gated, shared) as (server, task):
        assert REGISTRY.get_sample_value("plait_serving") == 0
        # Of a model within another process, as an embedded gateway's: no word of the whole.
        await Health().set("", ready=True)
        assert REGISTRY.get_sample_value("plait_serving") == 0
        gated.load.set()
        await task
        assert REGISTRY.get_sample_value("plait_serving") == 1
        await server.health.drain()
        assert REGISTRY.get_sample_value("plait_serving") == 0


async def test_a_call_whose_time_ran_out_is_counted_as_its_caller_hears_of_it(
    shared: Path,
) -> None:
    gated = Gated()
    gated.load.set()
    late, gone = _count("DEADLINE_EXCEEDED"), _count("CANCELLED")
    async with _starting(gated, shared) as (server, task), stub_for(server.port) as stub:
        await task
        hasty = asyncio.create_task(infer(stub, "cf", QUESTION, timeout=0.5))
        await eventually(gated.computing.is_set, "the inference")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await hasty
        assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: _count("DEADLINE_EXCEEDED") > late, "the count")
        assert _count("CANCELLED") == gone
        leaving = asyncio.create_task(infer(stub, "cf", QUESTION, timeout=60.0))
        await asyncio.sleep(0.2)
        leaving.cancel()
        await eventually(lambda: _count("CANCELLED") > gone, "the other count")
        assert _count("DEADLINE_EXCEEDED") == late + 1


async def test_a_stopping_service_finishes_its_calls_and_takes_no_more(shared: Path) -> None:
    async with _computing(shared) as (gated, server, stub, first):
        calls = [first, *(asyncio.create_task(infer(stub, "cf", QUESTION)) for _ in range(2))]
        # On the same connection, so that all three are with the server.
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        stopping = asyncio.create_task(server.stop())
        await eventually(lambda: not server.health.ready(), "draining")
        async with stub_for(server.port) as late:
            await eventually(lambda: _refuses(server.port), "refusing connections")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await infer(late, "cf", QUESTION)
            assert refused.value.code() in NEVER_BEGAN
        gated.compute.set()
        for answer in await asyncio.gather(*calls):
            assert answer["item_keys"].shape == (1, 5)
        await stopping


async def test_a_service_whose_model_was_unloaded_finishes_its_calls_too(shared: Path) -> None:
    async with _computing(shared) as (gated, server, stub, call):
        await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
        stopping = asyncio.create_task(server.stop())
        await eventually(lambda: _refuses(server.port), "refusing connections")
        gated.compute.set()
        assert (await call)["item_keys"].shape == (1, 5)
        await stopping


def _count(outcome: str) -> float:
    labels = {"method": "/inference.GRPCInferenceService/ModelInfer", "outcome": outcome}
    return REGISTRY.get_sample_value("plait_request_seconds_count", labels) or 0.0


async def test_no_call_that_began_is_cut_by_a_stop(shared: Path) -> None:
    answered, begun, cut = 0, _count("OK"), _count("CANCELLED")
    async with serving(CF, shared) as server, stub_for(server.port) as stub:

        async def ask_until_refused() -> None:
            nonlocal answered
            while True:
                try:
                    await infer(stub, "cf", QUESTION)
                except grpc.aio.AioRpcError as error:
                    assert error.code() in NEVER_BEGAN
                    return
                answered += 1

        callers = [asyncio.create_task(ask_until_refused()) for _ in range(8)]
        await eventually(lambda: answered >= 20, "some answers")
        await server.stop()
        await asyncio.gather(*callers)
    assert (_count("OK") - begun, _count("CANCELLED") - cut) == (answered, 0)


def _refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_sigterm_while_loading_stops_the_start(shared: Path) -> None:
    gated = Gated()
    config = ServiceConfig(repository=shared)
    server = Server(config, ModelService(gated.source, config))
    running = asyncio.create_task(serve(server))
    await eventually(lambda: server.metrics_port, "binding")
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    gated.load.set()
    assert _refuses(server.port)
    assert not server.health.ready()


async def test_a_call_whose_deadline_passes_while_it_waits_is_not_computed(shared: Path) -> None:
    async with _computing(shared) as (gated, _, stub, first):
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await infer(stub, "cf", QUESTION, timeout=0.05)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        gated.computing.clear()
        gated.compute.set()
        await first
        assert not gated.computing.is_set()


async def test_a_service_over_its_queue_says_so_and_when_to_come_back(shared: Path) -> None:
    gated = Gated()
    gated.load.set()
    gated.compute.set()
    busy = serving(gated.source, shared, max_queue=1)
    async with busy as server, stub_for(server.port) as stub:
        gated.compute.clear()
        first = asyncio.create_task(infer(stub, "cf", QUESTION))
        await eventually(gated.computing.is_set, "the first inference")
        more = [asyncio.create_task(infer(stub, "cf", QUESTION)) for _ in range(3)]
        done, _ = await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED)
        error = done.pop().exception()
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(error.trailing_metadata()["grpc-retry-pushback-ms"]) > 0
        gated.compute.set()
        await asyncio.gather(first, *more, return_exceptions=True)


async def test_each_model_has_a_health_of_its_own(shared: Path) -> None:
    async with serving(CF, shared) as server:
        assert await _health(server.port, "cf") == SERVING
        async with stub_for(server.port) as stub:
            await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
        assert await _health(server.port, "cf") == NOT_SERVING
        assert await _health(server.port, "live") == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await _health(server.port, "sequence")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        # Also what a method aborts by itself is counted under its status, after the reply.
        labels = {"method": "/grpc.health.v1.Health/Check", "outcome": "NOT_FOUND"}
        await eventually(
            lambda: REGISTRY.get_sample_value("plait_request_seconds_count", labels),
            "counting the unknown model",
        )


async def test_a_watcher_of_health_hears_of_the_drain(shared: Path) -> None:
    seen: list[int] = []
    async with serving(CF, shared) as server, channel_to(server.port) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def watch() -> None:
            async for update in stub.Watch(health_pb2.HealthCheckRequest(service="cf")):
                seen.append(update.status)  # noqa: PERF401 -- one by one, while it runs

        watching = asyncio.create_task(watch())
        await eventually(lambda: seen == [SERVING], "the first report")
        await server.health.drain()
        await eventually(lambda: seen == [SERVING, NOT_SERVING], "the second report")
        assert await _health(server.port, "live") == SERVING
        watching.cancel()


async def test_reflection_lists_the_services_and_describes_their_methods(shared: Path) -> None:
    def look(port: int) -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = set(database.get_services())
            found = database.FindFileContainingSymbol("inference.GRPCInferenceService")
            return services, [m.name for m in found.service[0].method]

    async with serving(CF, shared) as server:
        services, methods = await asyncio.to_thread(look, server.port)
    assert services == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert "ModelInfer" in methods


async def test_a_tool_that_looks_around_holds_up_no_stop(shared: Path) -> None:
    async with (
        serving(CF, shared, grace_seconds=PATIENCE) as server,
        channel_to(server.port) as channel,
    ):
        call: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await call.read()).HasField("list_services_response")
        await asyncio.wait_for(server.stop(), PATIENCE / 2)
        assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
async def test_a_taken_port_is_named(shared: Path, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port}: .* set another {setting}"):
            async with serving(CF, shared, **{setting: port}):
                raise AssertionError("it started on a taken port")


async def test_every_watcher_hears_of_a_drain_and_none_holds_it_up(shared: Path) -> None:
    async with (
        serving(CF, shared, grace_seconds=PATIENCE) as server,
        channel_to(server.port) as channel,
        channel_to(server.port) as other,
    ):
        calls = [_watch(channel), _watch(other), _watch(other)]
        for call in calls:
            assert (await call.read()).status == SERVING
        calls.pop().cancel()
        stopping = asyncio.create_task(server.stop())
        for call in calls:
            assert (await call.read()).status == NOT_SERVING
            assert await call.read() is grpc.aio.EOF
        await stopping


async def test_a_watcher_of_a_name_there_is_not_hears_so_and_then_of_its_coming(
    shared: Path,
) -> None:
    async with serving(CF, shared) as server, channel_to(server.port) as channel:
        call = _watch(channel, "later")
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        await server.health.set("later", ready=True)
        assert (await call.read()).status == SERVING
        call.cancel()


def _watch(channel: grpc.aio.Channel, name: str = "cf") -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Watch(health_pb2.HealthCheckRequest(service=name))


async def test_a_caller_that_probes_a_silent_connection_keeps_it(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Server._options

    def without_own_probes(server: Server) -> list[tuple[str, int]]:
        return [o for o in usual(server) if o[0] != "grpc.keepalive_time_ms"]

    # A caller that hears the server's probes sends none of its own.
    monkeypatch.setattr(Server, "_options", without_own_probes)
    often = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with (
        serving(CF, shared, keepalive_seconds=0.05) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", often) as channel,
    ):
        call = _watch(channel)
        assert (await call.read()).status == SERVING
        with pytest.raises(TimeoutError):  # it lives; the third bad probe would have ended it
            await asyncio.wait_for(call.read(), 5.0)
