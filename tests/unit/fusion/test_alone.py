"""The learned ranker where no source answers: what a shopper does again is known all the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.fusion import FusionSettings, load_fusion, save
from artifacts.ranker.features import HABITS, names
from artifacts.ranker.ranker import FILE, LearnedRanker, load_rankers
from artifacts.ranker.shelf import selling, shelf
from gateway.fusion.explain import explain
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.ranker import PoolRanker
from gateway.fusion.types import NO_PAST, Query
from models.fusion.config import Config
from models.fusion.ranker import Taught, with_ranker
from models.fusion.tables import Table
from models.progress import silent
from plait.v1.manifest_pb2 import Manifest
from tests.unit.fusion.builders import SOURCES, columns, floats, query, rows
from tests.unit.fusion.learning import tables
from tests.unit.fusion.test_artifact import artifact
from tests.unit.fusion.test_ranker import learned, past, with_file

CONFIG = Config(least_questions=20, passes=8, hidden=(8,), k=10)
OWN = rows(1, 4)


def asked(ranker: LearnedRanker) -> Query:
    """A shopper who bought two items, one of them often."""
    bought = past((1, 30.0), (1, 15.0), (4, 0.1))
    stock = replace(columns(), sellers=np.arange(len(columns().keys), dtype=np.int32))
    return query(ranker=PoolRanker(ranker), past=bought, own=OWN, columns=stock, limit=3)


def test_a_shelf_is_what_sells_in_all_and_of_the_shoppers_kinds() -> None:
    sells = np.linspace(1, 0, 500, dtype=np.float32)
    kinds = np.full(500, 2, np.int32)
    kinds[300:450] = 7
    kinds[450:] = -1
    found = shelf(sells, kinds, rows(7, -1))
    assert found.tolist() == [*range(100), *range(300, 400)]
    assert shelf(sells, kinds, rows()).tolist() == [*range(100)]
    # Kinds of long ago are others by now.
    assert shelf(sells, kinds, rows(7, *[2] * 50)).tolist() == [*range(100)]
    # What has never sold is no candidate.
    assert shelf(np.zeros(5, np.float32), rows(1, 1, 1, 1, 1), rows(1)).tolist() == []


def test_trends_lead_and_popularity_orders_the_rest() -> None:
    popular = floats(1.0, 0.5, float("nan"))
    assert selling(popular, None).tolist() == [1, 0.5, 0]
    np.testing.assert_allclose(selling(popular, floats(0, 1, 0)), [0.2, 0.9, 0])


def test_without_any_source_the_ranker_orders_what_a_shopper_had_and_what_sells() -> None:
    given = asked(learned(alone=True))
    pool = run(given, build_pool(given, {}, given.own))
    assert pool.fallback
    assert pool.learned
    assert len(pool.rows) == len(given.columns.keys)
    assert (np.diff(pool.terms["fused"][pool.order]) <= 0).all()
    for told in explain(given, pool, pool.order):
        assert all(c.value == 0 and c.score is None for c in told.contributions)
        assert sum(value for _, value in told.adjustments) == pytest.approx(told.score, abs=1e-6)
        assert "habits" in dict(told.adjustments)


@pytest.mark.parametrize("why", ["it is no better", "it knows nothing of the shopper", "no ranker"])
def test_what_sells_is_shown_where_the_ranker_cannot_tell_more(why: str) -> None:
    given = asked(learned(alone="better" not in why))
    if "shopper" in why:
        given = given._replace(past=NO_PAST, own=rows())
    if why == "no ranker":
        given = given._replace(ranker=None)
    pool = run(given, build_pool(given, {}, given.own))
    assert pool.fallback
    assert not pool.learned
    assert next(iter(pool.terms)) == "fallback"


def test_what_must_not_be_shown_takes_no_place_on_the_shelf() -> None:
    given = asked(learned(alone=True))
    rules = replace(given.rules, exclude=rows(0, 2), disliked=rows(3))
    pool = build_pool(given._replace(rules=rules), {}, given.own)
    assert not np.isin([0, 2, 3], pool.rows).any()


def of_habits(count: int, useful: str, *, seed: int = 0) -> list[Table]:
    """Questions that nobody answered; the target is what one feature puts first."""
    rng = np.random.default_rng(seed)
    silenced = [names(SOURCES).index(f"{s}.{of}") for s in SOURCES for of in ("score", "named")]
    made = []
    for number in range(count):
        features = rng.random((12, len(names(SOURCES)))).astype(np.float32)
        features[:, silenced] = 0
        best = features[:, names(SOURCES).index(useful)].argmax()
        every = np.arange(12, dtype=np.int32)
        made.append(Table(f"u{number}", features, every == best, 1, every % 3))
    return made


@pytest.mark.parametrize("useful", ["times", "trend"])
def test_a_ranker_is_asked_alone_where_it_is_better_than_what_sells(useful: str) -> None:
    weights = {"HOME": {"cf": 1.0, "content": 0.0, "sequence": 0.0, "text": 0.0}}
    plain = artifact(weights=weights, settings=FusionSettings(w_trend=0, w_cross_domain=0))
    habits = np.zeros((3, len(HABITS)), np.float32)
    unanswered = of_habits(300, useful)
    if useful == "trend":  # what sells cannot be beaten
        for table in unanswered:
            table.features[:, names(SOURCES).index("popularity")] = 0
    taught = Taught(tables(300), SOURCES, habits, unanswered=unanswered)
    made, metrics = with_ranker(CONFIG, plain, taught, silent)
    assert made.rankers["HOME"].alone is (useful == "times")
    assert (metrics["HOME.ranker.alone.ndcg@10"] > metrics["HOME.ranker.selling.ndcg@10"]) is (
        useful == "times"
    )


def test_whether_a_ranker_is_asked_alone_is_saved_and_earlier_releases_had_none(
    tmp_path: Path,
) -> None:
    given: dict[str, Any] = with_file()
    home = replace(given["rankers"]["HOME"], alone=True)
    rankers = given["rankers"] | {"HOME": home}
    save(tmp_path, artifact(**(given | {"rankers": rankers})), Manifest(version=1))
    loaded = load_fusion(tmp_path).rankers
    assert [loaded[surface].alone for surface in ("HOME", "SESSION")] == [True, False]
    with np.load(tmp_path / FILE) as stored:
        arrays = {name: stored[name] for name in stored.files if not name.endswith(".alone")}
    np.savez(tmp_path / FILE, **arrays)
    earlier = load_rankers(tmp_path, home.item_keys, ValueError)
    assert not any(ranker.alone for ranker in earlier.values())
