"""Small catalogues and queries for the tests of the fusion."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from artifacts.price_places import PricePlaces
from gateway.fusion.types import Columns, Floats, Query, Rows, RuleSet

SOURCES = ("cf", "content", "sequence", "text")
ITEMS = 40
DOMAINS = ("GROCERY", "DELI", "DRUG")


def rows(*values: int) -> Rows:
    return np.array(values, np.int32)


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def columns(size: int = ITEMS, **changes: Any) -> Columns:
    """A catalogue whose item at row r has key 100 + r, price r + 1, domain r % 3."""
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((size, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    every = np.arange(size, dtype=np.int32)
    fields: dict[str, Any] = {
        "keys": every.astype(np.int64) + 100,
        "domain": every % 3,
        "category": every % 5,
        "brand": every % 7,
        "provider": every % 4,
        "price": every.astype(np.float32) + 1,
        "available": np.ones(size, np.bool_),
        "popularity": (1 - every / size).astype(np.float32),
        "vectors": vectors,
        "domain_names": DOMAINS,
        "category_names": ("A", "B", "C", "D", "E"),
        "brand_names": tuple("abcdefg"),
        "provider_names": ("w", "x", "y", "z"),
    }
    return Columns(**(fields | changes))


def rule_set(**changes: Any) -> RuleSet:
    none = rows()
    fields: dict[str, Any] = dict.fromkeys(
        ("exclude", "purchased", "disliked", "pin", "bury"), none
    )
    return RuleSet(**(fields | changes))


def query(rules: Mapping[str, Any] | None = None, **changes: Any) -> Query:
    """A plain HOME query: equal weights, no history, no trend, every adjustment off."""
    catalogue = changes.pop("columns", None) or columns()
    fields: dict[str, Any] = {
        "surface": "HOME",
        "sources": SOURCES,
        "columns": catalogue,
        "history": rows(),
        "history_weight": floats(),
        "session": rows(),
        "session_weight": floats(),
        "rules": rule_set(**(rules or {})),
        "trend": np.zeros(len(catalogue.keys), np.float32),
        "weights": dict.fromkeys(SOURCES, 0.25),
        "quantiles": {},
        "domain_transition": np.zeros((0, 0), np.float32),
        "limit": 5,
        "diversity": 0.0,
        "w_trend": 0.0,
        "w_session": 0.0,
        "w_cost": 0.0,
        "prices": PricePlaces(catalogue),
        "w_cross_domain": 0.0,
    }
    return Query(**(fields | changes))


def scored(**sources: Mapping[int, float]) -> dict[str, tuple[Rows, Floats]]:
    """Candidates by source from {row: score}."""
    return {
        name: (np.array(list(by_row), np.int32), np.array(list(by_row.values()), np.float32))
        for name, by_row in sources.items()
    }


ROW = st.integers(0, ITEMS - 1)
SOME_ROWS = st.lists(ROW, max_size=4).map(lambda r: np.array(r, np.int32))
FINITE = st.floats(-1e3, 1e3, width=32)
ANY_SCORE = st.one_of(
    FINITE, st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e30, 3e38])
)


def candidate_lists(score: st.SearchStrategy[float]) -> Any:
    """Any subset of the sources, each with rows, perhaps unknown or twice, and scores."""
    pair = st.tuples(st.integers(-1, ITEMS + 2), score)
    answer = st.lists(pair, max_size=15).map(
        lambda pairs: (
            np.array([r for r, _ in pairs], np.int32),
            np.array([s for _, s in pairs], np.float32),
        )
    )
    return st.dictionaries(st.sampled_from(SOURCES), answer)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Any request: surfaces, histories, rules, adjustments."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    size = draw(st.integers(0, 6))
    session = draw(SOME_ROWS)
    price = columns().price.copy()
    price[rng.random(ITEMS) < 0.2] = np.nan
    vectors = columns().vectors.copy()
    vectors[rng.random(ITEMS) < 0.2] = 0
    catalogue = columns(price=price, vectors=vectors, available=rng.random(ITEMS) < 0.9)
    low = draw(st.none() | st.floats(0, 20))
    return query(
        columns=catalogue,
        rules={
            **{name: draw(SOME_ROWS) for name in ("exclude", "purchased", "disliked")},
            **{name: draw(SOME_ROWS) for name in ("pin", "bury")},
            "min_price": low,
            "domains": draw(st.none() | st.just((0, 1))),
        },
        surface=draw(st.sampled_from(["HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK"])),
        history=rng.integers(0, ITEMS, size).astype(np.int32),
        history_weight=rng.random(size).astype(np.float32),
        session=session,
        session_weight=np.ones(len(session), np.float32),
        context=draw(SOME_ROWS),
        trend=rng.random(ITEMS).astype(np.float32),
        domain_transition=rng.normal(size=(3, 3)).astype(np.float32),
        limit=draw(st.integers(1, 30)),
        diversity=draw(st.sampled_from([0.0, 0.1, 0.7, 1.0])),
        domain_calibration=draw(st.sampled_from([0.0, 0.3, 1.0])),
        provider_share=draw(st.sampled_from([0.05, 0.4, 1.0])),
        w_trend=0.1,
        w_session=0.2,
        w_cost=draw(st.sampled_from([0.0, 0.1])),
        w_cross_domain=0.1,
    )
