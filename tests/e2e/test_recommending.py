"""A storefront asks; five processes answer."""

import json
from typing import Any

import pytest

from cli.failures import UserError
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import (
    RankRequest,
    RecommendRequest,
    SearchRequest,
    Shopper,
)
from tests.e2e.conftest import Ground, Processes, plait


def ids(items: object) -> list[str]:
    return [item.item_id for item in items]  # type: ignore[attr-defined]


def test_a_known_household_gets_a_full_page_from_all_models_that_read_histories(
    five: Processes, ground: Ground
) -> None:
    answer = five.home(ground.cast.household, page_size=20)
    assert len(answer.items) == 20
    assert [item.position for item in answer.items] == list(range(1, 21))
    assert not answer.coverage.partial
    assert not answer.coverage.fallback
    used = {s.source for s in answer.sources if s.outcome == t.SOURCE_OUTCOME_OK}
    assert {"cf", "content", "sequence"} <= used
    assert all(item.item.title for item in answer.items)


def test_the_shares_of_the_models_sum_to_one_and_each_item_has_a_reason(
    five: Processes, ground: Ground
) -> None:
    answer = five.home(ground.cast.household, explain=True)
    for item in answer.items:
        shares = [c.share for c in item.explanation.contributions]
        assert sum(shares) == pytest.approx(1.0, abs=1e-3)
        assert min(shares) >= 0
        assert item.explanation.reason


def test_a_shopper_nobody_knows_gets_an_answer_that_says_it_is_a_fallback(five: Processes) -> None:
    answer = five.home("never-seen-1")
    assert len(answer.items) == 20
    assert answer.coverage.fallback
    assert five.home("").items


def test_three_events_in_the_request_are_enough_for_a_personal_answer(
    five: Processes, ground: Ground
) -> None:
    seen = ground.cast.newcomer
    events = [t.Event(item_id=p.item_id, type=t.EVENT_TYPE_CART) for p in seen]
    answer = five.home("never-seen-2", *events)
    assert not answer.coverage.fallback
    with_events = sum(item.item.category == seen[0].category for item in answer.items)
    without = sum(item.item.category == seen[0].category for item in five.home("x").items)
    assert with_events > without


def test_a_recorded_purchase_changes_the_very_next_answer(five: Processes, ground: Ground) -> None:
    before = five.home("event-user", page_size=50)
    event = t.Event(
        user_id="event-user", item_id=ground.cast.purchase.item_id, type=t.EVENT_TYPE_PURCHASE
    )
    recorded = five.gateway.call(
        five.gateway.events.RecordEvents, RecordEventsRequest(events=[event])
    )
    assert recorded.recorded_count == 1
    after = five.home("event-user", page_size=50)
    assert ids(after.items) != ids(before.items)
    assert before.coverage.fallback
    assert not after.coverage.fallback


def test_pages_of_one_ranking_neither_repeat_nor_skip(five: Processes, ground: Ground) -> None:
    first = five.home(ground.cast.household, page_size=7)
    second = five.recommend(
        RecommendRequest(
            shopper=Shopper(user_id=ground.cast.household),
            surface=t.SURFACE_HOME,
            page_size=7,
            page_token=first.next_page_token,
        )
    )
    assert second.ranking_id == first.ranking_id
    assert [item.position for item in second.items] == list(range(8, 15))
    assert not set(ids(first.items)) & set(ids(second.items))


def test_similar_items_and_a_cart_leave_out_what_was_given(five: Processes, ground: Ground) -> None:
    given = ground.cast.similar_to.item_id
    similar = five.recommend(RecommendRequest(surface=t.SURFACE_ITEM, item_ids=[given]))
    cart_ids = [item.item_id for item in ground.cast.cart]
    cart = five.recommend(RecommendRequest(surface=t.SURFACE_CART, item_ids=cart_ids))
    assert similar.items
    assert cart.items
    assert given not in ids(similar.items)
    assert not set(cart_ids) & set(ids(cart.items))


def test_a_search_finds_what_it_names_in_an_order_that_fits_the_shopper(
    five: Processes, ground: Ground
) -> None:
    orders = []
    for lover in ground.cast.lovers:
        answer = five.gateway.call(
            five.gateway.recommendations.Search,
            SearchRequest(shopper=Shopper(user_id=lover.user_id), query="yogurt"),
        )
        assert answer.items
        assert all("yogurt" in item.item.title.lower() for item in answer.items[:5])
        assert any(s.source == "text" and s.outcome == t.SOURCE_OUTCOME_OK for s in answer.sources)
        orders.append(ids(answer.items))
    assert orders[0] != orders[1]


def test_candidates_of_ones_own_are_ordered_and_none_is_lost(
    five: Processes, ground: Ground
) -> None:
    given = ground.data.items["item_id"].head(30).to_list()
    answer = five.gateway.call(
        five.gateway.recommendations.Rank,
        RankRequest(shopper=Shopper(user_id=ground.cast.household), item_ids=given),
    )
    assert sorted(ids(answer.items)) == sorted(given)


def test_rules_hold_in_every_item_shown(five: Processes, ground: Ground) -> None:
    free = five.home(ground.cast.household, page_size=50)
    banned = free.items[0].item_id
    rules = t.Rules(exclude_item_ids=[banned], min_price=1.0, max_price=3.0)
    answer = five.home(ground.cast.household, page_size=50, rules=rules)
    assert answer.items
    assert banned not in ids(answer.items)
    assert all(1.0 <= item.item.price <= 3.0 for item in answer.items)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 100_000}, "page_size"),
        ({"rules": t.Rules(min_price=-1.0)}, "min_price"),
        ({"rules": t.Rules(max_price=float("nan"))}, "max_price"),
        ({"diversity": 7.0}, "diversity"),
    ],
    ids=str,
)
def test_a_bad_field_is_refused_by_name(
    five: Processes, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(UserError, match=named):
        five.home("anybody", **fields)


@pytest.mark.parametrize("name", ["recommend", "search", "rank", "similar", "event", "models"])
def test_commands_answer_with_json(five: Processes, ground: Ground, name: str) -> None:
    item = ground.cast.similar_to.item_id
    arguments = {
        "recommend": ["recommend", ground.cast.household, "--explain"],
        "search": ["search", "yogurt"],
        "rank": ["rank", ground.cast.household, item, ground.cast.purchase.item_id],
        "similar": ["similar", item],
        "event": ["event", "cli-user", "view", item],
        "models": ["models"],
    }[name]
    where = ["--gateway", five.address]
    if name == "models":
        where = [
            part
            for e in five.topology.all
            for part in ("--at", f"{e.name}={e.address}/{e.metrics_port}")
        ]
    done = plait(*arguments, *where, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    if name == "models":
        assert [process["health"] for process in answer] == ["serving"] * 5
        assert all(process["versions"] for process in answer)
    elif name == "event":
        assert answer["recorded_count"] == 1
    else:
        assert answer["items"]
