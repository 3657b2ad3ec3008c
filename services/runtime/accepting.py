"""A gRPC server that takes in all calls that wait, instead of one in some turns of its loop.

grpc.aio asks its core for one call, handles it, asks for the next: each takes some
turns of the event loop. A loop whose turns are full of work therefore takes in few
calls a second; the others wait inside gRPC, first come first served, where no gate
sees them, and arrive with their time nearly over (docs/decisions/0010). Here several
calls are asked for ahead, so that all that came during a turn are taken in together.
A server that stops answers all that had come, too: the loop of grpc.aio would end with
the next one, and the others would keep their callers and the stop waiting.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio._server import Server

from services.runtime.logs import Seldom

# Calls taken in at one time at most. Each that is asked for ahead costs a kilobyte.
AHEAD = 32


class _Core(cygrpc.AioServer):  # type: ignore[misc]
    """grpc.aio's own server, but for how it asks for calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked = 0
        self._came: deque[asyncio.Task[Any]] = deque()
        self._heard = asyncio.Event()
        self._closing = False

    async def _request_call(self) -> Any:
        """Return the next call; without a pause where it has come already.

        Raises what a call that was asked for failed with, once no other can come any more.
        """
        while self._asked < AHEAD and not self._closing:
            self._asked += 1
            # Not ensure_future, which wraps gRPC's kind of coroutine in another first.
            task = asyncio.get_running_loop().create_task(super()._request_call())
            task.add_done_callback(self._hear)
        while True:
            while not self._came:
                self._heard.clear()
                await self._heard.wait()
            task = self._came.popleft()
            self._asked -= 1
            if not self._asked or _brought(task):
                return task.result()

    def _hear(self, task: "asyncio.Task[Any]") -> None:
        self._came.append(task)
        self._heard.set()

    async def shutdown(self, grace: float | None) -> None:
        """Take in what has come and nothing more, then stop; see grpc.aio.Server.stop."""
        if self.is_running() and not self._closing:
            self._closing = True
            # While it still counts as running, so that its loop goes on until all that were
            # asked for have brought a call or failed.
            await super()._start_shutting_down()
        await super().shutdown(grace)

    async def _start_shutting_down(self) -> None:
        """Do nothing: `shutdown` has done it."""

    def _serving_task_crash_handler(self, task: "asyncio.Task[Any]") -> None:
        if not self._closing:  # else its loop has ended as it should
            super()._serving_task_crash_handler(task)


def _brought(task: "asyncio.Task[Any]") -> bool:
    """Say whether a call came; those still waited for fail when the server stops."""
    return not task.cancelled() and task.exception() is None


class _Server(Server):
    """grpc.aio's server around that core."""

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]
    ) -> None:
        # Not the parent's, which would make the usual core.
        self._loop = cygrpc.get_working_loop()
        self._server = _Core(self._loop, None, (), tuple(interceptors), tuple(options), None)


class Unsent(logging.Filter):
    """Makes one line in ten minutes of each answer that could not be sent.

    gRPC writes an error and a traceback where a caller's time was over, or the caller gone, as
    its answer was to be sent: under overload that is many times a second, and nothing is wrong
    with this server. An answer that is too large is told alike; its caller hears why.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is worth a line, in which it says what it means."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, cygrpc.ExecuteBatchError):
            return True
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        record.msg = "answers not sent: the caller had gone, its time was over, or it is too large"
        record.args, record.exc_info = (), None
        return _grpc_log.isEnabledFor(record.levelno) and self._seldom.news(record.msg)


_grpc_log = logging.getLogger(cygrpc.__name__)
_unsent = Unsent()


def server(
    interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]
) -> grpc.aio.Server:
    """Return a server as grpc.aio.server does; from here on gRPC's log is quieter (`Unsent`)."""
    _grpc_log.addFilter(_unsent)  # which adds the same one once
    made: Any = _Server(interceptors, options)
    return cast(grpc.aio.Server, made)
