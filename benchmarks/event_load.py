"""The client of the event benchmark: calls at a fixed rate, whatever the answers do.

Open loop: a call is sent when its time has come, not when the one before was
answered, so a gateway that stalls is seen to stall by all the calls that would
have come meanwhile. How late this process itself was is noted beside it: on a busy
machine that says how much of a latency is the machine's.
"""

import asyncio
import dataclasses
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import grpc

from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub

_TYPES = (t.EVENT_TYPE_VIEW, t.EVENT_TYPE_CLICK, t.EVENT_TYPE_CART, t.EVENT_TYPE_PURCHASE)


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent: `per_second` events, `per_call` of them in each call."""

    per_second: float
    per_call: int
    users: int
    items: int
    seed: str


@dataclass(slots=True)
class Seen:
    """What came back: seconds of each call, and how late it was sent; statuses; events taken."""

    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    seconds: float = 0.0


class Load:
    """Sends one stream through one channel."""

    def __init__(self, stub: "EventServiceStub", stream: Stream) -> None:
        self._stub = stub
        self._stream = stream
        self._chance = random.Random(stream.seed)  # noqa: S311 -- not for secrets
        self._sent = 0
        self.seen = Seen()

    async def run(self, seconds: float) -> Seen:
        """Send for that long, wait for every answer, return what was seen."""
        pause = self._stream.per_call / self._stream.per_second
        began = time.perf_counter()
        calls: set[asyncio.Task[None]] = set()
        for number in range(max(1, round(seconds / pause))):
            due = began + number * pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.seen.late.append(time.perf_counter() - due)
            call = asyncio.create_task(self._call())
            calls.add(call)
            call.add_done_callback(calls.discard)
        if calls:
            await asyncio.wait(calls)
        self.seen.seconds = time.perf_counter() - began
        return self.seen

    async def _call(self) -> None:
        request = RecordEventsRequest(events=[self._event() for _ in range(self._stream.per_call)])
        sent = time.perf_counter()
        try:
            answer = await self._stub.RecordEvents(request, timeout=10.0)  # type: ignore[misc]
            self.seen.acknowledged += answer.recorded_count
            outcome = "OK"
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        self.seen.latencies.append(time.perf_counter() - sent)
        self.seen.outcomes[outcome] += 1

    def _event(self) -> t.Event:
        self._sent += 1
        return t.Event(
            event_id=f"{self._chance.getrandbits(96):024x}",
            user_id=f"user{self._chance.randrange(self._stream.users)}",
            item_id=str(self._chance.randrange(1, self._stream.items)),
            type=self._chance.choice(_TYPES),
            market="m",
        )


async def send(address: str, stream: Stream, seconds: float) -> Seen:
    """Open a channel, send, close; a second of the stream goes first and is not counted."""
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = EventServiceStub(channel)
        await Load(stub, dataclasses.replace(stream, seed=f"{stream.seed} warm-up")).run(1.0)
        return await Load(stub, stream).run(seconds)
