"""Many shoppers share calls to a source, and none of them notices."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from inference import inference_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.test_failures import PATIENCE, until
from tests.integration.gateway.world import Shop, fake_sources, ids, open_shop, outcomes

CROWD = [f"guest{n}" for n in range(24)]


def liking(number: int) -> dict[str, Any]:
    """A shopper's events: histories of 1 to 4 items, each shopper's own."""
    keys = range(number + 1, number + 2 + number % 4)
    return {"events": [t.Event(item_id=str(k), type=t.EVENT_TYPE_VIEW) for k in keys]}


async def everybody(shop: Shop) -> list[list[str]]:
    asking = (shop.recommend(user, **liking(n)) for n, user in enumerate(CROWD))
    return [ids(answer) for answer in await asyncio.gather(*asking)]


def rows(source: FakeSource) -> list[int]:
    return [len(asked["history"]) for asked in source.asked]


async def test_a_crowd_gets_the_answers_each_would_get_alone_in_fewer_calls(shop: Shop) -> None:
    alone = [ids(await shop.recommend(user, **liking(n))) for n, user in enumerate(CROWD)]
    for source in shop.sources.values():
        source.asked.clear()
        source.delay = 0.05
    assert await everybody(shop) == alone
    for source in shop.sources.values():
        assert sum(rows(source)) == len(CROWD)
        assert len(rows(source)) < len(CROWD) / 2


async def test_no_call_holds_more_rows_than_a_service_takes(directory: Path) -> None:
    async with open_shop(directory, rows_per_call=4) as shop:
        await everybody(shop)
        for source in shop.sources.values():
            assert max(rows(source)) <= 4
            assert sum(rows(source)) == len(CROWD)


class Fussy(FakeSource):
    """Refuses every call in which one shopper's history holds item 13 first."""

    refusal: grpc.StatusCode

    async def infer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        keys = np.frombuffer(request.raw_input_contents[0], np.int64)
        if 13 in keys:
            self.asked.append({"history": keys.reshape(request.inputs[0].shape)})
            await context.abort(self.refusal, "as scripted")
        return await super().infer(request, context)


@pytest.mark.parametrize("status", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
async def test_a_bad_row_fails_alone(directory: Path, status: grpc.StatusCode) -> None:
    made = fake_sources()
    fussy = Fussy("cf", made["cf"].vectors, delay=0.05)
    fussy.refusal = status
    # Nor does it open the breaker, however many halves it is in.
    sources = {**made, "cf": fussy}
    async with open_shop(directory, sources=sources, breaker_failures=2) as shop:
        asking = [
            shop.recommend(f"g{n}", events=[t.Event(item_id=str(n), type=t.EVENT_TYPE_VIEW)])
            for n in range(1, 21)
        ]
        for n, answer in enumerate(await asyncio.gather(*asking), start=1):
            assert outcomes(answer)["cf"] == ("error" if n == 13 else "ok")
            assert outcomes(answer)["content"] == "ok"


async def test_a_row_whose_time_is_up_does_not_hold_up_the_others(directory: Path) -> None:
    async with open_shop(directory, max_deadline_ms=60_000, merge_reserve_ms=600) as shop:
        slow = shop.sources["sequence"]
        slow.delay = 3.0
        first = asyncio.create_task(shop.recommend("ann"))

        async def begun() -> bool:
            return bool(slow.asked)

        await until(begun)
        hasty = t.Event(item_id="5", type=t.EVENT_TYPE_VIEW)
        request = request_of("hasty", hasty)
        from_hasty = await shop.recommendations.Recommend(request, timeout=1.2)
        assert outcomes(from_hasty)["sequence"] == "late"
        assert outcomes(await first)["sequence"] == "ok"
        assert outcomes(await shop.recommend("bob"))["sequence"] == "ok"


async def test_shoppers_who_hang_up_are_not_asked_for(directory: Path) -> None:
    async with open_shop(directory, max_deadline_ms=60_000) as shop:
        slow = shop.sources["sequence"]
        slow.delay = PATIENCE
        calls = [shop.recommendations.Recommend(request_of(user)) for user in ("ann", "bob")]

        async def begun() -> bool:
            return bool(slow.asked)

        await until(begun)
        for call in calls:
            call.cancel()

        async def told() -> bool:
            return slow.cancelled > 0

        await until(told)
        slow.delay = 0.0
        assert outcomes(await shop.recommend("ann"))["sequence"] == "ok"


def request_of(user: str, *events: t.Event) -> RecommendRequest:
    shopper = Shopper(user_id=user, market="m", events=events)
    return RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME)
