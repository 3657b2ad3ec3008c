"""Unary gRPC calls for a fraction of what grpc.aio spends on them: a load client and nothing else.

On a small machine the client takes its CPU from the system it measures; grpc.aio
takes half a millisecond a call, as much as a fast system itself. This speaks just
enough HTTP/2 (RFC 9113) for one method with small messages: the headers of a call
are the same bytes every time, replies are taken as they come, of the trailers only
grpc-status is looked at. The peer is told to keep no header table (RFC 7541), so
that a header always arrives as the same bytes.
"""

import asyncio
import struct
from collections import deque
from typing import cast

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_HEAD = struct.Struct(">BHBBI")  # length in two parts, type, flags, stream
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_FINE = b"grpc-status\x010"
Answer = tuple[bytes, str]


class Http2(asyncio.Protocol):
    """One connection; calls share it."""

    def __init__(self, address: str, path: str, seconds: float) -> None:
        """`seconds`: what a call may take, told to the server and kept here."""
        self._block = _headers(address, path, seconds)
        self._seconds = seconds
        self._received = bytearray()
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._window = _FIRST_WINDOW
        self._stream = -1
        self._lost = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # No header table; as much as a stream and the connection can ever bring.
        settings = struct.pack(">HIHI", 1, 0, 4, _LARGEST_WINDOW)
        more = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        start = _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, more)
        self._transport.write(_PREFACE + start)
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(1.0, self._sweep)

    async def ask(self, body: bytes) -> Answer:
        """Return (reply, ""), or (b"", what went wrong)."""
        if self._lost:
            return b"", self._lost
        self._stream += 2
        call = self._calls[self._stream] = _Call(self._loop)
        head = _frame(_HEADERS, _END_HEADERS, self._stream, self._block)
        message = b"\0" + struct.pack(">I", len(body)) + body
        if self._waiting or len(message) > self._window:
            self._transport.write(head)
            self._waiting.append((self._stream, message))
        else:
            self._window -= len(message)
            self._transport.write(head + _frame(_DATA, _END_STREAM, self._stream, message))
        return await call.answer

    def close(self) -> None:
        """End the connection."""
        self._lost = self._lost or "closed"
        self._sweeper.cancel()
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        while len(received) - at >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(received, at)
            end = at + 9 + (high << 16 | low)
            if end > len(received):
                break
            self._take(kind, flags, stream, bytes(received[at + 9 : end]))
            at = end
        del received[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (_DATA, _HEADERS):
            self._take_reply(kind, flags, stream, payload)
        elif kind == _WINDOW and stream == 0:
            self._window += struct.unpack(">I", payload)[0]
            self._send_waiting()
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _RESET:
            self._finish(stream, (b"", "stream reset"))
        elif kind == _GOAWAY:
            self._lose("the server goes away")

    def _take_reply(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        if kind == _DATA:
            call.body += payload
        if flags & _END_STREAM:
            fine = kind == _HEADERS and _FINE in payload
            self._finish(stream, (bytes(call.body[5:]), "") if fine else (b"", _status(payload)))

    def _send_waiting(self) -> None:
        while self._waiting and len(self._waiting[0][1]) <= self._window:
            stream, message = self._waiting.popleft()
            self._window -= len(message)
            self._transport.write(_frame(_DATA, _END_STREAM, stream, message))

    def _finish(self, stream: int, answer: Answer) -> None:
        call = self._calls.pop(stream, None)
        if call is not None and not call.answer.done():
            call.answer.set_result(answer)

    def _sweep(self) -> None:
        """Give up on calls that have taken too long; once a second is often enough."""
        late = self._loop.time() - self._seconds
        for stream, call in list(self._calls.items()):
            if call.began < late:
                self._finish(stream, (b"", "timeout"))
        self._sweeper = self._loop.call_later(1.0, self._sweep)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sweeper.cancel()
        self._lose(type(exc).__name__ if exc else "closed by the server")

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        for stream in list(self._calls):
            self._finish(stream, (b"", why))


class _Call:
    __slots__ = ("answer", "began", "body")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self.began = loop.time()
        self.body = bytearray()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _headers(address: str, path: str, seconds: float) -> bytes:
    """Return the header block of every call: literals that nobody needs to remember."""
    named = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": address,
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-timeout": f"{int(1000 * seconds)}m",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in named.items())


def _text(value: str) -> bytes:
    if len(value) > 126:
        raise ValueError(f"{value}: longer than one byte can say")
    return bytes([len(value)]) + value.encode()


def _status(trailers: bytes) -> str:
    """Return the status that trailers name; they are literals, see above."""
    _, found, rest = trailers.partition(b"grpc-status")
    return f"status {rest[1 : 1 + rest[0]].decode('ascii', 'replace')}" if found else "no status"
