"""Learning the fusion: the tuning computes what serving computes, and finds what is there."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.formulas import Floats
from cli.offline import columns_of
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.types import Query
from gateway.history import HistorySettings, history_for
from gateway.trails import EMPTY
from gateway.types import Ask, EventType, Trail
from models.evaluate.popularity import PopularityEngine
from models.evaluate.ranking import Asking, Lists, padded_history
from models.evaluate.task import make_task
from models.fusion import learn
from models.fusion.cases import TERMS, Setting, build_cases
from models.fusion.catalogue import make_catalogue
from models.fusion.config import Config, Window
from models.fusion.domains import learn_domains
from models.fusion.search import Found, blend, mean_ndcg, search, simplex
from models.fusion.variety import Afforded, Question
from models.progress import silent
from models.validation import hold_out
from tests.support.shop import shop
from tests.unit.fusion.builders import ITEMS, SOURCES, columns, query
from tests.unit.fusion.learning import NOW, case, catalogue, events, one_question
from tests.unit.fusion.test_artifact import artifact

ROW_SCORES = st.dictionaries(
    st.integers(0, ITEMS - 1), st.floats(-50, 50, width=32), min_size=1, max_size=8
)


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(SOURCES), ROW_SCORES, min_size=1),
    st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6),
    # Four digits, as weights are kept.
    st.lists(st.integers(0, 10_000).map(lambda n: n / 10_000), min_size=4, max_size=4),
    st.booleans(),
    st.integers(0, 99),
)
def test_the_tuning_scores_as_the_stages_do(
    answers: dict[str, dict[int, float]],
    history: list[int],
    weights: list[float],
    in_session: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.normal(0, 20, 11)).astype(np.float32)
    quantiles = {"cf": (np.linspace(0, 1, 11, dtype=np.float32), levels)}
    transition = rng.normal(size=(3, 3)).astype(np.float32)
    trend = rng.random(ITEMS).astype(np.float32)
    task = one_question(history, [0])
    lists = {}
    for source in SOURCES:
        found = answers.get(source, {})
        keys = np.zeros((1, 10), np.int64)
        scores = np.full((1, 10), np.nan, np.float32)
        keys[0, : len(found)] = columns().keys[list(found)]
        scores[0, : len(found)] = list(found.values())
        lists[source] = Lists(keys, scores)
    setting = Setting(
        catalogue(),
        quantiles,
        Asking(),
        transition,
        trends=lambda market, now: trend,
        session=5 if in_session else 0,
    )
    case = build_cases(task, lists, SOURCES, setting)[0]
    terms = np.array([0.1, 0.2, 0.3], np.float32)
    tuned = blend(case, np.array([weights], np.float32), terms[None])[0]

    rows = np.array(history, np.int32)
    none = np.zeros(0, np.int32)
    steps = np.float32(0.85) ** np.arange(min(len(rows), 5) - 1, -1, -1, dtype=np.float32)
    asked: Query = query(
        surface="RANK",
        history=rows,
        history_weight=task.history_weight,
        session=rows[-5:] if in_session else none,
        session_weight=steps * task.history_weight[-5:] if in_session else steps[:0],
        weights=dict(zip(SOURCES, weights, strict=True)),
        quantiles=quantiles,
        domain_transition=transition,
        trend=trend,
        w_trend=0.1,
        w_cross_domain=0.2,
        w_session=0.3,
    )
    by_source = {
        source: (np.array(list(found), np.int32), np.array(list(found.values()), np.float32))
        for source, found in answers.items()
    }
    served = run(asked, build_pool(asked, by_source))
    np.testing.assert_allclose(tuned, served.total, atol=2e-5)


def test_histories_weigh_as_in_the_gateway() -> None:
    kinds = ["view", "click", "cart", "purchase", "like", "purchase"]
    ages = [400, 90, 60, 30, 1, 0]
    table = events(
        [
            {"item_key": 100 + i, "type": kind, "time": NOW - timedelta(days=age), "order": i}
            for i, (kind, age) in enumerate(zip(kinds, ages, strict=True))
        ]
    )
    task = make_task(table, events([{"item_key": 120, "time": NOW}]))
    keys, weight = padded_history(task, np.array([0]), Asking())
    trail: Trail = replace(
        EMPTY,
        keys=table["item_key"].to_numpy(),
        types=np.array([EventType[kind.upper()] for kind in kinds], np.int8),
        times=table["time"].dt.epoch("ms").to_numpy(),
        ids=np.zeros(len(kinds), np.int64),
    )
    now_ms = round(NOW.timestamp() * 1000)
    served = history_for(Ask("HOME"), trail, now_ms, HistorySettings(200, 60.0, 0.2, 30.0))
    assert keys[0].tolist() == served.keys.tolist()
    np.testing.assert_allclose(weight[0], served.weights, atol=1e-6)


def test_the_search_finds_the_source_that_knows() -> None:
    rng = np.random.default_rng(0)
    cases = [case(1, 3, rng) for _ in range(80)]
    found = search(cases, 3, (), k=10)
    assert found.weights.argmax() == 1
    assert found.weights.sum() == pytest.approx(1)
    # It alone is ahead of any blend in which the others keep their usual part.
    assert found.weights.min() == pytest.approx(0.0002)
    assert found.ndcg > 0.8 * found.alone[1] > found.alone[0]


def test_a_source_that_no_other_helps_has_nearly_all_of_the_weight() -> None:
    """It errs, so that samples find blends that chance favours; cases they lack tell."""
    rng = np.random.default_rng(4)
    cases = [case(0, 3, rng) for _ in range(520)]
    for one in cases:
        one.calibrated[:] = rng.random(one.calibrated.shape)
        one.calibrated[0] += 0.5 * one.target
    found = search(cases[:120], 3, (), k=10)
    assert found.weights[0] > 0.98
    # What it leaves to the others says in what order they come where it does not answer.
    assert (found.weights[1:] > 0).all()
    nothing = np.zeros((2, len(TERMS)), np.float32)
    both = np.stack([found.weights, np.eye(3, dtype=np.float32)[0]])
    ours, alone = mean_ndcg(cases[120:], both, nothing, 10)
    assert ours == pytest.approx(alone, rel=0.01)


def test_one_case_more_or_less_does_not_decide_which_of_two_sources_weighs() -> None:
    """Of few cases each source knows half: the best of the grid gives one all, then the other."""
    rng = np.random.default_rng(3)
    cases = [case(number % 2, 2, rng) for number in range(12)]
    blends = [search(some, 2, (), k=10).weights[0] for some in (cases, cases[1:], cases[:-1])]
    assert all(0.25 < weight < 0.75 for weight in blends)


def test_a_useless_adjustment_gets_no_weight_and_a_useful_one_does() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for _ in range(80):
        plain = case(0, 2, rng)
        plain.terms[0] = ~plain.target
        plain.terms[1, 4] = 1.0
        plain.calibrated[0, 4] = 0.5
        cases.append(plain)
    found = search(cases, 2, ("trend", "cross_domain"), k=10)
    assert found.terms[0] == 0
    assert found.terms[1] > 0.02
    assert found.without["cross_domain"] < found.ndcg == pytest.approx(found.without["trend"])


def test_weights_are_tuned_beside_the_terms_that_are_served_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On SESSION the affinity found for visits under way, and HOME's term of other domains."""
    items, bought = shop(users=60, events_each=80)
    moment = pl.col("time").first().over("user_id", pl.col("order") // 20)
    bought = bought.with_columns(time=moment + pl.duration(minutes=pl.col("order") % 20))
    held = hold_out(bought, share=0.5)
    told = PopularityEngine(held.known)
    told.manifest.inputs.add(name="history")
    searched: list[Found] = []

    def noted(*given: Any, **named: Any) -> Found:
        searched.append(search(*given, **named))
        return searched[-1]

    monkeypatch.setattr(learn, "search", noted)
    dataset: Any = SimpleNamespace(items=items, events=bought, info=SimpleNamespace(times="time"))
    vectors = np.zeros((items.height, 0), np.float32)
    window = Window(held.known, held.wanted)
    made, _ = learn.learn(Config(ranker=False), dataset, {"cf": told}, (vectors, window), silent)
    _, live, session, cart = searched
    settings = made.settings_for("SESSION")
    served = [settings.w_trend, settings.w_cross_domain, settings.w_session]
    np.testing.assert_allclose(session.terms, served, atol=1e-4)
    assert live.terms[2] == pytest.approx(settings.w_session)
    settings = made.settings_for("CART")
    assert cart.terms[:2].tolist() == [settings.w_trend, settings.w_cross_domain] == [0, 0]


def test_every_blend_of_the_grid_sums_to_one_and_leaves_everyone_the_least() -> None:
    least = np.array([0.05, 0.05, 0.5], np.float32)
    blends = simplex(least, 0.2)
    assert len(blends) == 21
    np.testing.assert_allclose(blends.sum(axis=1), 1, atol=1e-6)
    assert (blends >= least - 1e-6).all()


def test_ndcg_counts_targets_that_no_source_found() -> None:
    one = case(0, 1, np.random.default_rng(0))
    half = replace(one, wanted=2)
    nothing = np.zeros((1, len(TERMS)), np.float32)
    whole = mean_ndcg([one], np.ones((1, 1), np.float32), nothing, 10)[0]
    assert whole == pytest.approx(1.0)
    assert mean_ndcg([half], np.ones((1, 1), np.float32), nothing, 10)[0] == pytest.approx(
        1 / (1 + 1 / np.log2(3))
    )


def test_domains_that_follow_each_other_attract_and_the_rest_repel() -> None:
    rng = np.random.default_rng(0)
    pairs = np.array([[0, 1], [2, 3]])[rng.integers(0, 2, 200)]
    domain = np.repeat(pairs, 10, axis=0).reshape(200, -1)
    user = np.repeat(np.arange(200), domain.shape[1])
    for ordered in (True, False):
        transition, prior = learn_domains(domain.ravel(), user, 4, ordered=ordered)
        assert prior.sum() == pytest.approx(1, abs=1e-5)
        assert transition[0, 1] > 0.3
        assert transition[0, 2] < -0.3


def test_a_domain_without_events_says_nothing() -> None:
    transition, _ = learn_domains(np.array([0, 1, 0]), np.array([0, 0, 0]), 3, ordered=True)
    np.testing.assert_allclose(transition[2], 0, atol=1e-6)


def test_a_fusion_of_another_catalogue_is_refused() -> None:
    items = pl.DataFrame({"item_key": [1, 2]})
    with pytest.raises(ValueError, match="3 items, the dataset has 2"):
        columns_of(artifact(), items)


def test_unnamed_domains_are_unknown() -> None:
    items = pl.DataFrame({"item_key": [2, 1], "domain": ["", "DELI"], "category": ["HAM", ""]})
    made = make_catalogue(items, np.zeros((2, 0), np.float32))
    assert made.keys.tolist() == [1, 2]
    assert made.domain.tolist() == [0, -1]
    assert made.category.tolist() == [-1, 0]


@pytest.mark.parametrize("times", ["time", "none"])
def test_visits_of_one_shopper_are_one_voice_on_what_variety_costs(
    times: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, bought = shop(users=60, events_each=60)
    # Twice in the hour, so that there are visits.
    half = pl.col("order") // 2 * 2
    moment = pl.col("time").first().over("user_id", half) if times == "time" else pl.lit(None)
    bought = bought.with_columns(time=moment.cast(bought.schema["time"]))
    held = hold_out(bought, share=0.5)
    told = PopularityEngine(held.known)
    told.manifest.inputs.add(name="history")
    asked: list[set[str]] = []

    def noted(questions: list[Question], _vectors: Floats, _most: float) -> Afforded:
        asked.append({question.user for question in questions})
        return Afforded(0.0, 0.0, 0.0)

    monkeypatch.setattr(learn, "afford", noted)
    dataset: Any = SimpleNamespace(items=items, events=bought, info=SimpleNamespace(times=times))
    vectors = np.zeros((items.height, 0), np.float32)
    window = Window(held.known, held.wanted)
    learn.learn(Config(ranker=False), dataset, {"cf": told}, (vectors, window), silent)
    shoppers = set(bought["user_id"].unique())
    assert asked
    assert all(users <= shoppers for users in asked)
