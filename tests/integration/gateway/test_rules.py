"""Rules hold on every surface, and never empty a shelf that they allow to be filled."""

from pathlib import Path
from typing import Any

import pytest

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RankRequest, Shopper
from tests.integration.gateway.world import Shop, ids, open_shop


async def test_excluded_and_purchased_items_are_left_out(shop: Shop) -> None:
    rules = t.Rules(exclude_item_ids=["24"], exclude_purchased=True)
    answer = await shop.recommend("ann", rules=rules, page_size=200)
    assert not {"24", "6", "12", "18"} & set(ids(answer))
    free = await shop.recommend("ann", page_size=200)
    assert {"24", "6", "12", "18"} <= set(ids(free))


async def test_a_price_range_holds(shop: Shop) -> None:
    answer = await shop.recommend("ann", rules=t.Rules(min_price=2, max_price=4), page_size=200)
    assert answer.items
    assert all(2 <= item.item.price <= 4 for item in answer.items)


@pytest.mark.parametrize(
    ("rules", "field", "value"),
    [
        (t.Rules(categories=["SOAP"]), "category", "SOAP"),
        (t.Rules(domains=["PRODUCE"]), "domain", "PRODUCE"),
        (t.Rules(brands=["brand 1"]), "brand", "brand 1"),
    ],
    ids=["category", "domain", "brand"],
)
async def test_only_what_is_allowed_is_shown(
    shop: Shop, rules: t.Rules, field: str, value: str
) -> None:
    answer = await shop.recommend("ann", rules=rules, page_size=10)
    assert len(answer.items) == 10
    assert {getattr(item.item, field) for item in answer.items} == {value}


async def test_a_page_is_filled_from_what_sells_where_sources_name_too_little(shop: Shop) -> None:
    def two(outputs: dict[str, Any]) -> dict[str, Any]:
        return {name: array[:, :2] for name, array in outputs.items()}

    for source in shop.sources.values():
        source.mangle = two
    answer = await shop.recommend("ann", rules=t.Rules(exclude_purchased=True))
    assert len(answer.items) == 20
    assert len(set(ids(answer))) == 20
    assert not answer.coverage.fallback


async def test_rules_that_allow_nothing_give_an_empty_shelf_and_no_error(shop: Shop) -> None:
    answer = await shop.recommend("ann", rules=t.Rules(categories=["NO SUCH CATEGORY"]))
    assert not answer.items
    assert not answer.next_page_token


async def test_pins_lead_in_their_order_and_buried_items_close(shop: Shop) -> None:
    rules = t.Rules(pin_item_ids=["59", "nothing", "1"], bury_item_ids=["6"])
    answer = await shop.recommend("ann", rules=rules, page_size=200)
    assert ids(answer)[:2] == ["59", "1"]
    assert ids(answer)[-1] == "6"


async def test_a_boost_lifts_and_says_so(shop: Shop) -> None:
    rules = t.Rules(boosts=[t.Boost(category="SOAP", weight=3)])
    answer = await shop.recommend("ann", rules=rules, explain=True)
    assert answer.items[0].item.category == "SOAP"
    assert "boost:category=SOAP" in answer.items[0].explanation.rules


async def test_what_was_left_out_is_named_with_its_reason(shop: Shop) -> None:
    rules = t.Rules(exclude_item_ids=["24"], exclude_purchased=True)
    answer = await shop.recommend("ann", rules=rules, explain=True)
    reasons = {item.item_id: item.reason for item in answer.dropped}
    assert reasons["24"] == "excluded"
    assert reasons["12"] == "purchased"


async def test_what_is_left_out_does_not_cost_a_source_its_candidates(directory: Path) -> None:
    rules = t.Rules(exclude_item_ids=["24"], exclude_purchased=True)
    async with open_shop(directory, candidates=4) as shop:
        answer = await shop.recommend("ann", rules=rules, page_size=4, explain=True)
        asked = {
            int(source.asked[-1]["k"].item()) for source in shop.sources.values() if source.asked
        }
        free = await shop.recommend("ann", page_size=4)
        usual = {
            int(source.asked[-1]["k"].item()) for source in shop.sources.values() if source.asked
        }
    assert {s.candidate_count for s in answer.sources if s.source != "text"} == {4}
    assert {s.candidate_count for s in free.sources if s.source != "text"} == {4}
    # Three bought and one excluded.
    assert (asked, usual) == ({8}, {4})
    assert {"purchased", "excluded"} >= {item.reason for item in answer.dropped} != set()


async def test_what_is_sold_out_does_not_cost_a_source_its_candidates(directory: Path) -> None:
    async with open_shop(directory, candidates=10) as shop:
        gone = [t.Item(item_id=str(n), title="gone", available=False) for n in range(1, 46)]
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=gone))
        answer = await shop.recommend("ann", page_size=10, explain=True)
        wanted = int(shop.sources["cf"].asked[-1]["k"].item())
        all_of_them = t.Rules(include_unavailable=True)
        await shop.recommend("ann", page_size=10, rules=all_of_them)
        usual = int(shop.sources["cf"].asked[-1]["k"].item())
        found = await shop.search("number", page_size=10)
    # A quarter of the shop is left: five are asked for to have one, or about that.
    assert (wanted, usual) == (50, 10)
    assert min(s.candidate_count for s in answer.sources if s.source != "text") > 6
    assert len(answer.items) == 10
    assert {item.reason for item in answer.dropped} == {"unavailable"}
    assert len(found.items) == 10


@pytest.mark.parametrize(
    "rules",
    [t.Rules(categories=["APPLES"]), t.Rules(domains=["PRODUCE"], brands=["brand 0", "brand 2"])],
)
async def test_a_page_of_one_department_is_the_models_not_of_best_sellers(
    directory: Path, rules: t.Rules
) -> None:
    async with open_shop(directory, candidates=9) as shop:
        answer = await shop.recommend("ann", page_size=9, rules=rules, explain=True)
    assert min(s.candidate_count for s in answer.sources if s.source != "text") > 6
    told = [[c.rank for c in item.explanation.contributions] for item in answer.items]
    assert all(any(ranks) for ranks in told)
    assert {item.reason for item in answer.dropped} <= {"category", "domain", "brand"}


@pytest.mark.parametrize("by_words", [False, True])
async def test_what_was_bought_does_not_shorten_a_search(directory: Path, by_words: bool) -> None:
    rules = t.Rules(exclude_purchased=True)
    async with open_shop(directory, candidates=3) as shop:
        if by_words:
            await shop.sources["text"].stop()
        first = await shop.search("yogurt number", "ann", page_size=3)
        bought = [t.Event(user_id="ann", item_id=i, type=t.EVENT_TYPE_PURCHASE) for i in ids(first)]
        await shop.events.RecordEvents(RecordEventsRequest(events=bought))
        again = await shop.search("yogurt number", "ann", page_size=3, rules=rules)
    assert len(again.items) == 3
    assert {i.item.category for i in again.items} == {"YOGURT"}
    assert not set(ids(first)) & set(ids(again))


async def test_rules_and_dislikes_hold_for_what_the_catalogue_lacks_too(shop: Shop) -> None:
    """Rank puts what it does not know behind the rest, but nothing that must not be shown."""
    given = ["6", "nothing", "nowhere", "never", "none"]
    did = [
        t.Event(item_id="nowhere", type=t.EVENT_TYPE_DISLIKE),
        t.Event(item_id="never", type=t.EVENT_TYPE_PURCHASE),
    ]

    async def ranked(**rules: Any) -> tuple[list[str], dict[str, str]]:
        shopper, hard = Shopper(user_id="new", events=did), t.Rules(**rules)
        answer = await shop.recommendations.Rank(
            RankRequest(shopper=shopper, item_ids=given, rules=hard, explain=True)
        )
        assert answer.unknown_item_count == 6
        return ids(answer), {item.item_id: item.reason for item in answer.dropped}

    assert await ranked() == (["6", "nothing", "never", "none"], {"nowhere": "disliked"})
    assert await ranked(exclude_item_ids=["none"], exclude_purchased=True) == (
        ["6", "nothing"],
        {"nowhere": "disliked", "never": "purchased", "none": "excluded"},
    )
    for reason, rules in (
        ("price_unknown", {"max_price": 9}),
        ("category", {"categories": ["YOGURT"]}),
        ("domain", {"domains": ["GROCERY"]}),
        ("brand", {"brands": ["brand 2"]}),
    ):
        shown, dropped = await ranked(**rules)
        assert shown == ["6"]
        assert dropped["nothing"] == reason
