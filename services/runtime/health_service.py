"""grpc.health.v1 for any number of watchers.

The servicer that comes with grpcio-health-checking forgets all watchers of a name
when one of them leaves, so that the others never hear of a drain; and its streams
keep a stopping server waiting. This one wakes every watcher at each change, and
ends their streams when told that there will be no more.
"""

# The protocol names the methods.
# ruff: noqa: N802

import asyncio
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.errors import NotFound

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Answer = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says what it was last told."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def set(self, name: str, *, serving: bool) -> None:
        """Set the status of a name."""
        self._serving[name] = serving
        self._wake()

    def close(self) -> None:
        """End every Watch once it has said the last word."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: Any, context: _Context) -> Any:
        """Answer with the status of a name; raises NotFound."""
        del context
        if request.service not in self._serving:
            raise NotFound(f"service: '{request.service}' is not known here")
        return _Answer(status=self._status(request.service))

    async def Watch(self, request: Any, context: _Context) -> None:
        """Answer with the status of a name, and again whenever it changes."""
        last = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != last:
                await context.write(_Answer(status=status))
                last = status
            elif self._closed:
                return
            else:
                await changed.wait()

    def _status(self, name: str) -> Any:
        if name not in self._serving:
            return _Answer.SERVICE_UNKNOWN
        return _Answer.SERVING if self._serving[name] else _Answer.NOT_SERVING
