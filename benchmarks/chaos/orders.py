"""What the two proxies share: their command line, their port, their orders."""

import asyncio
import sys
from collections.abc import Callable


async def take_orders(port: int, obey: Callable[[str], None]) -> None:
    """Say the port, then obey line after line until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(port, flush=True)
    while line := await reader.readline():
        obey(line.decode().strip())
        print("done", flush=True)
