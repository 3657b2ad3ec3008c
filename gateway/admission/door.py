"""How long a call waits at the door, before any of our code has seen it.

grpc.aio takes in one call in about three turns of the event loop. When each turn
does heavy work, calls queue inside the transport, first come first served, where no
gate sees them, and arrive here with their time nearly over. So the gateway calls
itself again and again, through the same queue: the age of the oldest knock that has
not come through is how long every call waits just now. Heavy work lets the knock,
and so whoever came before it, in first.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.health import LIVE

# Seconds between two knocks: while there is little to do, and else. A knock costs about
# half a millisecond of CPU.
_CALM, _BUSY = 0.2, 0.02
_MOST_KNOCKS = 8
_PATIENCE = 2.0
# A knock younger than this has met nobody waiting.
_NOTICED = 0.002
# Longest that work waits for others to come in, so that a flood of refusals cannot stop it.
_LONGEST = 0.03


class Door:
    """Knocks at an address of our own server. Belongs to the event loop."""

    def __init__(
        self, busy: Callable[[], bool], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`busy` says whether a queue could stand at all just now."""
        self._busy = busy
        self._clock = clock
        self._out: deque[float] = deque()  # when each knock under way was sent, oldest first
        self._through = asyncio.Event()  # set for a moment when one comes through
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self, address: str) -> None:
        """Begin to knock."""
        self._task = asyncio.create_task(self._keep_knocking(address), name="door")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def age(self) -> float:
        """Seconds that the oldest knock has been waiting; 0 where none is."""
        return self._clock() - self._out[0] if self._out else 0.0

    @property
    def delay(self) -> float:
        """Seconds that calls wait unseen just now."""
        return max(self.age, self._last)

    async def let_in(self) -> None:
        """Let those come in who were at the door before the oldest knock."""
        if self.age <= _NOTICED:
            return
        # Not by turning the loop: its sleep is what the transport's own thread works in.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                await self._through.wait()

    async def _keep_knocking(self, address: str) -> None:
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        async with (
            grpc.aio.insecure_channel(address, options=options) as channel,
            asyncio.TaskGroup() as group,
        ):
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                if len(self._out) < _MOST_KNOCKS:
                    group.create_task(self._knock(stub))
                await asyncio.sleep(_BUSY if self._busy() else _CALM)

    async def _knock(self, stub: health_pb2_grpc.HealthStub) -> None:
        sent = self._clock()
        self._out.append(sent)
        try:
            with contextlib.suppress(grpc.aio.AioRpcError):  # as late as it gets
                await stub.Check(health_pb2.HealthCheckRequest(service=LIVE), timeout=_PATIENCE)
        finally:
            self._last = self._clock() - sent
            self._out.remove(sent)
            self._through.set()
            self._through.clear()
