"""A TCP proxy that resets connections, as a crashing host or a broken balancer does.

`pass` lets everything through; `reset` cuts what is open and every new connection as
soon as it has said something; `flaky` lets each live for a moment only; `calls` lets
small talk through (metadata, health) and cuts a connection that carries a question.
python -m benchmarks.chaos.cutter HOST:PORT
"""

import asyncio
import socket
import struct
import sys

from benchmarks.chaos.orders import take_orders

_MOMENT = 0.3
_CHUNK = 1 << 16
# Bytes at once; a question with a shopper's history is larger, all else that is said is not.
_SMALL_TALK = 900
# SO_LINGER on, no time: close() sends RST instead of FIN.
_ABORT = struct.pack("ii", 1, 0)


class Cutter:
    """Passes connections on to `target`, and cuts them as ordered."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._order = "pass"
        self._open: set[asyncio.StreamWriter] = set()

    def obey(self, order: str) -> None:
        """Take an order; it counts at once."""
        self._order = order
        if order not in ("pass", "calls"):
            for writer in list(self._open):
                cut(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        self._open.add(writer)
        try:
            if self._order == "reset":
                await reader.read(1)
                return
            beyond, onward = await asyncio.open_connection(self._host, self._port)
            if self._order == "flaky":
                asyncio.get_running_loop().call_later(_MOMENT, cut, writer)
            try:
                await asyncio.gather(self._pump(reader, onward), self._pump(beyond, writer))
            finally:
                cut(onward)
        except OSError:
            return  # either side has gone: so does the other
        finally:
            self._open.discard(writer)
            cut(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self._order == "calls" and len(data) > _SMALL_TALK:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()


def cut(writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    handle = writer.get_extra_info("socket")
    if not writer.is_closing() and handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()


async def main(target: str) -> None:
    """Serve until standard input ends."""
    cutter = Cutter(target)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    async with server:
        await take_orders(server.sockets[0].getsockname()[1], cutter.obey)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
