"""Bytes there and bytes back, over gRPC or HTTP/1.1, as cheaply as Python can.

gRPC calls share one connection (benchmarks/grpc_pipe.py); HTTP/1.1 has a kept-alive
connection for each request under way, with the least a server needs to see. A
general client costs several times as much of either.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from benchmarks.grpc_pipe import Http2


class Pipe(Protocol):
    """Something to ask; never raises for what the other side does."""

    async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
        """Return (reply, ""), or (b"", what went wrong); waits `seconds` at most."""
        ...


@asynccontextmanager
async def open_pipe(
    kind: str, address: str, path: str, content_type: str = ""
) -> AsyncIterator[Pipe]:
    """Open a pipe to HOST:PORT and one method or URL path."""
    pipe = GrpcPipe(address, path) if kind == "grpc" else HttpPipe(address, path, content_type)
    try:
        yield pipe
    finally:
        pipe.close()


class GrpcPipe:
    """One connection, made with the first call; calls share it."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._path = path
        self._opening = asyncio.Lock()
        self._connection: Http2 | None = None

    async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
        """See Pipe; all calls have the time of the first."""
        try:
            connection = self._connection or await self._open(seconds)
        except OSError as error:
            return b"", type(error).__name__
        return await connection.ask(body)

    async def _open(self, seconds: float) -> Http2:
        async with self._opening:
            if self._connection is None:
                host, _, port = self._address.rpartition(":")
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_connection(
                    lambda: Http2(self._address, self._path, seconds), host, int(port)
                )
        return self._connection

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()


class HttpPipe:
    """Connections that are kept open and used again."""

    def __init__(self, address: str, path: str, content_type: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {address}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: "
        ).encode()
        self._idle: deque[_Connection] = deque()

    async def ask(self, body: bytes, seconds: float) -> tuple[bytes, str]:
        """See Pipe."""
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connection()
                whole = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
                status, reply = await connection.ask(whole)
        except TimeoutError:
            return b"", "timeout"
        except OSError as error:
            return b"", type(error).__name__
        self._idle.append(connection)
        return (reply, "") if status == b"200" else (b"", f"HTTP {status.decode()}")

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, self._host, self._port)
        return made

    def close(self) -> None:
        """Close what is open."""
        for connection in self._idle:
            connection.close()


class _Connection(asyncio.Protocol):
    """One request at a time; the reply must say its Content-Length."""

    def __init__(self) -> None:
        self.closed = False
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def ask(self, whole: bytes) -> tuple[bytes, bytes]:
        """Send a request; return (status, body)."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(whole)  # type: ignore[attr-defined]
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                self.close()  # a late reply must not be taken for the next one's

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head) or self._answer is None:
            return
        self._received.clear()
        if not self._answer.done():
            self._answer.set_result((head[9:12], body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the server"))

    def close(self) -> None:
        self.closed = True
        self._transport.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError("a reply without Content-Length")
