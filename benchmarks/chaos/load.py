"""The load of a trial: arrivals at a steady rate, whether or not answers come back.

Open loop on purpose: callers that wait for a slow answer before asking again hide
exactly what a fault does. Latency counts from the moment a request was due. A caller
that is told to come back later (`grpc-retry-pushback-ms`) does, as gRPC's own retry
policy would; only one that never gets an answer counts as refused.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from benchmarks.chaos.account import Account, Call, Kind
from benchmarks.chaos.background import Sending
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

# A caller's patience; far beyond the server's, so that a failure is the server's word.
CALL_SECONDS = 10.0
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
           ("grpc.max_reconnect_backoff_ms", 500)]  # fmt: skip
# Beyond this many unanswered requests the sender itself would be what is measured.
_MOST_IN_FLIGHT = 2_000
_KINDS: dict[grpc.StatusCode, Kind] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "refused",
    grpc.StatusCode.DEADLINE_EXCEEDED: "late",
}
_Answer = api.RecommendResponse | api.SearchResponse


class Load(Sending):
    """Home pages for households and some searches; `with Load(...) as load`, then `account`."""

    def __init__(self, address: str, users: Sequence[str], rate: float, seed: int = 0) -> None:
        super().__init__()
        self.account = Account()
        self._address = address
        self._users = users
        self._rate = rate
        self._chance = random.Random(seed)  # noqa: S311 -- not for secrets

    async def send(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            stub = RecommendationServiceStub(channel)
            tasks: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self.over.is_set():
                due += 1 / self._rate
                await asyncio.sleep(max(due - time.monotonic(), 0))
                if len(tasks) >= _MOST_IN_FLIGHT:
                    self.account.calls.append(Call(due, 0.0, "failed", {}, detail="not sent"))
                    continue
                task = asyncio.create_task(self._call(stub, due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def _call(self, stub: Any, due: float) -> None:
        method, request = self._request(stub)
        call: Call | None = None
        while call is None:
            try:
                answer = await method(request, timeout=CALL_SECONDS)
                call = judged(answer, due, time.monotonic() - due)
            except grpc.aio.AioRpcError as error:
                pause = pushback(error)
                if pause is None or time.monotonic() - due > CALL_SECONDS:
                    call = _unanswered(error, due)
                else:
                    self.account.sent_again += 1
                    await asyncio.sleep(pause)
        self.account.calls.append(call)

    def _request(self, stub: Any) -> tuple[Callable[..., Awaitable[Any]], Any]:
        shopper = api.Shopper(user_id=self._chance.choice(self._users))
        if self._chance.random() < 0.1:
            return stub.Search, api.SearchRequest(shopper=shopper, query="yogurt")
        return stub.Recommend, api.RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME)


def pushback(error: grpc.aio.AioRpcError) -> float | None:
    """Return the seconds after which a caller is asked to come back; None: it is not."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms" and str(value).isdecimal():
            return int(value) / 1000
    return None


def _unanswered(error: grpc.aio.AioRpcError, due: float) -> Call:
    kind = _KINDS.get(error.code(), "failed")
    detail = f"{error.code().name}: {error.details()}"
    return Call(due, time.monotonic() - due, kind, {}, detail=detail)


def judged(answer: _Answer, due: float, seconds: float) -> Call:
    """Return what an answer amounts to; an empty shelf is a failure, whatever its status."""
    names = t.SourceOutcome.Name
    sources = {s.source: names(s.outcome).removeprefix("SOURCE_OUTCOME_") for s in answer.sources}
    missing = any(outcome not in ("OK", "SKIPPED") for outcome in sources.values())
    kind: Kind = "ok"
    if not answer.items:
        kind = "failed"
    elif answer.coverage.fallback:
        kind = "fallback"
    elif missing:
        kind = "partial"
    honest = answer.coverage.partial == missing
    detail = "" if answer.items else "an empty shelf"
    versions = {s.source: s.model_version for s in answer.sources}
    return Call(due, seconds, kind, sources, honest, detail, versions)
