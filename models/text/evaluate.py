"""How well searches are answered, and what the two halves would do alone.

Two judgements of one ranking: condensed nDCG orders the judged products only (is
the order right?), full nDCG ranks the whole catalogue and counts what nobody
judged as wrong (is the right product found?). The one idea: hybrid, dense and
lexical are the same engine with another weight, so they differ in nothing else.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts import manifest as manifests
from artifacts.engine import Question, Scores
from artifacts.engines.text import TextEngine
from artifacts.keys import Keys
from models.data.dataset import Dataset
from models.data.errors import DatasetError

Gains = npt.NDArray[np.float64]
HALVES = {"lexical": 0.0, "dense": 1.0}
_DISCOUNT = 1 / np.log2(np.arange(2, 12))


def evaluate_search(dataset: Dataset, artifact_dir: Path) -> dict[str, float]:
    """Return "{lexical,dense,hybrid}.{condensed,full}_ndcg@10" over the dataset's queries.

    Each also with the suffix "/tuned" and "/held_out" for the halves of the queries
    (by hash of their text) on which the engine's weights were and were not chosen.
    Gain 2^rating - 1. Raises DatasetError where the dataset has no queries.
    """
    if dataset.queries is None or not dataset.queries.height:
        raise DatasetError(f"{dataset.path}: no queries.parquet, there is nothing to judge by")
    manifest, keys = manifests.verify(artifact_dir)
    own = manifest.engine_parameters.get("dense_weight", 0.5)
    found: dict[str, float] = {}
    for name, weight in {**HALVES, "hybrid": own}.items():
        manifest.engine_parameters["dense_weight"] = weight
        engine = TextEngine(artifact_dir, manifest, keys)
        rows = [(held_out(q), *ndcgs(engine, q, k, r)) for q, k, r in judged(dataset.queries)]
        table = np.array(rows, np.float64)  # [queries, (held out, condensed, full)]
        for part, chosen in (
            ("", table),
            ("/tuned", table[table[:, 0] == 0]),
            ("/held_out", table[table[:, 0] == 1]),
        ):
            for column, kind in ((1, "condensed"), (2, "full")):
                values = chosen[:, column]
                values = values[np.isfinite(values)]
                if len(values):
                    found[f"{name}.{kind}_ndcg@10{part}"] = float(values.mean())
    return found


def held_out(query: str) -> bool:
    """Say on which half of the queries this one is, whatever the others are."""
    return hashlib.sha256(query.encode()).digest()[-1] % 2 == 1


def judged(queries: pl.DataFrame) -> Iterator[tuple[str, Keys, Gains]]:
    """Yield each query with its judged item keys [J] and their ratings [J]."""
    for (query,), rows in queries.sort("query", "item_key").group_by("query", maintain_order=True):
        yield str(query), rows["item_key"].to_numpy(), rows["rating"].to_numpy().astype(np.float64)


def ndcgs(engine: TextEngine, query: str, keys: Keys, ratings: Gains) -> tuple[float, float]:
    """Return condensed and full nDCG@10 of one query; NaN where nothing is relevant."""
    gains = 2.0**ratings - 1
    ideal = _dcg(np.sort(gains)[::-1])
    if not ideal:
        return np.nan, np.nan
    scores = engine.run(_question(query, candidates=keys)).scores[0]
    condensed = _dcg(gains[np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")])
    ranked = engine.run(_question(query)).item_keys
    gain = dict(zip(keys.tolist(), gains.tolist(), strict=True))
    shown = ranked[0].tolist() if ranked is not None else []
    full = _dcg(np.array([gain.get(key, 0.0) for key in shown]))
    return condensed / ideal, full / ideal


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


def _question(query: str, candidates: Keys | None = None) -> Question:
    nothing: Scores = np.zeros((1, 0), np.float32)
    return Question(
        history=np.zeros((1, 0), np.int64),
        history_weight=nothing,
        query=(query,),
        k=None if candidates is not None else np.array([10], np.int64),
        candidates=None if candidates is None else candidates[None],
    )


def _dcg(gains: Gains) -> float:
    top = gains[:10]
    return float(top @ _DISCOUNT[: len(top)])
