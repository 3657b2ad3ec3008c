"""What was put into the catalogue a moment ago can be found and recommended."""

from collections.abc import Iterator

import pytest

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, UpsertItemsRequest
from plait.v1.recommendation_service_pb2 import RecommendRequest, SearchRequest
from tests.e2e.conftest import Ground, Processes


@pytest.fixture
def skyr(five: Processes, ground: Ground) -> Iterator[t.Item]:
    like = ground.data.items.filter(
        ground.data.items["title"].str.to_lowercase().str.contains("yogurt")
    ).row(0, named=True)
    item = t.Item(
        item_id="new-skyr-1",
        title="Icelandic skyr yogurt, elderflower, 6 oz",
        text="Strained yogurt with elderflower. Yogurt. Grocery. 6 oz.",
        domain=like["domain"],
        category=like["category"],
        brand=like["brand"],
        price=0.89,
    )
    done = five.gateway.call(five.gateway.catalog.UpsertItems, UpsertItemsRequest(items=[item]))
    assert (done.created_count, done.embedded_count) == (1, 1)
    yield item
    five.gateway.call(five.gateway.catalog.DeleteItems, DeleteItemsRequest(item_ids=[item.item_id]))


def test_a_new_item_is_found_by_a_search(five: Processes, skyr: t.Item) -> None:
    answer = five.gateway.call(
        five.gateway.recommendations.Search, SearchRequest(query="elderflower skyr")
    )
    assert skyr.item_id in [item.item_id for item in answer.items[:5]]


def test_a_new_item_is_recommended_beside_its_like(
    five: Processes, ground: Ground, skyr: t.Item
) -> None:
    yogurt = next(iter(ground.cast.lovers[0].counts))
    answer = five.recommend(
        RecommendRequest(surface=t.SURFACE_ITEM, item_ids=[yogurt], page_size=200)
    )
    assert skyr.item_id in [item.item_id for item in answer.items]


def test_a_deleted_item_is_never_shown_again(five: Processes, ground: Ground) -> None:
    victim = five.home(ground.cast.household).items[0]
    five.gateway.call(
        five.gateway.catalog.DeleteItems, DeleteItemsRequest(item_ids=[victim.item_id])
    )
    after = five.home(ground.cast.household, page_size=200)
    assert victim.item_id not in [item.item_id for item in after.items]
    five.gateway.call(five.gateway.catalog.UpsertItems, UpsertItemsRequest(items=[victim.item]))
