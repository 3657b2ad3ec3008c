"""A gRPC server that takes in all calls that wait, instead of one in some turns of its loop.

grpc.aio asks its core for one call, handles it, asks for the next: each takes some
turns of the event loop. A loop whose turns are full of work therefore takes in few
calls a second; the others wait inside gRPC, first come first served, where no gate
sees them, and arrive with their time nearly over (docs/decisions/0010). Here several
calls are asked for ahead, so that all that came during a turn are taken in together.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio._server import Server

# Calls taken in at one time at most. Each that is asked for ahead costs a kilobyte.
AHEAD = 32


class _Core(cygrpc.AioServer):  # type: ignore[misc]
    """grpc.aio's own server, but for how it asks for calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked = 0
        self._came: deque[asyncio.Task[Any]] = deque()
        self._heard = asyncio.Event()

    async def _request_call(self) -> Any:
        """Return the next call; without a pause where it has come already."""
        while self._asked < AHEAD:
            self._asked += 1
            # Not ensure_future, which wraps gRPC's kind of coroutine in another first.
            task = asyncio.get_running_loop().create_task(super()._request_call())
            task.add_done_callback(self._hear)
        while not self._came:
            self._heard.clear()
            await self._heard.wait()
        self._asked -= 1
        return self._came.popleft().result()

    def _hear(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled():
            task.exception()  # those still waiting for a call fail when the server stops
        self._came.append(task)
        self._heard.set()


class _Server(Server):
    """grpc.aio's server around that core."""

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]
    ) -> None:
        # Not the parent's, which would make the usual core.
        self._loop = cygrpc.get_working_loop()
        self._server = _Core(self._loop, None, (), tuple(interceptors), tuple(options), None)


def server(
    interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]
) -> grpc.aio.Server:
    """Return a server as grpc.aio.server does."""
    made: Any = _Server(interceptors, options)
    return cast(grpc.aio.Server, made)
