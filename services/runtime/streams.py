"""Calls that stay open and carry one question after the other.

grpc.aio spends three times as much on a call as on a message of a call that is open
already (docs/decisions/0030). Between two messages nobody waits for anything, so a
server that stops ends such calls there: each question that came is answered, and
callers see the end of the call, which tells them to ask in another way.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any


class Streams:
    """The open calls of one server. Belongs to the event loop."""

    def __init__(self) -> None:
        self._idle: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()

    async def messages(self, received: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what a call receives, until its caller or this server ends it."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served by a task")
        while not self._closing.is_set():
            self._idle.add(task)
            try:
                message = await anext(received, None)
            except asyncio.CancelledError:
                if self._closing.is_set():
                    return
                raise
            finally:
                self._idle.discard(task)
            if message is None:
                return
            yield message

    def close(self) -> None:
        """End calls as soon as what they brought is answered."""
        self._closing.set()
        for task in self._idle:
            task.cancel()
