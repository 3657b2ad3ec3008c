"""The collaborative filter as files, proven to say what was trained.

The one idea: what is compared is the graph and the same sums in numpy, from the same
tables; what the tables lost against the model as fitted (weights left away) is a
question of quality and measured as such (models/cf/train.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from artifacts.engine import Engine
from artifacts.engines.graph import GraphEngine, left_pad
from artifacts.engines.neighbours import ENGINE, NeighbourEngine, Neighbourhoods
from artifacts.keys import Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from models.cf.config import Config
from models.cf.factor_graph import save_factors
from models.cf.factors import Factors
from models.cf.graph import save_graph, save_neighbours, tables
from models.cf.model import Floats, Indices
from models.cf.prepare import recency, saturated
from models.cf.tune import Choice, popularity_scale
from models.cf.weights import Baseline, Fit, Weights
from models.export import Origin, check_parity, new_manifest, wire_inputs, wire_outputs
from plait.v1.manifest_pb2 import Manifest

# ONNX against numpy, relative to the greatest score: both sum the same float32 numbers.
EXPORT_TOLERANCE = 1e-4
# The same of a fold-in by steps against the exact solution.
FOLD_IN_TOLERANCE = 1e-2
# Items that the comparison of files and numpy is about.
_PROBED = 50_000
# (history rows [B, L], weights [B, L], candidate rows [B, C]) -> scores [B, C]
Scorer = Callable[[Keys, Floats, Keys], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Item-item weights, ready to be served."""

    keys: Keys  # int64 [n]
    rows: Indices  # [n + 1, K + 1], see models/cf/graph.py
    values: Floats  # [n + 1, K + 1]
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """A model of vectors, ready to be served."""

    keys: Keys  # int64 [n]
    factors: Factors
    repeat_weight: float


Served = Tables | Vectors


def served_form(
    config: Config, choice: Choice, fit: Fit, data: tuple[Keys, sparse.csr_matrix]
) -> Served:
    """Return what is kept of a model fitted on `data`: keys [n] and X [U, n]."""
    keys, x = data
    scale = popularity_scale(x, choice.popularity_discount)
    if isinstance(fit, Factors):
        return Vectors(keys, fit.scaled(scale), choice.repeat_weight)
    weights: Weights = fit  # type: ignore[assignment]  # there are two forms
    kept = weights.strongest(scale, keep=min(config.top_weights, x.shape[1] - 1))
    rows, values = tables(kept, repeat_weight=choice.repeat_weight)
    baseline = weights.baseline
    return Tables(keys, rows, values, None if baseline is None else baseline.scaled(scale))


def save(served: Served, exponent: float, directory: Path, *, index_from: int) -> str:
    """Write the model's files; return the name of the engine that reads them."""
    path = directory / MODEL
    if isinstance(served, Vectors):
        save_factors(
            served.factors,
            recency_exponent=exponent,
            repeat_weight=served.repeat_weight,
            path=path,
        )
        return "graph"
    rows, values, baseline = served.rows, served.values, served.baseline
    if len(served.keys) < index_from:
        save_graph(rows, values, recency_exponent=exponent, path=path, baseline=baseline)
        return "graph"
    save_neighbours(rows, values, recency_exponent=exponent, directory=directory, baseline=baseline)
    return ENGINE


def open_saved(directory: Path, manifest: Manifest, keys: Keys) -> Engine:
    """Return the engine of an artifact that has no manifest on disk yet."""
    engine = NeighbourEngine if manifest.engine == ENGINE else GraphEngine
    return engine(directory, manifest, keys)


def export(
    served: Served, choice: Choice, origin: Origin, metrics: dict[str, float], directory: Path
) -> Manifest:
    """Write the model's files, prove them equal to numpy, return the manifest without samples."""
    config: Config = origin.config
    exponent = choice.recency_exponent
    engine = save(served, exponent, directory, index_from=config.index_from)
    scorer = _scorer(directory, large=engine == ENGINE)
    folded = isinstance(served, Vectors) and served.factors.confidence is not None
    tolerance = FOLD_IN_TOLERANCE if folded else EXPORT_TOLERANCE
    worst = _parity(served, exponent, scorer, (config.seed, tolerance))
    chosen = {
        **choice.setting,
        "recency_exponent": exponent,
        "popularity_discount": choice.popularity_discount,
        "repeat_weight": choice.repeat_weight,
        "half_life_days": choice.half_life_days,
    }
    return new_manifest(
        origin,
        engine=engine,
        inputs=wire_inputs(),
        outputs=wire_outputs(),
        metrics={**metrics, **chosen, "export_difference": worst},
        tolerance=tolerance,
        engine_parameters={"max_history": config.max_history},
    )


def reference_scores(
    served: Served, history: Keys, weight: Floats, *, recency_exponent: float
) -> Floats:
    """Return in numpy what the graph computes: rows [B, L] -> scores [B, n + 1], -inf unsaid."""
    found = np.zeros((len(history), len(served.keys) + 1), np.float32)
    strength = weight * recency(history, recency_exponent)
    for b, (rows, values) in enumerate(zip(history, strength, strict=True)):
        totals = np.bincount(rows, values, len(served.keys) + 1).astype(np.float32)
        there = np.unique(rows[rows != 0])
        taken = saturated(totals[there])
        if isinstance(served, Vectors):
            found[b] = _by_vectors(served, there, taken)
        else:
            found[b] = _by_weights(served, there, taken)
    return found


def _by_weights(served: Tables, rows: Keys, taken: Floats) -> Floats:
    sums = np.zeros(len(served.keys) + 1, np.float64)
    base = served.baseline
    if base is not None:
        of_user = base.of_users(taken.sum(keepdims=True))
        taken = taken - base.item[rows - 1] - of_user - np.float32(base.mean)
    for row, value in zip(rows, taken, strict=True):
        np.add.at(sums, served.rows[row], value * served.values[row])
    added = 0 if base is None else np.append(0, base.added)
    sums[0] = 0
    found: Floats = np.where(sums == 0, -np.inf, sums + added).astype(np.float32)
    return found


def _by_vectors(served: Vectors, rows: Keys, taken: Floats) -> Floats:
    n = len(served.keys)
    history = sparse.csr_matrix((taken, (np.zeros(len(rows), np.int64), rows - 1)), (1, n))
    scores = served.factors.predict(history)[0]
    scores[rows - 1] += np.float32(served.repeat_weight) * taken
    return np.append(np.float32(-np.inf), scores).astype(np.float32)


def _parity(served: Served, exponent: float, scores: Scorer, how: tuple[int, float]) -> float:
    """Compare files and numpy on random histories with gaps, repeats and every length."""
    seed, tolerance = how
    random = np.random.default_rng(seed)
    n = len(served.keys)
    # Of a large catalogue a part stands for all: what a million items say takes a gigabyte.
    history = random.integers(0, min(n, _PROBED) + 1, (8, 40))
    history[:, 20:30] = history[:, :10]
    weight = random.random(history.shape).astype(np.float32)
    history, weight = left_pad(history * (random.random(history.shape) < 0.8), weight, 0)
    expected = reference_scores(served, history, weight, recency_exponent=exponent)
    named = np.arange(n + 1)
    if isinstance(served, Tables):
        named = np.unique(served.rows[np.unique(history)]).astype(np.int64)
    named = named[-_PROBED:]
    candidates = np.tile(named, (len(history), 1))
    # What cancels out exactly in one order of summing leaves a speck in another, so no
    # opinion is compared as 0.
    answers = (expected[:, named], scores(history, weight, candidates))
    compared = [np.where(np.isfinite(s), s, 0) for s in answers]
    size = max(float(np.abs(compared[0]).max()), 1e-6)
    return check_parity("cf", compared[0] / size, compared[1] / size, tolerance=tolerance)


def _scorer(directory: Path, *, large: bool) -> Scorer:
    """Return what scores candidate rows by the files as they were written."""
    if large:
        summing = Neighbourhoods.open(directory)
        return summing.score
    session = open_session(directory / MODEL)

    def score(history: Keys, weight: Floats, candidates: Keys) -> Floats:
        feed = {"history": history, "history_weight": weight, "candidates": candidates}
        out: list[Floats] = session.run(
            ["candidate_scores"], {**feed, "k": np.array([1], np.int64)}
        )
        return out[0]

    return score
