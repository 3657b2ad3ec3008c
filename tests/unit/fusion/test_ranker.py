"""The learned ranker: the same numbers on both sides, honest parts, and convex when in doubt."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts import manifest as manifests
from artifacts.errors import ArtifactCorrupt
from artifacts.fusion import NETWORK, FusionSettings, load_fusion, save
from artifacts.ranker.features import HABITS, Candidates, Past, Shelf, blended, features, own_rows
from artifacts.ranker.features import names as feature_names
from artifacts.ranker.network import Network
from artifacts.ranker.ranker import FILE, LearnedRanker
from gateway.fusion.explain import explain
from gateway.fusion.fuse import convex
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.ranker import PoolRanker, shortlist_length
from gateway.fusion.types import Pool, Query
from plait.v1.manifest_pb2 import Manifest
from tests.unit.fusion.builders import (
    ANY_SCORE,
    ITEMS,
    SOURCES,
    candidate_lists,
    columns,
    floats,
    queries,
    query,
    rows,
    scored,
)
from tests.unit.fusion.test_artifact import artifact

WIDTH = len(feature_names(SOURCES))


def network(seed: int = 0, width: int = WIDTH) -> Network:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    layers = (drawn(width, 6), drawn(6, 4), drawn(4, 1))
    return Network(drawn(width), np.abs(drawn(width)), layers, (drawn(6), drawn(4), drawn(1)))


def learned(keys: np.ndarray | None = None, **changes: object) -> LearnedRanker:
    known = columns().keys if keys is None else keys
    rng = np.random.default_rng(1)
    fields = {
        "sources": SOURCES,
        "network": network(),
        "centre": 0.5,
        "spread": 2.0,
        "item_keys": known,
        "habits": rng.random((len(known), len(HABITS))).astype(np.float32),
        "usual": np.linspace(0.2, 3.0, len(HABITS), dtype=np.float32),
    }
    return LearnedRanker(**(fields | changes))  # type: ignore[arg-type]


def past(*events: tuple[int, float]) -> Past:
    """Purchases: (row, days ago)."""
    return Past(
        rows(*(row for row, _ in events)), floats(*(age for _, age in events)),
        np.ones(len(events), np.float32),
    )  # fmt: skip


def shelf() -> Shelf:
    c = columns()
    return Shelf(c.domain, c.category, c.brand, c.provider, c.price, c.popularity)


def candidates(scores: np.ndarray) -> Candidates:
    size = scores.shape[1]
    some = np.linspace(0, 1, size).astype(np.float32)
    habits = np.full((size, len(HABITS)), 3, np.float32)
    return Candidates(np.arange(size, dtype=np.int32), scores, scores, some, some, habits)


def named(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, feature_names(SOURCES).index(name)]


def random_scores(seed: int, size: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.random((len(SOURCES), size)).astype(np.float32)
    found[rng.random(found.shape) < 0.5] = np.nan
    return found


def test_what_was_bought_often_and_lately_is_told_from_what_was_not() -> None:
    bought = past((2, 300), (1, 60), (1, 40), (1, 20), (3, 1))
    table = features(candidates(random_scores(0, 5)), bought, shelf())
    assert named(table, "times").argmax() == 1
    assert named(table, "since").argmin() == 3
    assert named(table, "last_visit").tolist() == [0, 0, 0, 1, 0]
    assert named(table, "due")[0] == -1 < named(table, "due")[1]
    assert named(table, "of_visits")[1] == pytest.approx(3 / 4)


def test_visits_and_intervals_are_counted_by_hand() -> None:
    # Four visits; item 1 in the first three of them, after 20 and then after 10 days.
    bought = past((1, 60), (2, 60), (1, 40), (1, 30), (3, 1))
    table = features(candidates(random_scores(0, 5)), bought, shelf())
    since = [math.log1p(4), math.log1p(1), math.log1p(3), 0, math.log1p(4)]
    np.testing.assert_allclose(named(table, "visits_since"), since, rtol=1e-6)
    faded = sum(2 ** (-visits / 5) for visits in (3, 2, 1))
    assert named(table, "times_visits")[1] == pytest.approx(math.log1p(faded))
    # The usual interval, exp(3), counts twice.
    interval = (30 + 2 * math.exp(3)) / 4
    variance = 2 * 5**2 + 2 * interval**2
    assert named(table, "irregular")[1] == pytest.approx(math.sqrt(variance / 4) / interval)
    assert named(table, "irregular")[[0, 2]].tolist() == [1, 1]
    np.testing.assert_allclose(named(table, "month"), [0, 0, 0, math.log1p(1), 0])
    np.testing.assert_allclose(named(table, "last_interval"), [-1, math.log1p(10), -1, -1, -1])
    assert named(table, "basket") == pytest.approx(np.full(5, math.log(5 / 4)))


def test_the_alternatives_are_what_else_there_is_of_a_kind() -> None:
    own = replace(shelf(), category=rows(4, 4, 4, -1, 9), price=floats(1, 2, float("nan"), 5, 6))
    bought = past((0, 60), (1, 40), (3, 40), (0, 30), (2, 20), (1, 1))
    table = features(candidates(random_scores(0, 5)), bought, own)
    five = math.log1p(5)
    np.testing.assert_allclose(named(table, "category_times"), [five, five, five, 0, 0])
    behind = [math.log1p(2), 0, math.log1p(1), 0, 0]
    np.testing.assert_allclose(named(table, "category_since_item"), behind)
    np.testing.assert_allclose(named(table, "category_variety"), [0.6, 0.6, 0.6, 0, 0])
    mean = (2 * math.log1p(1) + 2 * math.log1p(2)) / 4
    beside = [math.log1p(1) - mean, math.log1p(2) - mean, 0, 0, 0]
    np.testing.assert_allclose(named(table, "category_price"), beside, rtol=1e-6)


def test_a_line_is_what_a_provider_makes_of_a_category() -> None:
    own = replace(shelf(), category=rows(4, 4, 4, -1, 9), provider=rows(2, 2, 0, 2, 2))
    bought = past((0, 0), (2, 112), (2, 112), (3, 0))
    table = features(candidates(random_scores(0, 5)), bought, own)
    # A quarter of a day counts as the least age.
    fresh = 2 ** (-0.25 / 112)
    total = 2 * fresh + 2 * 0.5
    whole = fresh + 1 + 1e-3 * total
    expected = [fresh / whole, fresh / whole, 1 / whole, 0, 0]
    np.testing.assert_allclose(named(table, "line"), expected, rtol=1e-5)
    makes = [2 * fresh / total, 2 * fresh / total, 1 / total]
    np.testing.assert_allclose(named(table, "provider_112")[:3], makes, rtol=1e-5)


def test_a_lead_is_the_distance_from_the_mean_of_the_answer() -> None:
    scores = np.full((len(SOURCES), 4), np.nan, np.float32)
    scores[0, :3] = 1, 2, 6
    scores[1, :2] = 0.5
    table = features(candidates(scores), past(), shelf())
    deviation = math.sqrt((4 + 1 + 9) / 3)
    np.testing.assert_allclose(
        named(table, f"{SOURCES[0]}.lead"), np.array([-2, -1, 3, 0]) / deviation, rtol=1e-6
    )
    assert not named(table, f"{SOURCES[1]}.lead").any()


@given(seed=st.integers(0, 99), there=st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_leaving_sources_out_of_a_table_is_the_table_without_their_answers(
    seed: int, there: list[bool]
) -> None:
    mask, scores = np.array(there), random_scores(seed)
    bought = past((1, 30), (4, 3))
    whole = features(candidates(scores), bought, shelf())
    fewer = features(candidates(np.where(mask[:, None], scores, np.nan)), bought, shelf())
    answered = mask & ~np.isnan(scores).all(axis=1)
    np.testing.assert_allclose(blended(whole, answered), fewer, rtol=1e-6)
    np.testing.assert_array_equal(blended(whole[:2], answered), blended(whole, answered)[:2])


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_parts_of_a_preference_sum_to_it_and_a_silent_source_has_none(seed: int) -> None:
    scores = random_scores(seed)
    scores[2] = np.nan
    table = features(candidates(scores), past((1, 30), (4, 3)), shelf())
    answered = ~np.isnan(scores).all(axis=1)
    parts, rest = learned().parts(table, answered)
    np.testing.assert_allclose(parts.sum(axis=0) + rest, learned().preference(table), atol=1e-5)
    assert not parts[~answered].any()


def with_ranker(asked: Query, ranker: LearnedRanker | None = None) -> Query:
    bought = past((1, 30.0), (1, 15.0), (4, 0.1))
    return asked._replace(ranker=PoolRanker(ranker or learned()), past=bought)


@given(asked=queries(), found=candidate_lists(ANY_SCORE))
@settings(max_examples=30, deadline=None)
def test_an_explanation_adds_up_to_the_score(asked: Query, found: dict) -> None:
    asked = with_ranker(asked)
    pool = run(asked, build_pool(asked, found))
    for explained in explain(asked, pool, pool.order[:5]):
        parts = sum(c.value for c in explained.contributions)
        whole = parts + sum(value for _, value in explained.adjustments)
        assert whole == pytest.approx(explained.score, abs=1e-4)
        shares = sum(c.share for c in explained.contributions)
        assert shares == pytest.approx(1, abs=1e-4) or shares == 0


def test_a_ranker_takes_the_place_of_the_weighted_sum() -> None:
    found = scored(cf={1: 1.0, 2: 0.5}, text={3: 1.0, 2: 0.2})
    asked = with_ranker(query(limit=1))
    pool = run(asked, build_pool(asked, found))
    assert pool.learned
    assert ((pool.terms["fused"] >= 0) & (pool.terms["fused"] <= 1)).all()
    assert "habits" in dict(explain(asked, pool, pool.order)[0].adjustments)


@pytest.mark.parametrize("what", ["a number that is none", "no source it knows"])
def test_without_a_preference_the_weighted_sum_speaks(what: str) -> None:
    broken = replace(network(), biases=(*network().biases[:-1], floats(float("nan"))))
    ranker = learned(network=broken) if "number" in what else learned(sources=("a", "b", "c", "d"))
    found = scored(cf={1: 1.0, 2: 0.5}, text={3: 1.0, 2: 0.2})
    asked = with_ranker(query(limit=1), ranker)
    pool = run(asked, build_pool(asked, found))
    assert not pool.learned
    np.testing.assert_array_equal(pool.terms["fused"], convex(asked, pool))


def test_a_source_the_ranker_has_never_seen_does_not_confuse_it() -> None:
    asked = with_ranker(query(sources=("new", *SOURCES), limit=1))
    found = scored(cf={1: 1.0, 2: 0.5}, text={3: 1.0, 2: 0.2}, new={2: 9.0, 7: 1.0})
    pool = run(asked, build_pool(asked, found))
    assert pool.learned
    told = explain(asked, pool, pool.order[:1])[0]
    assert next(c.value for c in told.contributions if c.source == "new") == 0


def test_some_of_the_candidates_have_the_features_they_have_among_all() -> None:
    whole, bought = candidates(random_scores(3)), past((1, 30), (4, 3))
    few = np.array([1, 4, 5], np.int32)
    part = replace(
        whole, rows=whole.rows[few], trend=whole.trend[few], crossing=whole.crossing[few],
        habits=whole.habits[few], of_answered=few,
    )  # fmt: skip
    expected = features(whole, bought, shelf())[few]
    np.testing.assert_array_equal(features(part, bought, shelf()), expected)


def large() -> tuple[Query, dict]:
    """A query whose sources name 500 candidates in all, and their answers."""
    shop = columns(600)
    rng = np.random.default_rng(5)
    found = {
        source: (rng.permutation(500).astype(np.int32)[:300], rng.random(300).astype(np.float32))
        for source in SOURCES
    }
    asked = query(columns=shop, limit=50)
    return with_ranker(asked, learned(shop.keys)), found


def ranked(asked: Query, pool: Pool) -> np.ndarray:
    """The candidates that are not merely the weighted sum's in proportion."""
    summed = convex(asked, pool)
    behind = np.argsort(-pool.terms["fused"], kind="stable")[shortlist_length(asked) :]
    ratio = pool.terms["fused"][behind] / summed[behind]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    return np.setdiff1d(np.arange(len(pool.rows)), behind)


def test_the_best_of_a_large_pool_are_ranked_and_the_rest_stands_behind_them() -> None:
    asked, found = large()
    pool = run(asked, build_pool(asked, found))
    assert len(pool.rows) > 2 * shortlist_length(asked)
    best = ranked(asked, pool)
    summed = convex(asked, pool)
    behind = np.setdiff1d(np.arange(len(pool.rows)), best)
    assert summed[best].min() >= summed[behind].max()
    assert pool.terms["fused"][best].min() >= pool.terms["fused"][behind].max() > 0
    # Those that are ranked have what they would have had in a pool of any size.
    assert asked.ranker is not None
    table = asked.ranker._table(asked, pool, None)  # type: ignore[attr-defined]
    whole = learned(asked.columns.keys).preference(table)
    np.testing.assert_allclose(pool.terms["fused"][best], whole[best], atol=1e-6)


def test_own_items_are_on_the_shortlist_and_what_is_forbidden_is_not() -> None:
    asked, found = large()
    plain = run(asked, build_pool(asked, found))
    last = plain.rows[np.argsort(convex(asked, plain))[:5]]
    first = plain.rows[np.argsort(-convex(asked, plain))[:5]]
    asked = asked._replace(own=last, rules=replace(asked.rules, exclude=first))
    pool = run(asked, build_pool(asked, found, asked.own))
    shown = set(pool.rows[ranked(asked, pool)].tolist())
    assert set(last.tolist()) <= shown
    assert not set(first.tolist()) & shown


def test_own_items_stand_where_the_ranker_puts_them_though_no_source_names_them() -> None:
    alike = np.zeros((WIDTH, 1), np.float32)
    alike[feature_names(SOURCES).index("times")] = 1
    none, one = np.zeros(WIDTH, np.float32), np.ones((1, 1), np.float32)
    times = Network(none, none + 1, (alike, one), (floats(0), floats(0)))
    asked = with_ranker(query(limit=3), learned(network=times))._replace(own=rows(1, 4))
    found = scored(cf={2: 1.0, 3: 0.5}, text={3: 1.0, 5: 0.2})
    pool = run(asked, build_pool(asked, found, asked.own))
    assert pool.rows[pool.order][:2].tolist() == [1, 4]
    told = explain(asked, pool, pool.order[:1])[0]
    assert dict(told.adjustments)["habits"] > 0
    # Where the weighted sum speaks, which knows nothing of it, it stays behind.
    plain = asked._replace(ranker=None)
    pool = run(plain, build_pool(plain, found, plain.own))
    assert set(pool.rows[pool.order][-2:].tolist()) == {1, 4}


def test_an_explanation_adds_up_behind_the_shortlist_too() -> None:
    asked, found = large()
    pool = run(asked, build_pool(asked, found))
    some = np.concatenate([pool.order[-3:], pool.order[:3]])
    for explained in explain(asked, pool, some):
        parts = sum(c.value for c in explained.contributions)
        whole = parts + sum(value for _, value in explained.adjustments)
        assert whole == pytest.approx(explained.score, abs=1e-5)
    nothing = explain(asked, pool, pool.order[-3:])
    assert all(dict(e.adjustments)["habits"] == 0 for e in nothing)


def test_an_item_it_does_not_know_has_the_usual_habits() -> None:
    ranker = learned()
    known = ranker.habits_of(np.array([100, 7, 999], np.int64))
    np.testing.assert_array_equal(known[0], ranker.habits[0])
    np.testing.assert_array_equal(known[1:], np.stack([ranker.usual] * 2))


def test_own_items_are_the_most_and_latest_bought() -> None:
    bought = past((9, 300), (5, 50), (5, 20), (7, 1))
    assert own_rows(bought, 2).tolist() == [5, 7]
    assert own_rows(bought).tolist() == [5, 7, 9]
    assert not len(own_rows(past()))


def with_file() -> dict[str, object]:
    home = learned(np.array([5, 9, 700], np.int64))
    session = replace(home, network=network(7), centre=-1.0)
    return {
        "settings": FusionSettings(ranker=NETWORK),
        "rankers": {"HOME": home, "SESSION": session},
    }


def test_each_surfaces_ranker_is_saved_with_its_artifact(tmp_path: Path) -> None:
    saved = artifact(**with_file())
    save(tmp_path, saved, Manifest(version=1))
    loaded = load_fusion(tmp_path)
    assert [*loaded.rankers] == ["HOME", "SESSION"]
    table = np.random.default_rng(3).normal(size=(7, WIDTH)).astype(np.float32)
    for surface, ranker in saved.rankers.items():
        found = loaded.ranker_for(surface)
        assert found is not None
        np.testing.assert_array_equal(found.preference(table), ranker.preference(table))
        np.testing.assert_array_equal(found.habits, ranker.habits)
    home, session = loaded.rankers.values()
    assert home.habits is session.habits
    assert not np.allclose(home.preference(table), session.preference(table))
    assert loaded.ranker_for("SEARCH") is None


def test_rankers_that_know_other_items_are_not_written_together(tmp_path: Path) -> None:
    given = with_file()
    other = {"HOME": learned(np.array([5, 9, 700])), "CART": learned(np.array([5, 9, 701]))}
    with pytest.raises(ValueError, match="CART"):
        save(tmp_path, artifact(**(given | {"rankers": other})), Manifest(version=1))


def test_a_ranker_that_is_not_there_or_not_whole_is_named(tmp_path: Path) -> None:
    save(tmp_path, artifact(**with_file()), Manifest(version=1))
    (tmp_path / FILE).write_bytes(b"no zip")
    with pytest.raises(ArtifactCorrupt, match=r"ranker\.npz"):
        load_fusion(tmp_path)
    with pytest.raises(ArtifactCorrupt, match=r"ranker\.npz: setting 'ranker' is 'network'"):
        save(tmp_path, artifact(settings=FusionSettings(ranker=NETWORK)), Manifest(version=2))


def test_a_ranker_with_other_features_is_refused(tmp_path: Path) -> None:
    save(tmp_path, artifact(**with_file()), Manifest(version=1))
    with np.load(tmp_path / FILE) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["HOME.features"][0] = "else"
    np.savez(tmp_path / FILE, allow_pickle=False, **arrays)
    manifests.write(tmp_path, manifests.read(tmp_path), artifact().item_keys)
    with pytest.raises(ArtifactCorrupt, match="not those of this release"):
        load_fusion(tmp_path)


def test_shapes_that_do_not_fit_are_a_problem() -> None:
    assert not network().problem(WIDTH)
    assert "expected" in network().problem(WIDTH + 1)
    assert "finite" in replace(network(), mean=np.full(WIDTH, np.nan, np.float32)).problem(WIDTH)


def test_nothing_to_rank_is_no_error() -> None:
    empty = candidates(np.zeros((len(SOURCES), 0), np.float32))
    assert features(empty, past((1, 2.0)), shelf()).shape == (0, WIDTH)
    assert len(columns().keys) == ITEMS
