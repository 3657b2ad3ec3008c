"""What holds for every request, whatever the sources answered."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fusion.explain import explain
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.types import BURIED, NORMAL, PINNED, SUNK, Query
from tests.unit.fusion.builders import (
    ANY_SCORE,
    FINITE,
    ITEMS,
    ROW,
    SOURCES,
    candidate_lists,
    columns,
    floats,
    queries,
    query,
    rows,
    scored,
)

Candidates = dict[str, tuple[Any, Any]]
many = settings(max_examples=60)


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_nothing_is_lost_and_nothing_appears_twice(asked: Query, found: Candidates) -> None:
    pool = run(asked, build_pool(asked, found))
    named = {int(r) for listed, _ in found.values() for r in listed if 0 <= r < ITEMS}
    assert named <= set(pool.rows.tolist())
    assert len(set(pool.rows.tolist())) == len(pool.rows)
    dropped = np.flatnonzero(pool.dropped)
    assert sorted([*pool.order.tolist(), *dropped.tolist()]) == list(range(len(pool.rows)))


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_no_slate_holds_a_score_that_is_not_a_number(asked: Query, found: Candidates) -> None:
    pool = run(asked, build_pool(asked, found))
    assert np.isfinite(pool.total).all()
    assert np.isfinite(pool.weights).all()
    calibrated = pool.calibrated[~np.isnan(pool.calibrated)]
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_whatever_is_dropped_has_a_reason(asked: Query, found: Candidates) -> None:
    pool = run(asked, build_pool(asked, found))
    reasons = [pool.reasons[code] for code in pool.dropped[pool.dropped > 0]]
    assert all(reasons)
    hidden = set(pool.rows[pool.dropped > 0].tolist())
    assert {int(r) for r in asked.rules.exclude} & set(pool.rows.tolist()) <= hidden


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_pinned_come_first_and_buried_and_sunk_last(asked: Query, found: Candidates) -> None:
    pool = run(asked, build_pool(asked, found))
    tiers = pool.tier[pool.order]
    assert (np.diff(tiers) >= 0).all()
    pins = [int(r) for r in dict.fromkeys(asked.rules.pin.tolist())]
    shown = [r for r in pool.rows[pool.order].tolist() if r in pins]
    assert shown == [r for r in pins if r in shown]
    assert {PINNED, BURIED, SUNK} >= set(tiers.tolist()) - {NORMAL}


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_the_explained_parts_sum_to_the_score(asked: Query, found: Candidates) -> None:
    pool = run(asked, build_pool(asked, found))
    for told in explain(asked, pool, pool.order):
        fused = sum(c.calibrated * c.weight for c in told.contributions)
        total = fused + sum(value for _, value in told.adjustments)
        assert abs(total - told.score) < 1e-4
        shares = sum(c.share for c in told.contributions)
        assert abs(shares - (fused > 0)) < 1e-4


@many
@given(queries(), candidate_lists(ANY_SCORE))
def test_equal_requests_get_equal_slates(asked: Query, found: Candidates) -> None:
    first = run(asked, build_pool(asked, found))
    turned = {s: (r[::-1], v[::-1]) for s, (r, v) in reversed(found.items())}
    second = run(asked, build_pool(asked, turned))
    assert first.rows[first.order].tolist() == second.rows[second.order].tolist()


@many
@given(st.sets(st.sampled_from(SOURCES), min_size=1), st.lists(st.floats(0, 1), min_size=4))
def test_weights_sum_to_one_for_any_subset_of_sources(
    answering: set[str], weights: list[float]
) -> None:
    asked = query(weights=dict(zip(SOURCES, weights, strict=False)))
    found = scored(**{s: {1: 0.5, 2: 0.25} for s in answering})
    pool = run(asked, build_pool(asked, found))
    assert abs(float(pool.weights.sum()) - 1) < 1e-5
    silent = [i for i, s in enumerate(SOURCES) if s not in answering]
    assert (pool.weights[silent] == 0).all()


@many
@given(st.lists(st.floats(0, 1, width=32), min_size=ITEMS, max_size=ITEMS))
def test_without_any_answer_the_order_is_the_trends(trend: list[float]) -> None:
    unpopular = columns(popularity=np.zeros(ITEMS, np.float32))
    asked = query(trend=floats(*trend), limit=ITEMS, columns=unpopular)
    pool = run(asked, build_pool(asked, {}))
    assert pool.fallback
    ordered = asked.trend[pool.rows[pool.order]]
    assert len(ordered) == ITEMS
    assert (np.diff(ordered) <= 1e-6).all()


@many
@given(
    st.dictionaries(ROW, FINITE, min_size=2, max_size=12),
    st.dictionaries(ROW, FINITE, max_size=12),
    st.booleans(),
    st.data(),
)
def test_raising_a_score_never_lowers_a_candidate(
    first: dict[int, float], second: dict[int, float], known: bool, data: st.DataObject
) -> None:
    levels = (floats(0, 0.3, 0.6, 1), floats(-1e3, -5, 20, 1e3))
    asked = query(quantiles={"cf": levels} if known else {})
    raised_row = data.draw(st.sampled_from(sorted(first)))
    higher = data.draw(st.floats(first[raised_row], 2e3, width=32))
    before = run(asked, build_pool(asked, scored(cf=first, text=second)))
    raised = first | {raised_row: higher}
    after = run(asked, build_pool(asked, scored(cf=raised, text=second)))
    at = int(np.searchsorted(before.rows, raised_row))
    ahead_before = before.total[at] - before.total
    ahead_after = after.total[at] - after.total
    assert (ahead_after >= ahead_before - 1e-4).all()


def test_a_query_without_candidates_anywhere_gives_an_empty_slate() -> None:
    asked = query(surface="RANK")
    pool = run(asked, build_pool(asked, {}))
    assert pool.order.tolist() == []
    assert explain(asked, pool, rows()) == []
