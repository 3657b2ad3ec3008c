"""A gateway that is asked more than it can do: real calls, real refusals, real neighbours."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from tests.integration.gateway.test_failures import until
from tests.integration.gateway.test_metrics import value
from tests.integration.gateway.world import COUNT, Shop, open_shop

# More than a gateway lets in and has wait before it has learnt anything.
CROWD = 150
# Longer than a crowd takes to arrive, on any machine.
PATIENT_MS = 30_000
# Callers of a flood.
FLOOD = 40


@pytest_asyncio.fixture
async def shop(directory: Path) -> AsyncIterator[Shop]:
    """A gateway that gives slow sources the time they take."""
    async with open_shop(directory, max_deadline_ms=PATIENT_MS) as running:
        yield running


async def outcome(call: Awaitable[Any]) -> str:
    """How a call ended: OK or the name of its status."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def record(shop: Shop) -> Awaitable[Any]:
    """Tell the gateway of an event."""
    event = t.Event(user_id="u", item_id="1", type=t.EVENT_TYPE_CART)
    call: Awaitable[Any] = shop.events.RecordEvents(RecordEventsRequest(events=[event]))
    return call


def home_refused() -> float:
    """Refusals of HOME until now, on arrival."""
    reasons = ("full", "no_time")
    return sum(value("plait_refused_total", kind="HOME", reason=r) for r in reasons)


async def crowd(shop: Shop) -> list["asyncio.Task[str]"]:
    """Fill the gateway with rankings that wait for slow sources; some are refused."""
    for source in shop.sources.values():
        source.delay = PATIENT_MS / 1000
    refused = home_refused()
    tasks = [asyncio.create_task(outcome(shop.recommend("ann"))) for _ in range(CROWD)]

    async def full() -> bool:
        return home_refused() > refused

    await until(full)
    return tasks


async def served(shop: Shop, tasks: list["asyncio.Task[str]"]) -> list[str]:
    """Let the sources answer; return how each call of the crowd ended."""
    for source in shop.sources.values():
        source.delay = 0.0
    return await asyncio.gather(*tasks)


async def test_beyond_the_bound_rankings_are_refused_with_a_pause_and_the_rest_served(
    shop: Shop,
) -> None:
    tasks = await crowd(shop)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.recommend("ann")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(refused.value.trailing_metadata()["grpc-retry-pushback-ms"]) > 0
    ended = Counter(await served(shop, tasks))
    assert ended["RESOURCE_EXHAUSTED"] > 0
    assert ended["OK"] >= 64  # those that were let in at once
    assert set(ended) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


async def test_a_search_still_finds_a_place_where_home_does_not(shop: Shop) -> None:
    tasks = await crowd(shop)
    assert await outcome(shop.recommend("ann")) == "RESOURCE_EXHAUSTED"
    search = asyncio.create_task(outcome(shop.search("yogurt")))
    await served(shop, tasks)
    assert await search == "OK"


async def test_events_and_the_catalogue_are_not_refused_for_a_crowd_of_rankings(
    shop: Shop,
) -> None:
    tasks = await crowd(shop)
    assert (await record(shop)).recorded_count == 1
    items = [t.Item(item_id="1", title="Yogurt number 1")]
    assert await outcome(shop.catalog.UpsertItems(UpsertItemsRequest(items=items))) == "OK"
    await served(shop, tasks)


async def test_items_that_wait_for_a_model_have_no_price_refused_that_need_not(
    directory: Path,
) -> None:
    numbers = iter(range(1_000))

    async def add(shop: Shop, seconds: float | None = None) -> str:
        new = t.Item(item_id=f"new-{next(numbers)}", title="Skyr")
        request = UpsertItemsRequest(items=[new])
        return await outcome(shop.catalog.UpsertItems(request, timeout=seconds))

    async with open_shop(directory, max_catalogue_calls=4, embed_timeout_ms=60_000) as shop:
        for name in ("content", "text"):
            shop.sources[name].silent = True
        # Some have waited until the models were given up, and some still wait.
        for _ in range(4):
            assert await add(shop, 10.0) == "OK"
        waiting = [asyncio.create_task(add(shop)) for _ in range(2)]
        async with asyncio.timeout(30):
            while len(shop.application._ready().catalogue) < COUNT + 6:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        price = UpsertItemsRequest(items=[t.Item(item_id="1", title="Yogurt number 1", price=9)])
        assert await outcome(shop.catalog.UpsertItems(price, timeout=1.5)) == "OK"
        for name in ("content", "text"):
            shop.sources[name].silent = False
        assert await asyncio.gather(*waiting) == ["OK", "OK"]


@asynccontextmanager
async def flood(call: Callable[[], Awaitable[Any]]) -> AsyncIterator[Counter[str]]:
    """Callers that call again at once, whatever they hear; how the calls ended until now."""
    ended: Counter[str] = Counter()

    async def caller() -> None:
        while True:
            ended[await outcome(call())] += 1

    callers = [asyncio.create_task(caller()) for _ in range(FLOOD)]
    try:
        await until(lambda: _more(ended, 0))
        yield ended
    finally:
        for one in callers:
            one.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def _more(ended: Counter[str], than: int) -> bool:
    return ended["OK"] > than


async def test_a_flood_of_events_starves_no_ranking_and_goes_on(shop: Shop) -> None:
    async with flood(lambda: record(shop)) as ended:
        for _ in range(5):
            before = ended["OK"]
            answer = await shop.recommend("ann")
            assert not answer.coverage.partial
            await until(lambda: _more(ended, before))  # noqa: B023 -- awaited right here


async def test_a_flood_of_rankings_starves_no_event_and_goes_on(shop: Shop) -> None:
    async with flood(lambda: shop.recommend("ann")) as ended:
        for _ in range(5):
            before = ended["OK"]
            assert (await record(shop)).recorded_count == 1
            await until(lambda: _more(ended, before))  # noqa: B023 -- awaited right here
    assert set(ended) <= {"OK", "RESOURCE_EXHAUSTED"}


async def test_pages_of_a_ranking_that_is_made_already_are_never_refused(shop: Shop) -> None:
    first = await shop.recommend("ann", page_size=5)
    tasks = await crowd(shop)
    again = await shop.recommend("ann", page_size=5, page_token=first.next_page_token)
    assert again.items[0].position == 6
    await served(shop, tasks)


async def test_a_client_that_has_gone_costs_no_merging(directory: Path) -> None:
    async with open_shop(directory, max_deadline_ms=20_000) as shop:
        for source in shop.sources.values():
            source.delay = 0.5
        merged = value("plait_merge_seconds_count", surface="HOME")
        request = RecommendRequest(shopper=Shopper(user_id="ann"), surface=t.SURFACE_HOME)
        calls = [shop.recommendations.Recommend(request) for _ in range(5)]
        tasks = [asyncio.create_task(outcome(call)) for call in calls]

        async def asked() -> bool:
            return bool(shop.sources["cf"].asked)

        await until(asked)
        for call in calls:
            call.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for source in shop.sources.values():
            source.delay = 0.0
        await shop.recommend("bob")

        async def noted() -> bool:
            return value("plait_merge_seconds_count", surface="HOME") > merged

        await until(noted)
        assert value("plait_merge_seconds_count", surface="HOME") == merged + 1
