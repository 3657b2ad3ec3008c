"""Rows are others after a restart: what ranks equals must not be where an item lies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from artifacts.keys import Keys
from artifacts.ranker.features import Past, own_rows
from artifacts.ranker.shelf import strongest
from gateway.fusion.explain import explain
from gateway.fusion.fallback import popular_rows
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.ranker import PoolRanker
from gateway.fusion.types import Columns, Query, Rows
from tests.unit.fusion.builders import SOURCES, columns, query, rows
from tests.unit.fusion.test_ranker import learned

ITEMS = 400


def moved(where: Rows) -> Columns:
    """A shop of items of few prices and vectors, item i in row where[i]."""
    usual, back = columns(ITEMS), np.argsort(where)
    alike: dict[str, Any] = {
        "keys": np.arange(1, ITEMS + 1, dtype=np.int64),
        "popularity": (np.arange(ITEMS) % 7 / 7).astype(np.float32),
        "vectors": np.eye(8, dtype=np.float32)[np.arange(ITEMS) % 8],
    }
    fields = ("keys", "domain", "category", "brand", "provider", "price", "available")
    every = {name: getattr(usual, name) for name in (*fields, "popularity", "vectors")} | alike
    found: dict[str, Any] = {
        name: np.ascontiguousarray(array[back]) for name, array in every.items()
    }
    made = replace(usual, **found)
    return replace(made, sellers=strongest(made.popularity, 90, made.keys))


def asked(where: Rows, **changes: Any) -> tuple[Query, dict[str, tuple[Rows, np.ndarray]]]:
    """A request, and answers of which many scores are equal."""
    drawn = np.random.default_rng(3)
    shop = moved(where)
    had = rows(*drawn.integers(0, ITEMS, 150))
    past = Past(where[had], np.ones(150, np.float32), np.ones(150, np.float32))
    trend = (np.arange(ITEMS) % 5 / 5).astype(np.float32)[np.argsort(where)]
    answers = {}
    for source in SOURCES:
        named = drawn.permutation(ITEMS)[:150]
        score = drawn.integers(0, 9, 150).astype(np.float32)
        answers[source] = (where[named].astype(np.int32), score)
    fields: dict[str, Any] = {
        "columns": shop, "past": past, "own": own_rows(past, keys=shop.keys), "trend": trend,
        "leading": strongest(trend, 50, shop.keys),
        "trending": lambda: strongest(trend, 90, shop.keys),
        "limit": 10, "explain": True,
    }  # fmt: skip
    made = query(**(fields | changes))
    return made, answers


def shown(where: Rows, **changes: Any) -> tuple[Keys, list[Any]]:
    """The keys in order, and what is said of the first."""
    made, answers = asked(where, **changes)
    pool = run(made, build_pool(made, answers))
    said = explain(made, pool, pool.order[:30])
    return made.columns.keys[pool.rows[pool.order]], [
        (e.score, e.contributions, e.moved) for e in said
    ]


@pytest.mark.parametrize("surface", ["HOME", "SEARCH"])
@pytest.mark.parametrize("by_ranker", [False, True])
@pytest.mark.parametrize("diversity", [0.0, 0.3])
def test_equals_stand_in_the_same_order_whatever_rows_their_items_have(
    surface: str, by_ranker: bool, diversity: float
) -> None:
    changes: dict[str, Any] = {"surface": surface, "diversity": diversity, "w_trend": 0.1}
    if by_ranker:
        changes["ranker"] = PoolRanker(learned(sources=SOURCES))
    before, said = shown(np.arange(ITEMS, dtype=np.int32), **changes)
    for seed in range(3):
        where = np.random.default_rng(seed).permutation(ITEMS).astype(np.int32)
        after, now = shown(where, **changes)
        assert after.tolist() == before.tolist()
        assert now == said


def test_what_sells_is_the_same_whatever_rows_its_items_have() -> None:
    found = []
    for seed in range(4):
        where = np.random.default_rng(seed).permutation(ITEMS).astype(np.int32)
        made, _ = asked(where)
        some = made._replace(limit=15)
        # Nothing sells: the whole catalogue is looked through.
        still = np.zeros(ITEMS, np.float32)
        none = replace(made.columns, popularity=still, sellers=rows())
        all_alike = made._replace(columns=none, trend=still, trending=rows)
        keys = made.columns.keys
        found.append([keys[popular_rows(q)].tolist() for q in (made, some, all_alike)])
    assert found[1:] == found[:-1]
