"""Shoppers who click: events at a steady rate, each call sent again until it is acknowledged.

What a storefront does: an unanswered call may or may not have happened, so it is sent
again with the same event ids, after the pause that a refusal asks for
(`grpc-retry-pushback-ms`). The account is which ids were acknowledged.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

import grpc

from benchmarks.chaos.background import Sending
from benchmarks.chaos.load import OPTIONS, pushback
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub

PER_CALL = 20
# Unacknowledged calls at one time; beyond it shoppers are not sent, and not counted.
_MOST_WAITING = 400
_CALL_SECONDS = 5.0
# Seconds before another try where no answer says how long.
_PAUSE = 0.1


class EventStream(Sending):
    """Sends events until left; then waits for the last acknowledgement, and no longer than that."""

    def __init__(
        self, address: str, items: Sequence[str], per_second: float, patience: float
    ) -> None:
        super().__init__()
        self.acknowledged: set[str] = set()
        self.sent = 0
        self.refusals = 0
        # Calls whose counts do not add up: every event is new or known, none is both.
        self.miscounted = 0
        self._address = address
        self._items = items
        self._pause = PER_CALL / per_second
        self._patience = patience

    async def send(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            stub = EventServiceStub(channel)
            calls: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self.over.is_set():
                due += self._pause
                await asyncio.sleep(max(due - time.monotonic(), 0))
                if len(calls) < _MOST_WAITING:
                    ids = [f"chaos-{self.sent + n}" for n in range(PER_CALL)]
                    self.sent += PER_CALL
                    call = asyncio.create_task(self._insist(stub, ids))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
            if calls:
                await asyncio.wait(calls, timeout=self._patience)
            for call in calls:
                call.cancel()

    async def _insist(self, stub: "EventServiceStub", ids: Sequence[str]) -> None:
        request = RecordEventsRequest(events=self._events(ids))
        while True:
            try:
                answer = await stub.RecordEvents(request, timeout=_CALL_SECONDS)  # type: ignore[misc]
            except grpc.aio.AioRpcError as error:
                self.refusals += 1
                await asyncio.sleep(pushback(error) or _PAUSE)
                continue
            self.miscounted += answer.recorded_count + answer.duplicate_count != len(ids)
            self.acknowledged.update(ids)
            return

    def _events(self, ids: Iterable[str]) -> list[t.Event]:
        return [
            t.Event(
                event_id=name,
                user_id=f"chaos-{number % 200}",
                item_id=self._items[number % len(self._items)],
                type=t.EVENT_TYPE_VIEW,
            )
            for name in ids
            for number in (int(name.rpartition("-")[2]),)
        ]
