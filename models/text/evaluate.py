"""How well searches are answered, by products that people rated.

Two judgements of one ranking: condensed nDCG orders the judged products only (is
the order right?), full nDCG ranks the whole catalogue and counts what nobody
judged as wrong (is the right product found?). The one idea: hybrid, dense and
lexical are the same engine with another weight, so they differ in nothing else.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts import manifest as manifests
from artifacts.engine import Engine, Question, Scores
from artifacts.engines.query_weight import FED_BACK, NAMES, PREFIX, UNREAD_WEIGHT, learned_in
from artifacts.engines.text import DENSE_WEIGHT, TextEngine
from artifacts.keys import Keys
from models.progress import Progress, silent
from plait.v1.manifest_pb2 import Manifest

Gains = npt.NDArray[np.float64]
_HALVES: Mapping[str, float] = {"lexical": 0.0, "dense": 1.0}
_ONE = "hybrid, one weight"


def halves(artifact_dir: Path) -> dict[str, TextEngine]:
    """Load a text artifact several times: its halves alone, and "hybrid" as it is served.

    Where that has a weight for each query, also "hybrid, one weight" for all.
    """
    manifest, keys = manifests.verify(artifact_dir)
    own = manifest.engine_parameters.get("dense_weight", DENSE_WEIGHT)
    weights = {**_HALVES, _ONE: own} if learned_in(manifest.engine_parameters) else _HALVES
    found = {
        name: TextEngine(artifact_dir, _one_weight(manifest, name, weight), keys)
        for name, weight in weights.items()
    }
    return {**found, "hybrid": TextEngine(artifact_dir, manifest, keys)}


def meaning_alone(artifact_dir: Path) -> TextEngine:
    """Load the half of a text artifact that goes by meaning, "dense" of `halves`."""
    manifest, keys = manifests.verify(artifact_dir)
    return TextEngine(artifact_dir, _one_weight(manifest, "dense", _HALVES["dense"]), keys)


def _one_weight(manifest: Manifest, name: str, weight: float) -> Manifest:
    """Return the manifest with one weight of meaning for all queries."""
    changed = Manifest()
    changed.CopyFrom(manifest)
    for trait in NAMES:
        changed.engine_parameters.pop(PREFIX + trait, None)
    if name in _HALVES:
        changed.engine_parameters.pop(UNREAD_WEIGHT, None)
        # What both find best is no half's.
        changed.engine_parameters.pop(FED_BACK, None)
    changed.engine_parameters["dense_weight"] = weight
    return changed


def search_values(
    engine: Engine, queries: pl.DataFrame, ks: Sequence[int], progress: Progress = silent
) -> dict[str, Gains]:
    """Return "condensed_ndcg@k" and "full_ndcg@k" of every query, float64 [Q], gain 2^rating - 1.

    In the order of `judged`; a query for which nothing is relevant is not among them.
    """
    asked = list(judged(queries))
    rows = []
    for number, (query, keys, ratings) in enumerate(asked):
        rows.append(ndcgs(engine, query, keys, ratings, ks))
        progress(number + 1, len(asked), "searching")
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}


def held_out(query: str) -> bool:
    """Say on which half of the queries this one is, whatever the others are."""
    return hashlib.sha256(query.encode()).digest()[-1] % 2 == 1


def judged(queries: pl.DataFrame) -> Iterator[tuple[str, Keys, Gains]]:
    """Yield each query with its judged item keys [J] and their ratings [J].

    Only queries with a product rated above 0: no ranking of the others is better
    than another.
    """
    relevant = queries.filter(pl.col("rating").max().over("query") > 0)
    for (query,), rows in relevant.sort("query", "item_key").group_by("query", maintain_order=True):
        yield str(query), rows["item_key"].to_numpy(), rows["rating"].to_numpy().astype(np.float64)


def ndcgs(
    engine: Engine, query: str, keys: Keys, ratings: Gains, ks: Sequence[int]
) -> Mapping[str, float]:
    """Return condensed and full nDCG of one query at each k, by name; one rating is above 0.

    A rating below 0 says no more than 0: who hides such a product would be above the ideal.
    """
    # All by the largest, which changes no quotient: 2^1024 is beyond what a number can be.
    top = ratings.max()
    gains = 2.0 ** (np.maximum(ratings, 0) - top) - 2.0**-top
    best = np.sort(gains)[::-1]
    scores = engine.run(_question(query, candidates=keys)).scores[0]
    condensed = gains[np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")]
    ranked = engine.run(_question(query, k=max(ks))).item_keys
    gain = dict(zip(keys.tolist(), gains.tolist(), strict=True))
    shown = ranked[0].tolist() if ranked is not None else []
    full = np.array([gain.get(key, 0.0) for key in shown])
    found = {}
    for k in ks:
        found[f"condensed_ndcg@{k}"] = _dcg(condensed, k) / _dcg(best, k)
        found[f"full_ndcg@{k}"] = _dcg(full, k) / _dcg(best, k)
    return found


def known_items(
    engine: TextEngine, items: pl.DataFrame, *, count: int = 200, seed: int = 0
) -> dict[str, float]:
    """Return how well titles find their item: recall@10 and MRR@10 of `count` of them.

    Not a judged search but what any catalogue has. An item of the same title is as good.
    """
    titled = items.filter(pl.col("title") != "")
    titled = titled.sample(min(count, titled.height), seed=seed)
    titles = dict(items.select("item_key", "title").iter_rows())
    places = []
    for title in titled["title"].to_list():
        ranked = engine.run(_question(title)).item_keys
        shown = ranked[0].tolist() if ranked is not None else []
        hit = [n for n, key in enumerate(shown) if titles.get(key) == title]
        places.append(1 / (1 + hit[0]) if hit else 0.0)
    if not places:
        return {}
    return {
        "known_item_recall@10": float(np.mean([place > 0 for place in places])),
        "known_item_mrr@10": float(np.mean(places)),
    }


def sample_queries(
    items: pl.DataFrame, events: pl.DataFrame, *, count: int = 120, seed: int = 0
) -> tuple[str, ...]:
    """Return queries as shoppers put them: real ones, else categories and words of titles."""
    real = events.filter(pl.col("query").fill_null("") != "")["query"].unique().sort()
    if len(real):
        return tuple(real.sample(min(count, len(real)), seed=seed).to_list())
    named = items.filter(pl.col("category") != "")["category"].unique().sort()
    titles = items.filter(pl.col("title") != "")["title"].unique().sort()
    names = named.sample(min(count // 2, len(named)), seed=seed).to_list()
    words = titles.sample(min(count - len(names), len(titles)), seed=seed).to_list()
    return (*names, *(" ".join(title.split()[:3]) for title in words))


def _question(query: str, candidates: Keys | None = None, k: int = 10) -> Question:
    nothing: Scores = np.zeros((1, 0), np.float32)
    return Question(
        history=np.zeros((1, 0), np.int64),
        history_weight=nothing,
        query=(query,),
        k=None if candidates is not None else np.array([k], np.int64),
        candidates=None if candidates is None else candidates[None],
    )


def _dcg(gains: Gains, k: int) -> float:
    top = gains[:k]
    return float(top @ (1 / np.log2(np.arange(2, len(top) + 2))))
