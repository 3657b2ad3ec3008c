"""The load client, against real servers on loopback."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from benchmarks.job.wire import CODECS
from benchmarks.load import Load, Seen, Task, wrong
from benchmarks.transport import open_pipe

KEYS, SCORES = np.arange(1, 21), np.linspace(1, 0.1, 20, dtype=np.float32)
BODY = KEYS.tobytes() + SCORES.tobytes()


class Answering:
    """A pipe that takes a while; notes when it was asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.most = self.under_way = 0

    async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self._seconds)
        self.under_way -= 1
        return BODY, ""


def task(**how: Any) -> Task:
    return Task("http", "", "/", "raw", seconds=0.3, warm_up=0.05, **how)


async def test_a_closed_loop_has_as_many_requests_under_way_as_callers() -> None:
    pipe = Answering(0.01)
    seen = await Load(task(callers=3), pipe, [b""] * 4).run()
    assert pipe.most == 3
    assert len(seen.replies) == len(seen.shots) > 0


async def test_an_open_loop_charges_a_stall_to_every_request_it_delayed() -> None:
    class Stalling(Answering):
        async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
            # Blocks everything, as a client that waits for its turn would.
            time.sleep(0.02)  # noqa: ASYNC251
            return BODY, ""

    seen = await Load(task(rate=200.0), Stalling(0), [b""]).run()
    # Four times what can be served: the last wait for nearly all before them.
    assert max(shot.took for shot in seen.shots) > 0.1


async def test_a_failure_is_counted_by_name_and_has_no_reply() -> None:
    class Refusing(Answering):
        async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
            await super().ask(body, seconds)
            return b"", "status 8"

    seen = await Load(task(callers=2), Refusing(0.01), [b""]).run()
    assert {shot.outcome for shot in seen.shots} == {"status 8"}
    assert seen.replies == []


def test_replies_are_checked_after_the_clock_has_stopped() -> None:
    seen = Seen(1.0, 0.0, [], [(0, BODY), (1, BODY), (0, b"no")])
    expected = [(KEYS, SCORES), (KEYS + 1, SCORES)]
    found = wrong(seen, CODECS["raw"], expected)
    assert sum(found.values()) == 2
    assert not wrong(Seen(1.0, 0.0, [], [(0, BODY)]), CODECS["raw"], None)


async def serve(*replies: bytes) -> asyncio.Server:
    """Answer the requests of a connection with these replies, in two pieces each."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
            writer.write(reply[:20])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(reply[20:])
        await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


def reply(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def test_http_connections_are_used_again_and_failures_are_named() -> None:
    server = await serve(reply("200 OK", b"first"), reply("503 Busy", b"no"))
    port = server.sockets[0].getsockname()[1]
    async with open_pipe("http", f"127.0.0.1:{port}", "/job") as pipe:
        assert await pipe.ask(b"x", 2.0) == (b"first", "")
        assert await pipe.ask(b"y", 2.0) == (b"", "HTTP 503")
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_nobody_at_home_is_a_failure_not_an_exception(kind: str) -> None:
    async with open_pipe(kind, "127.0.0.1:1", "/a/b") as pipe:
        reply, failure = await pipe.ask(b"x", 2.0)
    assert (reply, bool(failure)) == (b"", True)
