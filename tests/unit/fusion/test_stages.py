"""What each stage does, one sentence at a time."""

import numpy as np
import pytest

from artifacts.formulas import calibrate, domain_log_ratio
from gateway.fusion.pipeline import STAGES, build_pool, run
from gateway.fusion.types import BoostRule, Floats, Pool, Query, Rows
from tests.unit.fusion.builders import columns, floats, query, rows, scored

NAN, INF = float("nan"), float("inf")


def slate(asked: Query, found: dict[str, tuple[Rows, Floats]]) -> list[int]:
    pool = run(asked, build_pool(asked, found))
    return [int(r) for r in pool.rows[pool.order]]


def why(pool: Pool) -> dict[int, str]:
    """Reason by catalogue row for what was dropped."""
    out = np.flatnonzero(pool.dropped)
    return {int(pool.rows[i]): pool.reasons[pool.dropped[i]] for i in out}


def test_of_duplicates_within_a_source_the_best_score_counts() -> None:
    found = {"cf": (rows(3, 5, 3), floats(0.2, 0.9, 0.7))}
    pool = build_pool(query(limit=1), found)
    assert pool.rows.tolist() == [3, 5]
    assert pool.scores[0].tolist() == pytest.approx([0.7, 0.9])
    assert np.isnan(pool.scores[1:]).all()


def test_rows_the_catalogue_lacks_are_skipped() -> None:
    pool = build_pool(query(limit=1), {"cf": (rows(-1, 2, 999), floats(5, 1, 5))})
    assert pool.rows.tolist() == [2]


def test_a_pin_joins_the_pool_although_no_source_named_it() -> None:
    asked = query({"pin": rows(9)}, limit=2)
    assert slate(asked, scored(cf={1: 2.0, 2: 1.0})) == [9, 1, 2]


def test_too_few_answers_are_followed_by_what_sells() -> None:
    asked = query(limit=5)
    assert slate(asked, scored(cf={30: 2.0, 31: 1.0})) == [30, 31, 0, 1, 2, 3, 4]


def test_a_filter_never_empties_the_shelf() -> None:
    asked = query({"domains": (1,)}, limit=3)
    shown = slate(asked, scored(cf={0: 2.0, 3: 1.0}))
    assert shown == [1, 4, 7]


def test_a_search_without_matches_stays_empty() -> None:
    asked = query(surface="SEARCH", text="nothing like it")
    assert slate(asked, scored(text={})) == []


def test_a_search_that_no_source_answered_shows_what_sells() -> None:
    assert slate(query(surface="SEARCH", limit=2), {}) == [0, 1]


def test_rank_adds_nothing_and_loses_nothing() -> None:
    asked = query({"pin": rows(9)}, surface="RANK", limit=1)
    pool = run(asked, build_pool(asked, scored(cf={3: 0.5}), rows(3, 20, 21)))
    assert sorted(pool.rows[pool.order].tolist()) == [3, 20, 21]


def test_an_infinite_score_counts_as_no_opinion_and_is_counted() -> None:
    found = scored(cf={1: INF, 2: 1.0, 3: 0.5}, text={1: 0.1, 2: 0.9})
    asked = query(limit=1)
    pool = run(asked, build_pool(asked, found))
    assert pool.invalid_scores == 1
    assert pool.rows[pool.order].tolist() == [2, 1, 3]


@pytest.mark.parametrize("bad", [NAN, INF, -INF, 3e38])
def test_a_candidate_left_without_a_score_sinks_but_is_not_lost(bad: float) -> None:
    asked = query({"boosts": (BoostRule("item", 1, 10.0, "boost:item"),)}, limit=1)
    assert slate(asked, scored(cf={1: bad, 2: 0.1, 3: 0.0})) == [2, 3, 1]


def test_min_max_and_quantiles_share_the_calibration() -> None:
    levels = (floats(0, 0.5, 1), floats(0, 10, 20))
    assert calibrate(floats(10, 20)[None], [levels])[0].tolist() == pytest.approx([0.25, 1.0])


@pytest.mark.parametrize("scores", [floats(5), floats(5, 5, 5)])
def test_one_score_or_equal_scores_get_their_quantile(scores: Floats) -> None:
    levels = (floats(0, 0.5, 1), floats(0, 10, 20))
    both = calibrate(np.stack([scores, scores]), [levels, None])
    assert both[0].tolist() == pytest.approx([0.25] * len(scores))
    assert both[1].tolist() == [0.5] * len(scores)


def test_what_stands_apart_sets_no_scale_and_stays_within_it() -> None:
    apart = np.array([True, False, False, True])
    (found,) = calibrate(floats(90, 20, 10, 0)[None], [None], apart)
    assert found.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "asked",
    [
        query({"exclude": rows(7)}, limit=1),
        query(surface="CART", context=rows(7), limit=1),
        query(surface="SESSION", session=rows(7), session_weight=floats(1), w_session=0, limit=1),
    ],
    ids=["excluded", "in the cart", "in the session"],
)
def test_what_is_no_alternative_does_not_squeeze_the_others(asked: Query) -> None:
    found = scored(cf={7: 9.0, 1: 1.0, 2: 0.0})
    pool = run(asked, build_pool(asked, found))
    assert pool.calibrated[0, np.isin(pool.rows, [1, 2])].tolist() == [1.0, 0.0]


def test_a_source_that_did_not_answer_leaves_its_weight_to_the_others() -> None:
    asked = query(weights={"cf": 0.6, "content": 0.2, "sequence": 0.1, "text": 0.1}, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={1: 1.0, 2: 0.0}, content={2: 1.0, 1: 0.0})))
    assert pool.weights.tolist() == pytest.approx([0.75, 0.25, 0, 0])
    assert pool.terms["fused"].tolist() == pytest.approx([0.75, 0.25])


def test_a_new_source_without_a_learned_weight_counts_when_it_is_alone() -> None:
    asked = query(weights={"cf": 1.0}, limit=1)
    assert slate(asked, scored(text={4: 0.1, 5: 0.9})) == [5, 4]


def test_a_learned_ranker_takes_the_place_of_the_convex_combination() -> None:
    def cheapest(asked: Query, pool: Pool) -> tuple[Floats, Floats]:
        price = asked.columns.price[pool.rows]
        return np.reciprocal(price), price[:, None]

    asked = query(ranker=cheapest, limit=1, trend=np.ones(40, np.float32), w_trend=0.1)
    found = scored(cf={7: 0.9, 3: 0.1, 5: 0.5})
    assert slate(asked, found) == [3, 5, 7]
    # It has weighed the market by itself.
    assert "trend" not in run(asked, build_pool(asked, found)).terms


def test_domains_that_follow_the_recent_one_rise() -> None:
    follows = np.zeros((3, 3), np.float32)
    follows[0, 1], follows[0, 2] = 1.0, -1.0
    asked = query(
        history=rows(0, 3),
        history_weight=floats(1, 1),
        domain_transition=follows,
        w_cross_domain=0.1,
        limit=1,
    )
    pool = run(asked, build_pool(asked, scored(cf={1: 1.0, 2: 1.0, 6: 1.0})))
    assert pool.terms["cross_domain"].tolist() == pytest.approx([0.1, -0.1, 0.0], abs=1e-6)


def test_the_cross_domain_term_fades_with_history_in_the_target_domain() -> None:
    follows = np.log(np.full((2, 2), 2.0, np.float32))
    new = domain_log_ratio(rows(0), floats(1), follows, fade=5.0)
    known = domain_log_ratio(rows(0, 1, 1, 1, 1, 1), np.ones(6, np.float32), follows, fade=5.0)
    assert new[1] == pytest.approx(np.log(2), rel=1e-5)
    assert known[1] == pytest.approx(np.log(2) / 2, rel=1e-5)


def test_one_event_in_the_session_lifts_what_resembles_it() -> None:
    vectors = np.eye(40, 8, dtype=np.float32)
    vectors[20] = vectors[3]
    asked = query(
        columns=columns(vectors=vectors, category=np.full(40, -1, np.int32)),
        session=rows(3),
        session_weight=floats(2.0),
        w_session=0.2,
        limit=1,
    )
    pool = run(asked, build_pool(asked, scored(cf={20: 0.5, 21: 0.5, 5: 0.5})))
    assert pool.rows[pool.order[0]] == 20
    assert pool.terms["session"].max() == pytest.approx(0.2 * 0.7)


def test_what_was_disliked_in_the_session_repels_its_kind() -> None:
    asked = query(session=rows(0), session_weight=floats(-1.0), w_session=0.2, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={5: 0.5, 6: 0.5})))
    same_category, other = pool.terms["session"]
    vectors = asked.columns.vectors
    assert same_category == pytest.approx(-0.2 * (0.7 * vectors[5] @ vectors[0] + 0.3), abs=1e-5)
    assert other == pytest.approx(-0.2 * 0.7 * vectors[6] @ vectors[0], abs=1e-5)


def test_the_dearest_of_its_category_costs_most() -> None:
    # Rows 0, 5, 10, ... are of one category, the higher the dearer; row 3 is of another.
    asked = query(w_cost=0.2, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={0: 0.5, 35: 0.5, 3: 0.5})))
    assert pool.rows.tolist() == [0, 3, 35]
    assert pool.terms["cost"].tolist() == pytest.approx([0, 0, -0.2])


def test_an_unknown_price_is_neither_cheap_nor_dear() -> None:
    price = columns().price.copy()
    price[35] = NAN
    asked = query(columns=columns(price=price), w_cost=0.2, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={0: 0.5, 35: 0.5})))
    assert pool.terms["cost"].tolist() == pytest.approx([0, -0.1])


def test_every_hard_rule_names_its_reason() -> None:
    price = columns().price.copy()
    price[7] = NAN
    available = np.ones(40, np.bool_)
    available[4] = False
    asked = query(
        {
            "exclude": rows(1),
            "purchased": rows(2),
            "disliked": rows(3),
            "min_price": 2.0,
            "max_price": 30.0,
            "categories": (0, 1, 2, 4),
            "domains": (0, 1),
            "brands": (0, 1, 2, 3, 4, 5),
        },
        surface="RANK",
        columns=columns(price=price, available=available),
    )
    every = dict.fromkeys([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 39], 1.0)
    pool = run(asked, build_pool(asked, scored(cf=every)))
    assert why(pool) == {
        0: "price",
        1: "excluded",
        2: "purchased",
        3: "disliked",
        4: "unavailable",
        5: "domain",
        6: "brand",
        7: "price_unknown",
        8: "category",
        39: "price",
    }
    assert pool.rows[pool.order].tolist() == [10]


def test_a_pin_does_not_save_what_a_hard_rule_forbids() -> None:
    asked = query({"pin": rows(5, 6), "exclude": rows(5)}, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={1: 1.0})))
    assert why(pool) == {5: "excluded"}
    assert pool.rows[pool.order].tolist() == [6, 1]


def test_the_items_a_surface_is_about_are_not_shown_again() -> None:
    asked = query(surface="CART", context=rows(1, 2), limit=1)
    pool = run(asked, build_pool(asked, scored(cf={1: 1.0, 2: 0.9, 3: 0.1})))
    assert why(pool) == {1: "context", 2: "context"}


def test_a_boost_adds_its_weight_and_is_named() -> None:
    label = "boost:category=B"
    asked = query({"boosts": (BoostRule("category", 1, 0.5, label),)}, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={1: 0.1, 2: 0.4, 3: 0.5})))
    assert pool.terms["boost"].tolist() == [0.5, 0, 0]
    assert pool.fired[label].tolist() == [True, False, False]


def test_a_boost_for_a_name_nobody_has_matches_nothing() -> None:
    catalogue = columns(brand=np.full(40, -1, np.int32))
    asked = query({"boosts": (BoostRule("brand", -1, 9.0, "b"),)}, columns=catalogue, limit=1)
    pool = run(asked, build_pool(asked, scored(cf={1: 0.1, 2: 0.4})))
    assert not pool.terms["boost"].any()


def test_buried_items_come_last_and_pins_keep_their_order() -> None:
    asked = query({"pin": rows(8, 4), "bury": rows(1)}, limit=1)
    assert slate(asked, scored(cf={1: 1.0, 2: 0.9, 4: 0.1, 3: 0.5})) == [8, 4, 2, 3, 1]


def test_what_is_searched_by_its_id_comes_first_behind_the_pins_and_never_against_a_rule() -> None:
    found = scored(text={1: 1.0, 2: 0.9})
    searched = {"surface": "SEARCH", "named": rows(7), "limit": 1}
    assert slate(query({"bury": rows(7)}, **searched), found) == [7, 1, 2]
    assert slate(query({"pin": rows(2, 7)}, **searched), found) == [2, 7, 1]
    assert slate(query({"pin": rows(2)}, **searched), found) == [2, 7, 1]
    assert slate(query({"exclude": rows(7)}, **searched), found) == [1, 2]


def test_near_copies_are_moved_apart() -> None:
    vectors = np.eye(40, 8, dtype=np.float32)
    vectors[2] = vectors[1]
    asked = query(columns=columns(vectors=vectors), diversity=0.4, limit=3)
    found = scored(cf={1: 1.0, 2: 0.95, 3: 0.6, 4: 0.0})
    assert slate(asked, found)[:3] == [1, 3, 2]


def test_search_results_are_not_moved_apart() -> None:
    vectors = np.ones((40, 8), np.float32) / np.sqrt(8).astype(np.float32)
    catalogue = columns(vectors=vectors)
    asked = query(columns=catalogue, surface="SEARCH", diversity=0.9, limit=3)
    assert slate(asked, scored(text={1: 1.0, 2: 0.9, 3: 0.8})) == [1, 2, 3]


PROVIDED = np.array([0, 0, 0, 0, 1] * 8, np.int32)


def test_no_provider_takes_more_places_than_its_share() -> None:
    asked = query(columns=columns(provider=PROVIDED), provider_share=0.6, limit=3)
    found = scored(cf={0: 1.0, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.1})
    assert slate(asked, found) == [0, 1, 4, 2, 3]


def test_pinned_items_count_among_their_provider_s_places() -> None:
    asked = query({"pin": rows(9, 1)}, columns=columns(provider=PROVIDED), provider_share=0.5,
                  limit=3)  # fmt: skip
    found = scored(cf={0: 1.0, 2: 0.8, 4: 0.1})
    assert slate(asked, found) == [9, 1, 0, 4, 2]


def test_home_takes_over_the_mix_of_domains_of_the_history() -> None:
    plain = query(history=rows(0, 3, 1), history_weight=floats(1, 1, 1), limit=3)
    found = scored(cf={0: 1.0, 3: 0.99, 6: 0.98, 9: 0.97, 1: 0.6, 4: 0.5, 2: 0.4})
    assert slate(plain, found)[:3] == [0, 3, 6]
    asked = plain._replace(domain_calibration=0.5)
    assert slate(asked, found)[:3] == [0, 1, 3]
    # An item's page is about the item, whatever its shopper usually buys.
    assert slate(asked._replace(surface="ITEM"), found)[:3] == [0, 3, 6]


def test_a_shop_of_one_domain_is_calibrated_by_its_categories() -> None:
    one = columns(domain=np.zeros(40, np.int32), domain_names=("ALL",))
    asked = query(columns=one, history=rows(0, 1), history_weight=floats(1, 1), limit=2,
                  domain_calibration=0.5)  # fmt: skip
    assert slate(asked, scored(cf={0: 1.0, 5: 0.9, 1: 0.5, 2: 0.4}))[:2] == [0, 1]


def test_ties_fall_to_the_more_popular_and_then_to_the_smaller_key() -> None:
    flat = columns(popularity=np.array([0.0] * 39 + [1.0], np.float32))
    asked = query(columns=flat, limit=1)
    assert slate(asked, scored(cf={5: 1.0, 39: 1.0, 2: 1.0})) == [39, 2, 5]


def test_every_stage_reports_its_time_in_order() -> None:
    seen: list[tuple[str, float]] = []
    asked = query()
    run(asked, build_pool(asked, {}), lambda name, seconds: seen.append((name, seconds)))
    assert [name for name, _ in seen] == [stage.__name__ for stage in STAGES]
    assert all(seconds >= 0 for _, seconds in seen)
