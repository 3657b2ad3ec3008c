"""Weights follow clicks: the step is the gradient's, within bounds, and finds what clicks say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fusion.adapt import (
    Bounds,
    Doubles,
    Evidence,
    Pace,
    begin,
    bounded,
    bounds_of,
    evidence_of,
    gradient,
    step,
    weights_of,
)
from gateway.fusion.pipeline import build_pool, run
from tests.unit.fusion.builders import query, scored

SOURCES, SHOWN = 3, 8
PACE = Pace(rate=0.06, examination=1.0)
Rng = np.random.Generator


def slate(rng: Rng, sources: int = SOURCES, shown: int = SHOWN) -> Evidence:
    return Evidence(
        keys=np.arange(1, shown + 1, dtype=np.int64),
        calibrated=rng.random((sources, shown), np.float32),
        offset=rng.random(shown, np.float32) * np.float32(0.1),
        answered=np.ones(sources, np.bool_),
        free=np.ones(shown, np.bool_),
    )


def likelihood(strengths: Doubles, shown: Evidence, place: int) -> float:
    """The log likelihood of a click, as the module's text says it."""
    weights, scale = weights_of(strengths), strengths.sum()
    logits = scale * (weights @ shown.calibrated + shown.offset)
    return float(logits[place] - np.log(np.exp(logits).sum()))


def test_the_gradient_is_that_of_the_log_likelihood() -> None:
    rng = np.random.default_rng(0)
    shown, strengths = slate(rng), rng.uniform(1, 5, SOURCES)
    found = gradient(strengths, shown, (2, SHOWN))
    for source in range(SOURCES):
        more, less = strengths.copy(), strengths.copy()
        more[source] += 1e-4
        less[source] -= 1e-4
        slope = (likelihood(more, shown, 2) - likelihood(less, shown, 2)) / 2e-4
        assert found[source] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.02, 1), min_size=2, max_size=5),
    st.lists(st.floats(1e-3, 50), min_size=5, max_size=5),
    st.floats(1, 20),
)
def test_weights_stay_within_bounds_and_sum_to_one(
    parts: list[float], strengths: list[float], factor: float
) -> None:
    learned = np.array(parts) / sum(parts)
    bounds = bounds_of(learned, factor)
    weights = weights_of(bounded(np.array(strengths[: len(parts)]), bounds))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= bounds.low - 1e-9).all()
    assert (weights <= bounds.high + 1e-9).all()


def test_what_is_outside_the_bounds_goes_to_the_nearest_within() -> None:
    def distance(one: Doubles, other: Doubles) -> float:
        return float((one * np.log(one / other)).sum())

    rng = np.random.default_rng(1)
    bounds = Bounds(np.array([0.1, 0.1, 0.1]), np.array([0.5, 0.5, 0.6]))
    outside = np.array([0.9, 0.06, 0.04])
    nearest = weights_of(bounded(10 * outside, bounds))
    others = rng.dirichlet(np.ones(3), 3_000)
    inside = [w for w in others if (w >= bounds.low).all() and (w <= bounds.high).all()]
    assert len(inside) > 500
    assert min(distance(w, outside) for w in inside) >= distance(nearest, outside) - 1e-9


def clicks(rng: Rng, truth: Doubles, strengths: Doubles, bounds: Bounds, count: int) -> Doubles:
    """Let shoppers of the true weights click on slates that the present weights order."""
    for _ in range(count):
        pool = rng.random((SOURCES, 40), np.float32)
        order = np.argsort(-(strengths @ pool))[:SHOWN]
        shown = slate(rng)._replace(calibrated=pool[:, order], offset=np.zeros(SHOWN, np.float32))
        wanted = int((20 * truth @ shown.calibrated + rng.gumbel(size=SHOWN)).argmax())
        if rng.random() < 1 / (wanted + 1):  # examined
            strengths = step(strengths, bounds, shown, (wanted, SHOWN), PACE)
    return strengths


def test_from_wrong_weights_clicks_lead_to_the_true_ones_and_noise_loses_its_say() -> None:
    rng = np.random.default_rng(2)
    truth, wrong = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
    bounds = bounds_of(wrong, 10)
    strengths = clicks(rng, truth, begin(wrong), bounds, 1_500)
    assert np.abs(weights_of(strengths) - truth).max() < 0.15
    # The best source answers noise from now on: nobody prefers what it says.
    worse = np.array([0.0, 0.75, 0.25])
    after = weights_of(clicks(rng, worse, strengths, bounds, 1_500))
    assert after[0] < 0.15
    assert after[1] > 0.55
    # And it comes back when it is well again.
    again = weights_of(clicks(rng, truth, after * 12, bounds, 1_500))
    assert np.abs(again - truth).max() < 0.15


def test_a_click_far_down_counts_for_those_who_did_not_look_but_never_without_bound() -> None:
    rng = np.random.default_rng(3)
    shown, strengths = slate(rng, shown=40), begin(np.full(SOURCES, 1 / SOURCES))
    bounds = bounds_of(np.full(SOURCES, 1 / SOURCES), 100)
    for place, times in ((0, 1), (3, 4), (39, 10)):
        found = gradient(strengths, shown, (place, 40))
        moved = step(strengths, bounds, shown, (place, 40), Pace(1e-4, 1.0))
        np.testing.assert_allclose(np.log(moved / strengths), 1e-4 * times * found, rtol=1e-6)


def test_places_that_rules_decided_and_sources_that_did_not_answer_teach_nothing() -> None:
    rng = np.random.default_rng(4)
    strengths = begin(np.full(SOURCES, 1 / SOURCES))
    bounds = bounds_of(np.full(SOURCES, 1 / SOURCES), 4)
    pinned = np.arange(SHOWN) != 0
    shown = slate(rng)._replace(free=pinned, answered=np.array([True, True, False]))
    assert step(strengths, bounds, shown, (0, SHOWN), PACE) is strengths
    assert gradient(strengths, shown, (1, SHOWN))[2] == 0
    other = shown.calibrated.copy()
    other[:, 0] = 1 - other[:, 0]
    same = gradient(strengths, shown._replace(calibrated=other), (1, SHOWN))
    np.testing.assert_array_equal(same, gradient(strengths, shown, (1, SHOWN)))


def test_evidence_is_what_a_ranking_was_ordered_by() -> None:
    asked = query(sources=("cf", "text"), weights={"cf": 0.75, "text": 0.25}, diversity=0.0)
    found = scored(cf={1: 0.9, 2: 0.5, 3: 0.1}, text={2: 1.0, 4: 0.5})
    pool = run(asked, build_pool(asked, found))
    evidence = evidence_of(asked, pool, 3)
    assert evidence is not None
    first = pool.order[:3]
    assert evidence.keys.tolist() == asked.columns.keys[pool.rows[first]].tolist()
    score = np.array([0.75, 0.25]) @ evidence.calibrated + evidence.offset
    np.testing.assert_allclose(score, pool.total[first], atol=1e-6)


def test_a_ranking_without_weights_is_no_evidence() -> None:
    asked = query(sources=("cf",), weights={"cf": 1.0})
    pool = run(asked, build_pool(asked, {}))
    assert pool.fallback
    assert evidence_of(asked, pool, 3) is None
    known = run(asked, build_pool(asked, scored(cf={1: 0.9, 2: 0.5})))
    assert evidence_of(asked, known._replace(learned=True), 3) is None
