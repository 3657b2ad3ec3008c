"""What is no gRPC at all, on every port: noise, other protocols, broken HTTP/2, silence.

Nothing is expected back; the servers must not mind.
"""

import random
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_AT_ONCE = 32
_SECONDS = 0.1


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 10, 100, 5_000)))


def _http(chance: random.Random) -> bytes:
    method = chance.choice((b"GET", b"POST", b"BREW", b"", b"A" * 70_000))
    path = chance.choice((b"/metrics", b"/metrics?name[]=%00", b"/" + b"x" * 70_000, b"\xff\xfe"))
    version = chance.choice((b"HTTP/1.1", b"HTTP/9.9", b"HTTP/1", b"", b"HTTP/1.1.1.1"))
    headers = chance.choice((b"", b"Accept: \x00\xff\r\n", b"Content-Length: -1\r\n",
                             b"no colon here\r\n", b"A: b\r\n" * 500))  # fmt: skip
    end = chance.choice((b"\r\n", b"", b"\n\n"))
    return method + b" " + path + b" " + version + b"\r\n" + headers + end


def _tls(chance: random.Random) -> bytes:
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500)


def _frames(chance: random.Random) -> bytes:
    """A proper beginning, then frames of any type, length and flags."""
    frames = b""
    for _ in range(chance.randrange(1, 6)):
        body = chance.randbytes(chance.choice((0, 4, 8, 40)))
        said = len(body) if chance.random() < 0.7 else chance.randrange(1 << 24)
        stream = chance.choice((0, 1, 3, 2, 2**31 - 1))
        header = struct.pack(">I", said)[1:] + bytes([chance.randrange(12), chance.randrange(256)])
        frames += header + struct.pack(">I", stream) + body
    return _PREFACE + _SETTINGS + frames


def _half_a_preface(chance: random.Random) -> bytes:
    return _PREFACE[: chance.randrange(1, len(_PREFACE))]


def _silence(chance: random.Random) -> bytes:
    del chance
    return b""


_KINDS: Sequence[Callable[[random.Random], bytes]] = (
    _noise, _http, _tls, _frames, _frames, _half_a_preface, _silence,
)  # fmt: skip


def shower(ports: Sequence[int], number: int, seed: int) -> int:
    """Open so many connections to ports in turn, say something wrong; return how many took it."""
    chance = random.Random(seed)  # noqa: S311 -- not for secrets
    jobs = [
        (ports[n % len(ports)], chance.choice(_KINDS)(chance), chance.random() < 0.5)
        for n in range(number)
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(lambda job: _say(*job), jobs))


def _say(port: int, data: bytes, reset: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            if reset:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.settimeout(_SECONDS)
            connection.sendall(data)
            connection.recv(1024)
    except TimeoutError:
        return True
    except OSError:  # cut off by the server, as it may
        return True
    return True


@contextmanager
def idlers(ports: Sequence[int], each: int) -> Iterator[None]:
    """Hold connections open that begin a request and never end it."""
    with ExitStack() as held:
        for port in ports:
            for _ in range(each):
                made = socket.create_connection(("127.0.0.1", port), timeout=5.0)
                held.enter_context(made).sendall(b"GET /met")
        yield
