"""One piece of heavy work in a turn of the event loop, and who waits at the door goes first.

A batch of answers makes many rankings ready at once. Merged in one go they would
hold the loop for tens of milliseconds, refusals and events included.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Turns:
    """Whose turn it is. Belongs to the event loop."""

    def __init__(self, let_in: Callable[[], Awaitable[None]]) -> None:
        """`let_in` is awaited before each piece of work."""
        self._let_in = let_in
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Do something heavy, without awaiting in it, when it is one's turn."""
        async with self._lock:
            await self._let_in()
            yield
