"""A replica that fails, is silent or is gone is left alone until it is well."""

import asyncio
import contextlib
from dataclasses import replace

import grpc
import numpy as np
import pytest

from gateway.replicas.breaker import Rules
from gateway.replicas.errors import BreakersOpen, NotReachable
from inference import inference_pb2 as pb
from services.runtime.tensors import TensorError, write_request
from tests.integration.gateway.group import (
    ALONE,
    PATIENCE,
    QUICK,
    count,
    question,
    replicas,
    state,
    until,
    until_answered,
)


async def test_a_breaker_opens_is_counted_and_closes_again() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        before = {s: count("plait_breaker_changes_total", state=s) for s in ("open", "closed")}
        server.status = grpc.StatusCode.INTERNAL
        answers = await group.asks(20)
        assert answers["INTERNAL"] < 20
        assert answers["OPEN"]
        server.status = None
        await until_answered(group)
        await until(lambda: state("closed") == 1)
        for name, was in before.items():
            assert count("plait_breaker_changes_total", state=name) > was


async def test_a_batch_of_new_items_is_not_the_call_by_which_a_server_is_tried() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        server.status = grpc.StatusCode.INTERNAL
        await group.asks(3)
        server.status, server.delay = None, 0.2
        await until(lambda: state("half_open") == 1)
        items = write_request("cf-items", {"text": np.array([[b"soap"]], np.object_)})
        placing = asyncio.create_task(group.connection.infer(items, PATIENCE))
        await asyncio.sleep(0.05)
        assert await group.ask() == "1"
        await placing
        await until(lambda: state("closed") == 1)


async def test_batches_of_new_items_say_nothing_of_answers_to_shoppers() -> None:
    items = write_request("cf-items", {"text": np.array([[b"soap"]], np.object_)})
    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        (server,) = group.servers
        for _ in range(5):
            server.status = grpc.StatusCode.INTERNAL
            with pytest.raises(grpc.aio.AioRpcError):
                await group.connection.infer(items, PATIENCE)
            server.status = None
        assert await group.ask() == "1", "an item that an encoder cannot take opens no breaker"
        for _ in range(3):
            await group.connection.infer(items, PATIENCE)
            server.status = grpc.StatusCode.INTERNAL
            assert await group.asks(1) == {"INTERNAL": 1}
            server.status = None
        assert await group.asks(1) == {"OPEN": 1}, "and one that it takes closes none"


async def test_a_source_whose_replicas_all_rest_is_not_called() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        for server in group.servers:
            server.status = grpc.StatusCode.INTERNAL
        await group.asks(20)
        assert group.asked() == [3, 3]
        with pytest.raises(BreakersOpen):
            await group.ask()
        assert state("open") == 2


async def test_calls_go_to_the_replica_that_is_well() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        group.servers[0].status = grpc.StatusCode.INTERNAL
        answers = await group.asks(50)
        assert answers == {"1": 47, "INTERNAL": 3}


async def test_bad_requests_never_open_a_breaker() -> None:
    async with replicas(1) as group:
        group.servers[0].status = grpc.StatusCode.INVALID_ARGUMENT
        assert await group.asks(50) == {"INVALID_ARGUMENT": 50}
        group.servers[0].status = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await group.asks(50) == {"RESOURCE_EXHAUSTED": 50}


async def test_callers_in_a_hurry_never_open_a_breaker() -> None:
    async with replicas(1) as group:
        group.servers[0].delay = 0.05
        assert await group.asks(20) == {"1": 20}
        answers = await group.asks(20, seconds=0.01)
        assert answers["DEADLINE_EXCEEDED"]
        assert not answers["OPEN"]


async def test_an_answer_that_cannot_be_read_counts_as_a_failure() -> None:
    def read(_: pb.ModelInferResponse) -> str:
        raise TensorError("scores: missing")

    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        for _ in range(3):
            with pytest.raises(TensorError):
                await group.connection.ask(question(), PATIENCE, read, counted=False)
        for _ in range(3):
            with pytest.raises(TensorError):
                await group.connection.ask(question(), PATIENCE, read)
        with pytest.raises(BreakersOpen):
            await group.ask()


async def test_a_silent_server_is_left_alone_and_used_again_when_it_speaks() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        server.silent = True
        late = await group.asks(3, seconds=0.06)
        assert late == {"DEADLINE_EXCEEDED": 3}
        asked = len(server.asked)
        assert await group.asks(50) == {"OPEN": 50}
        await asyncio.sleep(5 * QUICK.rules.rest)
        assert await group.asks(50) == {"OPEN": 50}, "silence is no sign of life"
        assert len(server.asked) == asked
        server.silent = False
        await until_answered(group)


async def test_calls_that_their_callers_gave_up_at_the_deadline_count_too() -> None:
    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        group.servers[0].silent = True
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.099):
                    await group.ask(seconds=0.1)
        with pytest.raises(BreakersOpen):
            await group.ask()


async def test_a_killed_server_is_not_reachable_until_it_is_back() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        await server.stop()
        await until(lambda: state("away") == 1)
        with pytest.raises(NotReachable):
            await group.ask()
        server.health = type(server.health)()
        await server.start(server.port)
        await until(lambda: state("closed") == 1)
        assert await group.ask() == "1"
