"""What each surface is made from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.recommendation_service_pb2 import RankRequest, Shopper
from tests.integration.gateway.world import SOURCES, Shop, ids, open_shop, outcomes


def categories(answer: Any, count: int) -> set[str]:
    return {item.item.category for item in answer.items[:count]}


async def test_home_follows_what_the_shopper_bought(shop: Shop) -> None:
    assert categories(await shop.recommend("ann"), 5) == {"YOGURT"}
    assert categories(await shop.recommend("bob"), 5) == {"SOAP"}


async def test_a_card_shows_what_the_catalogue_knows(shop: Shop) -> None:
    answer = await shop.recommend("ann")
    first = answer.items[0]
    assert first.position == 1
    assert first.item.item_id == first.item_id
    assert first.item_key == int(first.item_id)
    assert first.item.title == f"Yogurt number {first.item_id}"
    assert first.item.attributes["size"] == f"{first.item_id} OZ"
    again = (await shop.recommend("ann")).items[0]
    assert again.item == first.item


async def test_every_source_is_named_with_its_version_and_part(shop: Shop) -> None:
    answer = await shop.recommend("ann")
    assert outcomes(answer) == dict.fromkeys(("cf", "content", "sequence", "text"), "ok")
    assert [s.model_version for s in answer.sources] == ["1"] * 4
    assert all(s.candidate_count > 0 and s.latency_ms > 0 for s in answer.sources)
    assert (answer.coverage.asked, answer.coverage.answered) == (4, 4)
    assert not answer.coverage.partial
    assert not answer.coverage.fallback


async def test_models_get_the_history_oldest_first_with_weights(shop: Shop) -> None:
    await shop.recommend("ann")
    asked = shop.sources["cf"].asked[-1]
    assert asked["history"].tolist() == [[6, 12, 18]]
    assert np.isfinite(asked["history_weight"]).all()
    assert asked["k"].tolist() == [200]


async def test_events_in_the_request_count_at_once_and_once(shop: Shop) -> None:
    event = t.Event(event_id="e1", item_id="3", type=t.EVENT_TYPE_PURCHASE)
    answer = await shop.recommend("new shopper", events=[event, event])
    assert categories(answer, 5) == {"SHAMPOO"}
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[3]]


async def test_item_is_about_the_item_and_does_not_show_it(shop: Shop) -> None:
    answer = await shop.recommend("ann", t.SURFACE_ITEM, item_ids=["4"], page_size=200)
    assert categories(answer, 5) == {"APPLES"}
    assert "4" not in ids(answer)
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[4]]


async def test_cart_goes_with_its_content_and_shows_none_of_it(shop: Shop) -> None:
    answer = await shop.recommend("ann", t.SURFACE_CART, item_ids=["4", "10"], page_size=200)
    assert not {"4", "10"} & set(ids(answer))
    assert categories(answer, 3) == {"APPLES"}


async def test_session_reads_this_session_only(shop: Shop) -> None:
    seen = t.Event(item_id="5", type=t.EVENT_TYPE_CLICK)
    answer = await shop.recommend("ann", t.SURFACE_SESSION, events=[seen])
    assert categories(answer, 5) == {"BANANAS"}
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[5]]


async def test_a_session_is_shown_what_it_has_not_seen_before_what_it_has(shop: Shop) -> None:
    seen = [t.Event(item_id=i, type=t.EVENT_TYPE_VIEW) for i in ("5", "11")]
    asked: dict[str, Any] = {"events": seen, "page_size": 200, "explain": True}
    answer = await shop.recommend("ann", t.SURFACE_SESSION, **asked)
    assert set(ids(answer)[-2:]) == {"5", "11"}
    assert [i.item_id for i in answer.items if "seen" in i.explanation.rules] == ids(answer)[-2:]
    first = t.Rules(pin_item_ids=["11"])
    pinned = await shop.recommend("ann", t.SURFACE_SESSION, rules=first, **asked)
    assert ids(pinned)[0] == "11"


async def test_an_unknown_user_gets_the_markets_trends_and_no_error(shop: Shop) -> None:
    answer = await shop.recommend("never seen")
    assert len(answer.items) == 20
    assert answer.items[0].item_id == "33"  # the crowd bought it an hour ago
    assert answer.coverage.fallback
    assert answer.coverage.asked == 0
    assert set(outcomes(answer).values()) == {"skipped"}


async def test_an_anonymous_shopper_in_an_unknown_market_is_served_too(shop: Shop) -> None:
    answer = await shop.recommend("", market="nowhere")
    assert len(answer.items) == 20
    assert answer.coverage.fallback


async def test_unknown_items_in_a_request_are_ignored_and_counted(shop: Shop) -> None:
    events = [t.Event(item_id=i, type=t.EVENT_TYPE_VIEW) for i in ("nothing", "also-nothing", "3")]
    answer = await shop.recommend("new", events=events)
    assert answer.unknown_item_count == 2
    assert categories(answer, 3) == {"SHAMPOO"}


async def test_an_unknown_item_to_be_similar_to_gives_trends(shop: Shop) -> None:
    answer = await shop.recommend("ann", t.SURFACE_ITEM, item_ids=["nothing"])
    assert answer.unknown_item_count == 1
    assert answer.coverage.fallback
    assert answer.items


async def test_a_dislike_hides_the_item_and_is_not_told_to_the_models(shop: Shop) -> None:
    dislike = t.Event(item_id="12", type=t.EVENT_TYPE_DISLIKE)
    answer = await shop.recommend("ann", events=[dislike], page_size=200)
    assert "12" not in ids(answer)
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[6, 12, 18]]


async def test_explanations_add_up_and_can_be_read(shop: Shop) -> None:
    answer = await shop.recommend("ann", explain=True)
    for item in answer.items:
        explanation = item.explanation
        assert [c.source for c in explanation.contributions] == list(shop.sources)
        assert sum(c.share for c in explanation.contributions) == pytest.approx(1, abs=1e-4)
        fused = sum(c.weight * c.calibrated for c in explanation.contributions)
        rest = sum(a.value for a in explanation.adjustments)
        assert fused + rest == pytest.approx(item.score, abs=1e-4)
    assert answer.items[0].explanation.reason.startswith(
        ("Because you bought Yogurt", "You bought")
    )


async def test_a_fallback_can_be_explained_too(shop: Shop) -> None:
    answer = await shop.recommend("nobody", explain=True)
    assert answer.items[0].explanation.reason == "Trending now"


async def test_rank_orders_the_callers_own_items_and_loses_none(shop: Shop) -> None:
    given = ["2", "nothing", "6", "3", "12", "2"]
    answer = await shop.recommendations.Rank(
        RankRequest(shopper=Shopper(user_id="ann"), item_ids=given)
    )
    assert sorted(ids(answer)) == sorted(set(given))
    assert set(ids(answer)[:2]) == {"6", "12"}
    assert ids(answer)[-1] == "nothing"
    assert not answer.items[-1].HasField("item")
    assert answer.unknown_item_count == 1
    assert shop.sources["cf"].asked[-1]["candidates"].tolist() == [[2, 6, 3, 12]]


async def test_rank_of_unknown_items_alone_keeps_them_and_blames_no_source(shop: Shop) -> None:
    given = ["nothing", "nowhere"]
    answer = await shop.recommendations.Rank(
        RankRequest(shopper=Shopper(user_id="ann"), item_ids=given, query="soap", explain=True)
    )
    assert ids(answer) == given
    assert [item.position for item in answer.items] == [1, 2]
    assert set(outcomes(answer).values()) == {"skipped"}
    assert not any(source.asked for source in shop.sources.values())
    assert not answer.coverage.partial


async def test_rank_for_nobody_keeps_every_item(shop: Shop) -> None:
    given = [str(n) for n in range(1, 31)]
    answer = await shop.recommendations.Rank(RankRequest(item_ids=given))
    assert sorted(ids(answer)) == sorted(given)
    assert answer.coverage.fallback


async def test_rank_with_a_query_asks_the_text_source_with_it(shop: Shop) -> None:
    await shop.recommendations.Rank(RankRequest(item_ids=["1", "2"], query="soap"))
    assert shop.sources["text"].asked[-1]["query"].tolist() == [[b"soap"]]
    assert not shop.sources["cf"].asked


async def test_a_surface_does_without_the_sources_it_is_told_to(directory: Path) -> None:
    async with open_shop(directory, not_asked=("HOME=text", "RANK=cf")) as shop:
        answer = await shop.recommend("ann")
        assert outcomes(answer) == {**dict.fromkeys(SOURCES, "ok"), "text": "skipped"}
        (text,) = (s for s in answer.sources if s.source == "text")
        assert text.detail == "not asked on this surface"
        assert not answer.coverage.partial
        assert shop.sources["text"].asked == []
        other = await shop.recommend("ann", t.SURFACE_CART, item_ids=["4"])
        assert outcomes(other) == dict.fromkeys(SOURCES, "ok")


async def test_only_what_came_since_the_models_learned_is_called_new(shop: Shop) -> None:
    """Item 60 has never been bought, and has been here as long as all others."""
    await shop.catalog.UpsertItems(UpsertItemsRequest(items=[t.Item(item_id="late")]))
    given = ["60", "late"]
    answer = await shop.recommendations.Rank(RankRequest(item_ids=given, explain=True))
    reasons = {item.item_id: item.explanation.reason for item in answer.items}
    assert reasons == {"60": "You might like this", "late": "New in the shop"}


def unread_histories() -> float:
    labels = {"surface": "HOME"}
    counted = REGISTRY.get_sample_value("plait_unread_histories_total", labels)
    assert counted is not None, "it is there before the first"
    return counted


async def test_an_answer_says_where_the_shoppers_events_could_not_be_read(
    shop: Shop,
) -> None:
    """What was disliked may be in it, and a storefront can ask again."""
    before = unread_histories()
    well = await shop.recommend("ann")
    state = shop.application._state
    assert state is not None
    state.store._use().reader.close()
    known, unread, stranger = [await shop.recommend(who) for who in ("ann", "bob", "")]
    assert unread.items
    told = [one.coverage.history_unread for one in (well, known, unread, stranger)]
    assert told == [False, False, True, False]
    assert unread_histories() == before + 1


async def test_a_next_page_says_that_what_was_disliked_since_could_not_be_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await shop.recommend("bob", page_size=5)
    state = shop.application._state
    assert state is not None
    state.trails._trails.clear()  # others were there since
    monkeypatch.setattr(state.store, "_opened", None)  # as while it is being repaired
    unread = await shop.recommend("bob", page_size=5, page_token=first.next_page_token)
    monkeypatch.undo()
    well = await shop.recommend("bob", page_size=5, page_token=first.next_page_token)
    told = [one.coverage.history_unread for one in (first, unread, well)]
    assert told == [False, True, False]
