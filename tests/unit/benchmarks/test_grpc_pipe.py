"""The small gRPC client against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from benchmarks.transport import open_pipe


async def echo(request: bytes, context: Any) -> bytes:
    if request == b"fail":
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    if request == b"slow":
        await asyncio.sleep(30)
    return request


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a", {"b": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_many_calls_share_a_connection_and_each_gets_its_own_answer(address: str) -> None:
    async with open_pipe("grpc", address, "/a/b") as pipe:
        for _ in range(5):
            bodies = [f"call {n}".encode() * n for n in range(200)]
            answers = await asyncio.gather(*(pipe.ask(body, 10.0) for body in bodies))
            assert answers == [(body, "") for body in bodies]


async def test_more_than_the_servers_window_waits_for_its_turn(address: str) -> None:
    bodies = [bytes([n]) * 15_000 for n in range(100)]
    async with open_pipe("grpc", address, "/a/b") as pipe:
        answers = await asyncio.gather(*(pipe.ask(body, 10.0) for body in bodies))
    assert answers == [(body, "") for body in bodies]


async def test_a_refusal_is_named_by_its_status(address: str) -> None:
    async with open_pipe("grpc", address, "/a/b") as pipe:
        assert await pipe.ask(b"fail", 10.0) == (b"", "status 8")
        assert await pipe.ask(b"fine", 10.0) == (b"fine", "")
    async with open_pipe("grpc", address, "/a/unknown") as pipe:
        assert await pipe.ask(b"x", 10.0) == (b"", "status 12")


async def test_a_call_that_takes_too_long_is_given_up(address: str) -> None:
    async with open_pipe("grpc", address, "/a/b") as pipe:
        _, failure = await pipe.ask(b"slow", 0.2)
    assert failure in {"timeout", "status 4", "stream reset"}


async def test_calls_under_way_fail_when_the_server_goes_and_later_ones_at_once() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_pipe("grpc", f"127.0.0.1:{port}", "/a/b") as pipe:
        assert (await pipe.ask(b"x", 10.0))[1]
        assert (await pipe.ask(b"y", 10.0))[1]
    server.close()
    await server.wait_closed()
