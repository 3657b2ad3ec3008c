"""Questions share calls that stay open, and lose nothing by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from gateway.replicas.line import Line
from inference import inference_pb2 as pb
from services.runtime.tensors import read_outputs, write_request
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import vectors

PATIENCE = 30.0


def question(key: int = 6) -> pb.ModelInferRequest:
    inputs: dict[str, Any] = {
        "history": np.full((1, 1), key, np.int64),
        "history_weight": np.ones((1, 1), np.float32),
        "k": np.array([5], np.int64),
    }
    return write_request("cf", inputs, ["item_keys", "scores"], "")


@asynccontextmanager
async def line_to(server: FakeSource, *, open_calls: bool = True) -> AsyncIterator[Line]:
    await server.start(server.port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        line = Line(channel, open_calls=open_calls)
        yield line
        line.close()
    await server.stop()


@pytest.fixture
def server() -> FakeSource:
    return FakeSource("cf", vectors())


async def asks(line: Line, key: int = 6, seconds: float = PATIENCE) -> int:
    """Return the best item of an answer."""
    outputs = read_outputs(await line.infer(question(key), seconds))
    return int(outputs["item_keys"][0, 0])


async def status(line: Line, seconds: float = PATIENCE) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await line.infer(question(), seconds)
    return refused.value.code()


async def test_one_question_after_the_other_over_one_call(server: FakeSource) -> None:
    async with line_to(server) as line, line_to_plain(server) as plain:
        for key in (6, 7, 8):
            assert await asks(line, key) == await asks(plain, key)
        assert server.over_open_calls == 3
        assert len(line._idle) == 1


@asynccontextmanager
async def line_to_plain(server: FakeSource) -> AsyncIterator[Line]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Line(channel, open_calls=False)


async def test_questions_at_the_same_time_have_calls_of_their_own(server: FakeSource) -> None:
    server.delay = 0.05
    async with line_to(server) as line:
        answers = await asyncio.gather(*(asks(line, key) for key in (6, 7, 8, 6)))
        assert answers[0] == answers[3]
        assert len(line._idle) == 4


@pytest.mark.parametrize("knows", [False, True])
async def test_a_server_or_a_setting_without_open_calls(server: FakeSource, knows: bool) -> None:
    server.knows_open_calls = knows
    async with line_to(server, open_calls=not knows) as line:
        for _ in range(3):
            assert await asks(line)
        assert server.over_open_calls == 0
        assert len(server.asked) == 3


async def test_a_failure_says_its_status_and_the_next_question_is_asked(
    server: FakeSource,
) -> None:
    async with line_to(server) as line:
        assert await asks(line)
        for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT):
            server.status = code
            assert await status(line) is code
        server.status = None
        assert await asks(line)
        assert server.over_open_calls == 4


async def test_a_late_question_ends_on_the_server_too(server: FakeSource) -> None:
    async with line_to(server) as line:
        assert await asks(line)
        server.silent = True
        assert await status(line, seconds=0.05) is grpc.StatusCode.DEADLINE_EXCEEDED
        await until_cancelled(server, 1)
        server.silent = False
        assert await asks(line)


async def test_a_question_that_is_given_up_ends_on_the_server_too(server: FakeSource) -> None:
    async with line_to(server) as line:
        assert await asks(line)
        server.silent = True
        asking = asyncio.create_task(asks(line))
        while len(server.asked) < 2:  # noqa: ASYNC110 -- the server counts
            await asyncio.sleep(0.005)
        asking.cancel()
        await until_cancelled(server, 1)


async def until_cancelled(server: FakeSource, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while server.cancelled < times:  # noqa: ASYNC110 -- the server counts
            await asyncio.sleep(0.005)


async def test_a_server_that_was_started_again_is_asked_over_a_new_call(
    server: FakeSource,
) -> None:
    async with line_to(server) as line:
        assert await asks(line)
        await server.stop()
        assert await status(line) is grpc.StatusCode.UNAVAILABLE
        await server.start(server.port)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    assert await asks(line)
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    await asyncio.sleep(0.02)


async def test_a_call_that_ended_meanwhile_costs_the_question_nothing(server: FakeSource) -> None:
    async with line_to(server) as line:
        for _ in range(20):
            assert await asks(line)
            await server.stop()
            await server.start(server.port)
            # The connection knows of it now, soon, or only when it is asked.
            await line._stub.ModelMetadata(pb.ModelMetadataRequest(name="cf"), wait_for_ready=True)
        assert len(server.asked) == 20


async def test_what_is_no_message_is_a_failure(server: FakeSource) -> None:
    async def nonsense(_requests: Any, _context: Any) -> AsyncIterator[bytes]:
        async for _ in _requests:
            yield b"\xff\xff"

    handler = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService",
        {"ModelStreamInfer": grpc.stream_stream_rpc_method_handler(nonsense)},
    )
    other = grpc.aio.server()
    other.add_generic_rpc_handlers((handler,))
    server.port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    async with line_to_open(server) as line:
        assert await status(line) is grpc.StatusCode.INTERNAL
    await other.stop(None)


@asynccontextmanager
async def line_to_open(server: FakeSource) -> AsyncIterator[Line]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Line(channel)
