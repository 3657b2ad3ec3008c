"""What is put into the catalogue is durable and counts in the next request."""

import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import (
    DeleteItemsRequest,
    DeleteItemsResponse,
    GetItemRequest,
    UpsertItemsRequest,
    UpsertItemsResponse,
)
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RankRequest, Shopper
from tests.integration.gateway.test_failures import until
from tests.integration.gateway.world import Shop, ids, open_shop

SKYR = t.Item(
    item_id="skyr-1",
    title="Skyr elderflower yogurt",
    domain="GROCERY",
    category="YOGURT",
    brand="north",
    price=1.5,
    attributes={"size": "6 OZ"},
)


async def upsert(shop: Shop, *items: t.Item) -> UpsertItemsResponse:
    done: UpsertItemsResponse = await shop.catalog.UpsertItems(UpsertItemsRequest(items=items))
    return done


async def delete(shop: Shop, *item_ids: str) -> DeleteItemsResponse:
    done: DeleteItemsResponse = await shop.catalog.DeleteItems(
        DeleteItemsRequest(item_ids=item_ids)
    )
    return done


async def known(shop: Shop, item_id: str) -> t.Item:
    found: t.Item = (await shop.catalog.GetItem(GetItemRequest(item_id=item_id))).item
    return found


async def test_an_item_reads_back_as_it_was_written(shop: Shop) -> None:
    done = await upsert(shop, SKYR)
    assert (done.created_count, done.updated_count, done.embedded_count) == (1, 0, 1)
    back = await known(shop, "skyr-1")
    assert back.item_key > 0
    back.item_key = 0
    assert back.available
    back.ClearField("available")
    assert back == SKYR


async def test_what_is_not_there_is_not_found(shop: Shop) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await known(shop, "nothing")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_new_item_is_found_by_its_words_at_once(shop: Shop) -> None:
    assert "skyr-1" not in ids(await shop.search("skyr elderflower yogurt"))
    await upsert(shop, SKYR)
    assert ids(await shop.search("skyr elderflower yogurt"))[0] == "skyr-1"


async def test_a_new_item_is_recommended_to_those_who_buy_its_like(shop: Shop) -> None:
    def like_yogurt(outputs: dict[str, Any]) -> dict[str, Any]:
        if "item_keys" not in outputs and "scores" not in outputs:  # the encoder's answer
            return {"embedding": shop.sources["content"].vectors[12][None, :]}
        return outputs

    shop.sources["content"].mangle = like_yogurt
    await upsert(shop, SKYR)
    answer = await shop.recommend("ann", explain=True)
    assert "skyr-1" in ids(answer)
    skyr = next(item for item in answer.items if item.item_id == "skyr-1")
    shares = {c.source: c.share for c in skyr.explanation.contributions}
    assert shares["content"] > 0
    assert shares["cf"] == 0  # it cannot know the item


async def test_rank_scores_a_new_item_among_others(shop: Shop) -> None:
    await upsert(shop, SKYR)
    request = RankRequest(
        shopper=Shopper(user_id="ann"), item_ids=["skyr-1", "1"], query="skyr elderflower"
    )
    answer = await shop.recommendations.Rank(request)
    assert ids(answer) == ["skyr-1", "1"]
    assert answer.items[0].score > 0


async def test_similar_to_a_new_item_is_answered_from_its_words(shop: Shop) -> None:
    await upsert(shop, SKYR)
    answer = await shop.recommend("ann", t.SURFACE_ITEM, item_ids=["skyr-1"], page_size=5)
    assert shop.sources["text"].asked[-1]["query"].tolist() == [[SKYR.title.encode()]]
    assert not answer.coverage.fallback
    assert "skyr-1" not in ids(answer)


async def test_an_update_shows_in_the_next_request(shop: Shop) -> None:
    first = ids(await shop.recommend("ann"))[0]
    item = await known(shop, first)
    item.available = False
    done = await upsert(shop, item)
    assert (done.created_count, done.updated_count, done.embedded_count) == (0, 1, 0)
    assert first not in ids(await shop.recommend("ann", page_size=200))
    rules = t.Rules(include_unavailable=True)
    assert first in ids(await shop.recommend("ann", rules=rules, page_size=200))
    item.available = True
    item.price = 77
    await upsert(shop, item)
    answer = await shop.recommend("ann", page_size=200)
    assert next(i.item.price for i in answer.items if i.item_id == first) == 77


async def test_a_deleted_item_is_never_shown_again(shop: Shop) -> None:
    answer = await shop.recommend("ann", page_size=2)
    gone, on_the_next_page = ids(await shop.recommend("ann", page_size=4))[::3]
    done = await delete(shop, gone, on_the_next_page, "nothing")
    assert (done.deleted_count, done.missing_count) == (2, 1)
    more = await shop.recommend("ann", page_size=200, page_token=answer.next_page_token)
    assert on_the_next_page not in ids(more)
    rules = t.Rules(include_unavailable=True, pin_item_ids=[gone])
    for user in ("ann", "nobody"):
        assert gone not in ids(await shop.recommend(user, page_size=200, rules=rules))
    assert gone not in ids(await shop.search("yogurt", page_size=200))
    await upsert(shop, t.Item(item_id=gone, title="Back again"))
    assert gone in ids(await shop.recommend("ann", page_size=200))


async def test_trends_are_measured_by_what_is_still_sold(shop: Shop) -> None:
    def buys(item: int, count: int) -> list[t.Event]:
        kind = t.EVENT_TYPE_PURCHASE
        return [t.Event(user_id="new", item_id=str(item), type=kind, market="m")] * count

    await shop.events.RecordEvents(RecordEventsRequest(events=buys(4, 80) + buys(8, 20)))
    assert trend_of(shop, "8") < 0.6
    best = await known(shop, "4")
    await delete(shop, "4")
    assert trend_of(shop, "8") > 0.99
    await upsert(shop, best)
    assert trend_of(shop, "8") < 0.6


def trend_of(shop: Shop, item_id: str) -> float:
    state = shop.application._state
    assert state is not None
    trend = state.trends.now("m", len(state.catalogue.columns.keys), int(time.time() * 1000))
    return float(trend[state.catalogue.row_of(item_id)])


async def test_changes_survive_a_restart(directory: Path) -> None:
    async with open_shop(directory) as shop:
        await upsert(shop, SKYR)
        await delete(shop, "6")
    async with open_shop(directory) as shop:
        shown = ids(await shop.recommend("ann", page_size=200))
        assert "6" not in shown
        assert ids(await shop.search("skyr elderflower yogurt"))[0] == "skyr-1"
        assert (await known(shop, "skyr-1")).title == SKYR.title


async def test_without_the_encoders_an_item_is_kept_and_placed_later(shop: Shop) -> None:
    for name in ("content", "text"):
        shop.sources[name].status = grpc.StatusCode.UNAVAILABLE
    done = await upsert(shop, SKYR)
    assert (done.created_count, done.embedded_count) == (1, 0)
    assert (await known(shop, "skyr-1")).title == SKYR.title
    for name in ("content", "text"):
        shop.sources[name].status = None

    async def found() -> bool:
        return "skyr-1" in ids(await shop.search("skyr elderflower yogurt", page_size=1))

    await until(found)


async def test_a_new_model_version_has_its_vectors_made_anew(shop: Shop) -> None:
    await upsert(shop, SKYR)
    shop.sources["text"].version = "2"

    async def found() -> bool:
        return "skyr-1" in ids(await shop.search("skyr elderflower yogurt", page_size=1))

    await until(found)


async def test_vectors_follow_the_text_of_an_item(shop: Shop) -> None:
    await upsert(shop, SKYR)
    await upsert(shop, t.Item(item_id="skyr-1", title="Zebra xylophone quartz"))
    assert "skyr-1" in ids(await shop.search("zebra xylophone quartz", page_size=1))


async def test_many_items_at_once_are_stored_and_placed(shop: Shop) -> None:
    items = [t.Item(item_id=f"n{n}", title=f"Novelty {n}", price=n) for n in range(200)]
    done = await upsert(shop, *items)
    assert (done.created_count, done.embedded_count) == (200, 200)
    answer = await shop.search("novelty 177", page_size=1)
    assert answer.items[0].item.title.startswith("Novelty")


async def test_an_image_goes_to_the_models_that_read_it_and_comes_back_to_its_shop(
    directory: Path,
) -> None:
    pictured = t.Item(item_id="pictured", title="Skyr", image_vector=[0.5, -1.0, 2.0])
    async with open_shop(directory) as shop:
        shop.sources["content"].image_width = 3
        assert (await upsert(shop, pictured)).embedded_count == 1
        assert [s.tolist() for s in shop.sources["content"].seen] == [[0.5, -1.0, 2.0]]
        assert (await known(shop, "pictured")).image_vector == [0.5, -1.0, 2.0]
        await upsert(shop, SKYR)
        assert shop.sources["content"].seen[-1].tolist() == [0.0, 0.0, 0.0]
    async with open_shop(directory) as shop:
        assert (await known(shop, "pictured")).image_vector == [0.5, -1.0, 2.0]
        assert not (await known(shop, "skyr-1")).image_vector


async def test_a_page_of_items_with_long_texts_is_no_larger_than_a_client_takes(
    shop: Shop,
) -> None:
    items = [t.Item(item_id=f"book-{n}", title=f"Book {n}", text="ü" * 20_000) for n in range(200)]
    await upsert(shop, *items)
    shopper = Shopper(user_id="ann")
    answer = await shop.recommendations.Rank(
        RankRequest(shopper=shopper, item_ids=[item.item_id for item in items])
    )
    assert sorted(ids(answer)) == sorted(item.item_id for item in items)
    assert {ranked.item.text for ranked in answer.items} == {""}
    assert (await known(shop, "book-7")).text == items[7].text


async def test_who_provides_an_item_goes_to_the_models_too(shop: Shop) -> None:
    """They learned from it: without it a new item lies elsewhere than it would have lain."""
    content = shop.sources["content"]
    item = t.Item(item_id="provided", title="Skyr", provider="north dairy")
    await upsert(shop, item)
    assert content.provided_by == ["north dairy"]
    item.provider = "south dairy"
    await upsert(shop, item)
    assert content.provided_by == ["north dairy", "south dairy"]


async def test_an_image_of_another_length_or_of_no_numbers_is_refused_by_name(shop: Shop) -> None:
    shop.sources["content"].image_width = 3
    for image, what in (
        ([1.0, 2.0], r"items\[0\].image_vector: 2 numbers, the model was trained with 3"),
        ([float("nan")] * 3, r"items\[0\].image_vector: holds NaN"),
        ([0.0] * 4097, r"items\[0\].image_vector: 4097 given"),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=what) as refused:
            await upsert(shop, t.Item(item_id="odd", image_vector=image))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_without_a_model_that_reads_images_an_item_is_placed_by_the_rest(shop: Shop) -> None:
    done = await upsert(shop, t.Item(item_id="seen", title="Skyr", image_vector=[1.0]))
    assert done.embedded_count == 1
