"""A shopper who did nothing since is shown the same ranking, and only then, and nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from tests.integration.gateway.test_failures import until
from tests.integration.gateway.test_metrics import value
from tests.integration.gateway.world import Shop, ids, open_shop


@pytest_asyncio.fixture
async def shop(directory: Path) -> AsyncIterator[Shop]:
    async with open_shop(directory, idle_seconds=600.0) as running:
        yield running


def asked(shop: Shop) -> int:
    return len(shop.sources["cf"].asked)


async def test_an_idle_shopper_costs_no_call_and_gets_a_ranking_of_its_own_id(shop: Shop) -> None:
    hits = value("plait_idle_lookups_total", outcome="hit")
    first = await shop.recommend("ann", page_size=5)
    before = asked(shop)
    again = await shop.recommend("ann", page_size=5)
    assert asked(shop) == before
    assert ids(again) == ids(first)
    assert again.ranking_id != first.ranking_id
    assert value("plait_idle_lookups_total", outcome="hit") == hits + 1
    more = await shop.recommend("ann", page_size=5, page_token=again.next_page_token)
    assert more.items[0].position == 6


async def test_nothing_is_shared_between_shoppers_requests_or_the_nameless(shop: Shop) -> None:
    for user, size in (("ann", 5), ("bob", 5), ("ann", 6), ("", 5), ("", 5)):
        before = asked(shop)
        events = [t.Event(item_id="6", type=t.EVENT_TYPE_VIEW)] if not user else []
        await shop.recommend(user, page_size=size, events=events)
        assert asked(shop) == before + 1


async def test_an_event_ends_it_at_once(shop: Shop) -> None:
    await shop.recommend("ann")
    event = t.Event(user_id="ann", item_id="2", type=t.EVENT_TYPE_PURCHASE)
    await shop.events.RecordEvents(RecordEventsRequest(events=[event]))
    before = asked(shop)
    await shop.recommend("ann")
    assert asked(shop) == before + 1


async def test_so_does_a_change_of_the_catalogue(shop: Shop) -> None:
    first = await shop.recommend("ann", page_size=5)
    gone = t.Item(item_id=ids(first)[0], title="Sold out", available=False)
    await shop.catalog.UpsertItems(UpsertItemsRequest(items=[gone]))
    assert gone.item_id not in ids(await shop.recommend("ann", page_size=5))


async def test_so_does_a_source_that_goes_and_an_answer_without_it_is_not_kept(shop: Shop) -> None:
    await shop.recommend("ann")
    await shop.sources["sequence"].stop()

    async def missed() -> bool:
        return (await shop.recommend("ann")).coverage.partial

    await until(missed)
    before = asked(shop)
    await shop.recommend("ann")
    assert asked(shop) == before + 1


async def test_an_answer_with_a_failed_source_is_not_kept(shop: Shop) -> None:
    shop.sources["cf"].status = grpc.StatusCode.INTERNAL
    assert (await shop.recommend("ann")).coverage.partial
    shop.sources["cf"].status = None
    assert not (await shop.recommend("ann")).coverage.partial
