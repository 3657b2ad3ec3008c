"""Explanations: numbers that add up and reasons a shopper can read."""

import numpy as np
import pytest

from gateway.fusion.explain import Explanation, explain, ranks, reason_text
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.reason import Reason
from gateway.fusion.types import Floats, Query, Rows
from tests.unit.fusion.builders import columns, floats, query, rows, rule_set, scored

NAN = float("nan")


def told(asked: Query, found: dict[str, tuple[Rows, Floats]]) -> dict[int, Explanation]:
    """Explanations by catalogue row."""
    pool = run(asked, build_pool(asked, found))
    return {e.row: e for e in explain(asked, pool, pool.order)}


def test_shares_say_how_much_of_the_fused_score_is_each_source() -> None:
    asked = query(weights={"cf": 0.75, "text": 0.25}, limit=1)
    found = scored(cf={1: 1.0, 2: 0.0}, text={1: 1.0, 3: 0.0})
    one = told(asked, found)[1]
    shares = {c.source: c.share for c in one.contributions}
    assert shares == pytest.approx({"cf": 0.75, "content": 0, "sequence": 0, "text": 0.25})
    assert [c.score for c in one.contributions] == [1.0, None, None, 1.0]
    assert [c.rank for c in one.contributions] == [1, 0, 0, 1]


def test_a_fallback_has_no_shares_but_a_named_term() -> None:
    found = told(query(limit=2), {})[0]
    assert all(c.share == 0 for c in found.contributions)
    assert [name for name, _ in found.adjustments] == ["fallback"]
    assert found.reason == Reason("popular")


def test_a_gateway_that_has_no_sources_explains_what_it_shows() -> None:
    found = told(query(sources=(), weights={}, limit=2), {})[0]
    assert (found.contributions, found.reason) == ((), Reason("popular"))


def test_ranks_count_from_one_and_skip_the_absent() -> None:
    scores = np.array([[0.1, NAN, 0.9], [NAN, NAN, NAN]], np.float32)
    everyone = np.arange(3, dtype=np.int32)
    assert ranks(scores, np.arange(3), everyone).tolist() == [[2, 0, 1], [0, 0, 0]]


def test_equal_scores_rank_by_key() -> None:
    scores = np.array([[0.5, 0.5, 0.9, 0.5]], np.float32)
    keys, some = np.array([30, 10, 5, 20]), np.array([0, 3, 1], np.int32)
    assert ranks(scores, keys, some).tolist() == [[4, 3, 2]]


def test_what_diversity_moved_is_told() -> None:
    vectors = np.eye(40, 8, dtype=np.float32)
    vectors[2] = vectors[1]
    asked = query(columns=columns(vectors=vectors), diversity=0.4, limit=3)
    found = told(asked, scored(cf={1: 1.0, 2: 0.95, 3: 0.6, 4: 0.0}))
    assert (found[1].moved, found[3].moved, found[2].moved) == (0, 1, -1)
    assert found[2].rules == ("diversity:-1",)


def near_three() -> Query:
    """Row 20 looks like row 3 and like nothing else."""
    vectors = np.eye(40, 40, dtype=np.float32)
    vectors[20] = vectors[3]
    return query(
        columns=columns(vectors=vectors),
        history=rows(3, 4),
        history_weight=floats(1, 1),
        history_bought=np.array([True, False]),
        limit=1,
    )


def test_the_reason_names_the_nearest_item_of_the_history() -> None:
    asked = near_three()
    found = told(asked, scored(cf={20: 1.0, 4: 0.5, 3: 0.4}))
    assert found[20].reason == Reason("because_bought", 3)
    assert found[4].reason == Reason("seen_before", 4)
    assert found[3].reason == Reason("buy_again", 3)


def test_no_item_is_its_own_reason() -> None:
    asked = near_three()._replace(
        surface="SESSION", session=rows(3, 4), session_weight=floats(1, 1)
    )
    found = told(asked, scored(cf={20: 1.0, 4: 0.5, 3: 0.4}))
    assert [found[row].reason.kind for row in (3, 4)] == ["buy_again", "seen_before"]
    assert found[20].reason == Reason("because_bought", 3)


@pytest.mark.parametrize(("bought", "kind"), [(True, "because_bought"), (False, "because_viewed")])
def test_what_a_session_bought_is_not_said_to_have_been_looked_at(bought: bool, kind: str) -> None:
    asked = near_three()._replace(
        surface="SESSION", session=rows(3), session_weight=floats(1), history=rows(3),
        history_weight=floats(1), history_bought=np.array([bought]),
    )  # fmt: skip
    assert told(asked, scored(cf={20: 1.0, 4: 0.5}))[20].reason == Reason(kind, 3)


@pytest.mark.parametrize("surface", ["HOME", "SESSION"])
def test_what_is_disliked_by_now_is_no_reason(surface: str) -> None:
    asked = near_three()._replace(
        surface=surface, session=rows(3, 4), session_weight=floats(1, 1),
        rules=rule_set(disliked=rows(3)),
    )  # fmt: skip
    found = told(asked, scored(cf={20: 1.0, 4: 0.5}))
    assert found[20].reason == Reason("popular")
    assert found[4].reason == Reason("seen_before", 4)


@pytest.mark.parametrize(("surface", "kind"), [("ITEM", "similar_to"), ("CART", "goes_with_cart")])
def test_surfaces_about_items_name_one_of_them(surface: str, kind: str) -> None:
    asked = query(surface=surface, context=rows(3, 4), limit=1)
    found = told(asked, scored(cf={20: 1.0}))
    vectors = asked.columns.vectors
    nearest = max((3, 4), key=lambda r: float(vectors[r] @ vectors[20]))
    assert found[20].reason == Reason(kind, nearest)


def test_a_search_result_matches_the_query() -> None:
    asked = query(surface="SEARCH", text="yogurt", limit=1)
    assert told(asked, scored(text={5: 1.0}))[5].reason == Reason("matches_query")


def test_what_is_searched_by_its_id_matches_though_no_source_names_it() -> None:
    asked = query(surface="SEARCH", text="109", named=rows(9), limit=1)
    found = told(asked, scored(text={5: 1.0}))[9]
    assert found.reason == Reason("matches_query")
    assert "item_id" in found.rules


def test_without_history_the_market_gives_the_reason() -> None:
    trend = np.zeros(40, np.float32)
    trend[7] = 0.9
    flat = columns(popularity=np.array([1.0, *[0.0] * 39], np.float32))
    asked = query(columns=flat, trend=trend, limit=1, is_new=lambda key: key == 109)
    found = told(asked, scored(cf={7: 1.0, 0: 0.5, 9: 0.1, 8: 0.0}))
    kinds = [found[r].reason.kind for r in (7, 0, 9, 8)]
    assert kinds == ["trending", "popular", "new", "offered"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("because_bought", 3), "Because you bought Oat Milk"),
        (Reason("because_viewed", 3), "Because you looked at Oat Milk"),
        (Reason("goes_with_cart", 3), "Goes with Oat Milk in your cart"),
        (Reason("similar_to", 3), "Similar to Oat Milk"),
        (Reason("matches_query"), 'Matches "oat {milk}"'),
        (Reason("buy_again", 3), "You bought this before"),
        (Reason("seen_before", 3), "You looked at this before"),
        (Reason("trending"), "Trending now"),
        (Reason("popular"), "Popular with other shoppers"),
        (Reason("new"), "New in the shop"),
        (Reason("offered"), "You might like this"),
    ],
)
def test_reasons_read_well(reason: Reason, text: str) -> None:
    assert reason_text(reason, "Oat Milk", "oat {milk}") == text
