"""Learns from a catalogue alone how much meaning counts in which query.

The one idea: searches that the catalogue can answer itself (pretend.py) are put
to both halves once; then any weight can be tried on them by a sum. Whether it is worth
anything is said by searches it was not learned from: made_up.by_query against
made_up.single, in the manifest.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from artifacts.engine import Scores
from artifacts.engines.lexical import LexicalIndex, build_lexical
from artifacts.engines.query_weight import LEAST, MOST, NAMES, traits
from artifacts.engines.text import LEAST_LEXICAL
from models.text.documents import document, item_texts
from models.text.pretend import Pretended, pretend

Doubles = npt.NDArray[np.float64]
GRID = np.linspace(0.0, 1.0, 21)
# Fewer searches for a kind of thing say too little about how those are answered.
_LEAST_KINDS = 20
_POOL = 200
_PLACES = 10
_STEPS, _RATE = 600, 0.05
# What a coefficient's square costs: traits that hardly matter stay near 0.
_RIDGE = 2e-4
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was learned, by trait; empty where the catalogue names too few kinds of things."""

    learned: dict[str, float]
    metrics: dict[str, float]


def weigh(
    items: pl.DataFrame,
    vectors: Scores,
    encode: Callable[[Sequence[str]], Scores],
    *,
    each: int,
    seed: int,
) -> Weighed:
    """Learn a weight for each query from `each` searches of every kind.

    items sorted as the rows of vectors float32 [n, d] are. The metrics are NDCG@10
    on the made-up searches, half over the products whose answer is known and half over all.
    """
    searches = pretend(items, each=each, seed=seed)
    if sum(search.kind == "kind" for search in searches) < _LEAST_KINDS:
        return Weighed({}, {})
    features, curves = _curves(items, vectors, encode, searches)
    if len(curves) < _LEAST_KINDS:  # where the texts hold nothing but the kinds, none is left
        return Weighed({}, {})
    single = float(curves.mean(axis=0).max())
    fold = np.random.default_rng(seed).permutation(len(curves)) % _FOLDS
    unseen = np.zeros(len(curves))
    for number in range(_FOLDS):
        test = fold == number
        unseen[test] = _at(
            curves[test], _weights(features[test], _fit(features[~test], curves[~test]))
        )
    metrics = {
        "made_up.single": single,
        "made_up.single_weight": float(GRID[curves.mean(axis=0).argmax()]),
        "made_up.by_query": float(unseen.mean()),
    }
    return Weighed(dict(zip(NAMES, _fit(features, curves).tolist(), strict=True)), metrics)


def _curves(
    items: pl.DataFrame,
    vectors: Scores,
    encode: Callable[[Sequence[str]], Scores],
    searches: Sequence[Pretended],
) -> tuple[Doubles, Doubles]:
    """Return the traits [Q, F] of each search and its quality at each weight of GRID [Q, G]."""
    asked = encode([search.text for search in searches])
    with tempfile.TemporaryDirectory() as scratch:
        # Who asks for a kind would find it by that very field, which real products lack
        # or word differently: the words of titles and descriptions must do.
        bare = items.with_columns(category=pl.lit(""), attributes=pl.lit("{}"))
        same = np.array(item_texts(bare), object) == np.array(item_texts(items), object)
        build_lexical(Path(scratch) / "bare", map(document, bare.iter_rows(named=True)))
        index = LexicalIndex(Path(scratch) / "bare")
        features, curves = [], []
        for search, vector in zip(searches, asked, strict=True):
            # Where the kind stands in the text that is embedded, meaning would have it easy.
            gains = np.where(same | (search.kind in ("brand", "product")), search.gains, np.nan)
            found = traits(index.words(search.text), index.size)
            curve = _curve(index, search.text, vectors @ vector, gains)
            if curve is not None:
                features.append([found[name] for name in NAMES])
                curves.append(curve)
    return np.array(features), np.array(curves)


def _curve(index: LexicalIndex, text: str, cosine: Scores, gains: Doubles) -> Doubles | None:
    """Return NDCG@10 at each weight, [G]; None where no product is known to be right."""
    lexical = np.zeros(len(cosine), np.float32)
    query = index.parse(text)
    rows = np.zeros(0, np.int64)
    if query is not None:
        rows, scores = index.search(query, 10 * _POOL)
        lexical[rows - 1] = scores / max(LEAST_LEXICAL, float(scores.max(initial=0.0)))
    near = np.argpartition(-cosine, min(_POOL, len(cosine) - 1))[:_POOL]
    pool = np.union1d(rows[:_POOL] - 1, near)
    best = np.sort(gains[gains > 0])[::-1][:_PLACES]
    known = ~np.isnan(gains[pool])
    inside = np.sort(gains[pool][known])[::-1][:_PLACES]
    if not len(best) or not inside.any():
        return None
    blends = GRID[:, None] * np.maximum(cosine[pool], 0) + (1 - GRID[:, None]) * lexical[pool]
    whole = _dcg(blends, np.nan_to_num(gains[pool])) / _dcg(best[None], best)
    condensed = _dcg(blends[:, known], gains[pool][known]) / _dcg(inside[None], inside)
    curve: Doubles = (whole + condensed) / 2
    return curve


def _dcg(scores: npt.NDArray[np.floating], gains: Doubles) -> Doubles:
    """Return DCG@10 of gains [P] in the order of each row of scores [G, P]."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :_PLACES]
    found: Doubles = gains[top] @ (1 / np.log2(np.arange(2, top.shape[1] + 2)))
    return found


def _fit(features: Doubles, curves: Doubles) -> Doubles:
    """Return coefficients [F] whose weights are worth most, along the curves, less the ridge."""
    given = torch.from_numpy(features)
    worth = torch.from_numpy(curves)
    coefficients = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([coefficients], lr=_RATE)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        at = torch.sigmoid(given @ coefficients).clamp(LEAST, MOST) * (len(GRID) - 1)
        left = at.detach().floor().clamp(max=len(GRID) - 2).long()
        part = at - left
        low, high = (worth.gather(1, (left + more)[:, None])[:, 0] for more in (0, 1))
        loss = -(low + part * (high - low)).mean() + _RIDGE * coefficients[1:].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return coefficients.detach().numpy()


def _weights(features: Doubles, coefficients: Doubles) -> Doubles:
    found: Doubles = np.clip(1 / (1 + np.exp(-(features @ coefficients))), LEAST, MOST)
    return found


def _at(curves: Doubles, weights: Doubles) -> Doubles:
    """Return each curve's value at its weight."""
    return np.array([np.interp(w, GRID, curve) for w, curve in zip(weights, curves, strict=True)])
