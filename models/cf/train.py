"""Training the collaborative filter: choose settings on held-out events, then fit on all.

The one idea: the whole of B is never kept. Its strongest weights per item are
what is served, and the loss from leaving the rest away is measured on the same
held-out events and stands in the manifest (`ndcg@10` beside `dense_ndcg@10`).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from artifacts import layout
from artifacts.engines.graph import GraphEngine, left_pad
from artifacts.engines.neighbours import ENGINE, NeighbourEngine, Neighbourhoods
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from models.cf.graph import save_graph, save_neighbours, tables
from models.cf.local import LocalWeights, companions, local_weights
from models.cf.model import Floats, Indices, Inverse, inverter, neighbours
from models.cf.prepare import recency, saturated, user_item_matrix
from models.cf.tune import Choice, judges, popularity_scale, tune
from models.data.errors import DatasetError
from models.data.interactions import interactions
from models.evaluate.ranking import Asking
from models.export import (
    Histories,
    Origin,
    check_parity,
    finish,
    new_manifest,
    sample_histories,
    wire_inputs,
    wire_outputs,
)
from models.index import INDEX_FROM
from models.progress import Progress, part, silent
from models.validation import hold_out, measure, tasks
from plait.v1.manifest_pb2 import Manifest

SOURCE = "cf"
# ONNX against numpy, relative to the greatest score: both sum the same float32 numbers.
EXPORT_TOLERANCE = 1e-4
# Items that the comparison of files and numpy is about.
_PROBED = 50_000
# (history rows [B, L], weights [B, L], candidate rows [B, C]) -> scores [B, C]
Scorer = Callable[[Keys, Floats, Keys], Floats]


@dataclass(frozen=True, slots=True)
class Config:
    """How the collaborative filter is trained."""

    # Ridge penalties tried. More: each costs a factorisation where there are more users
    # than items. Greater values trust rare items less.
    regularisations: tuple[float, ...] = (100.0, 300.0, 1000.0)
    # Weights kept per item. 128 cost nothing measurable on new items; the artifact has
    # 8 bytes for each, and a request adds up history x this many.
    top_weights: int = 128
    # Days in which an event loses half its weight in training; 0: never. Shorter follows
    # the seasons, longer has more to learn from.
    half_life_days: float = 90.0
    # Items with fewer events are unknown to this source: nothing can be learned from one.
    min_item_events: int = 2
    # With more items than this, each is predicted from its nearest companions only
    # (models/cf/local.py). All at once takes time as n^2 times the smaller of users and
    # items, a quarter of an hour for these, and with more users than items 4 n^2 bytes.
    dense_items: int = 40_000
    # Only so many items, the most popular ones, take part while settings are chosen and
    # measured; they hardly depend on the rest. What is left out counts as missed, so the
    # metrics err on the low side.
    max_tuning_items: int = 12_500
    # From this many items on a request adds up only what its history's items name, instead
    # of an array over all items; the answers are the same.
    index_from: int = INDEX_FROM
    # Users that settings are judged by: fewer is faster, more is steadier.
    validation_users: int = 1_000
    # Newest events of a history that count, as in serving.
    max_history: int = 200
    seed: int = 0


# A small test of the whole path; quality is the same method's.
PRESETS = {
    "quick": Config(regularisations=(300.0,), validation_users=200),
    "demo": Config(),
    "full": Config(regularisations=(50.0, 100.0, 200.0, 400.0, 800.0), validation_users=5_000),
}


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A regression ready to be served."""

    keys: Keys  # int64 [n]
    rows: Indices  # [n + 1, K + 1], see models/cf/graph.py
    values: Floats  # [n + 1, K + 1]


def train(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    repository: Path,
    progress: Progress = silent,
) -> Path:
    """Publish REPOSITORY/cf/<version> and return it; frames as in models/data/schema.py.

    The metrics come from a fit without the last tenth of the events, the shipped
    model learns from all. Complete Journey takes about half a minute on two
    cores. Raises DatasetError if the events hold no two items.
    """
    keys, x = prepare(config, items, events)
    local = len(keys) > config.dense_items
    choice, metrics = validate(config, items, events, part(progress, 0.0, 0.55), local=local)
    progress(550, 1000, "regression on all events")
    inverse = _inverter(x, local=local)(choice.regularisation)
    fitted = strongest(config, choice, inverse, (keys, x))
    progress(900, 1000, "exporting")
    with layout.publish(repository, SOURCE) as (directory, version):
        origin = Origin(SOURCE, version, config, events)
        manifest = export(fitted, choice, origin, metrics, directory)
        served = GraphEngine if manifest.engine == "graph" else NeighbourEngine
        engine = served(directory, manifest, fitted.keys)
        finish(directory, manifest, fitted.keys, engine, _histories(config, fitted.keys, events))
    progress(1000, 1000, "done")
    return repository / SOURCE / str(version)


def validate(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    progress: Progress = silent,
    *,
    local: bool = False,
) -> tuple[Choice, dict[str, float]]:
    """Choose settings on held-out events and measure them as served; `events` hold both.

    `local` takes the regressions of large catalogues.
    """
    held = hold_out(events)
    if not held.wanted.height or not held.known.height:
        return Choice(sorted(config.regularisations)[len(config.regularisations) // 2]), {}
    keys, x = prepare(config, items, held.known, most=config.max_tuning_items)
    both = tasks(held, users=config.validation_users, seed=config.seed)
    judged = judges(both[1], KeyIndex(keys), Asking(history_length=config.max_history))
    trying = part(progress, 0.0, 0.6)
    invert = _inverter(x, local=local)
    choice, inverse = tune(x, judged, config.regularisations, trying, invert=invert)
    progress(600, 1000, "measuring what is served")
    fitted = strongest(config, choice, inverse, (keys, x))
    with tempfile.TemporaryDirectory(prefix="plait-cf-") as scratch:
        path = Path(scratch)
        _save(fitted, choice, path)
        parameters = {"max_history": float(config.max_history)}
        engine = GraphEngine(path, Manifest(engine_parameters=parameters), fitted.keys)
        metrics = measure(engine, both, items.height)
    # Before the weaker weights were left away.
    metrics |= {"dense_ndcg@10": choice.new_ndcg, "dense_ndcg_next@10": choice.next_ndcg}
    return choice, metrics


def strongest(
    config: Config, choice: Choice, inverse: Inverse, data: tuple[Keys, sparse.csr_matrix]
) -> Fitted:
    """Keep the strongest weights of a regression on `data`: keys [n] and X [U, n]."""
    keys, x = data
    scale = popularity_scale(x, choice.popularity_discount)
    keep = min(config.top_weights, x.shape[1] - 1)
    if isinstance(inverse, LocalWeights):
        kept = inverse.strongest(scale, keep=keep)
    else:
        kept = neighbours(inverse, scale, keep=keep)
    rows, values = tables(kept, repeat_weight=choice.repeat_weight)
    return Fitted(keys, rows, values)


def _inverter(x: sparse.csr_matrix, *, local: bool) -> Callable[[float], Inverse]:
    if not local:
        return inverter(x)
    found = companions(x)
    return lambda regularisation: local_weights(found, regularisation)


def export(
    fitted: Fitted, choice: Choice, origin: Origin, metrics: dict[str, float], directory: Path
) -> Manifest:
    """Write the model's files, prove them equal to numpy, return the manifest without samples."""
    config: Config = origin.config
    large = len(fitted.keys) >= config.index_from
    if large:
        exponent = choice.recency_exponent
        save_neighbours(fitted.rows, fitted.values, recency_exponent=exponent, directory=directory)
    else:
        _save(fitted, choice, directory)
    worst = _parity(fitted, choice, _scorer(directory, large=large), config)
    chosen = {
        "regularisation": choice.regularisation,
        "recency_exponent": choice.recency_exponent,
        "popularity_discount": choice.popularity_discount,
        "repeat_weight": choice.repeat_weight,
    }
    return new_manifest(
        origin,
        engine=ENGINE if large else "graph",
        inputs=wire_inputs(),
        outputs=wire_outputs(),
        metrics={**metrics, **chosen, "export_difference": worst},
        tolerance=EXPORT_TOLERANCE,
        engine_parameters={"max_history": config.max_history},
    )


def reference_scores(
    fitted: Fitted, history: Keys, weight: Floats, *, recency_exponent: float
) -> Floats:
    """Return in numpy what the graph computes: rows [B, L] -> scores [B, n + 1], -inf unsaid."""
    sums = np.zeros((len(history), len(fitted.rows)), np.float64)
    totals = np.zeros_like(sums)
    strength = weight * recency(history, recency_exponent)
    for b, (rows, values) in enumerate(zip(history, strength, strict=True)):
        np.add.at(totals[b], rows, values)
        counts = saturated(totals[b].astype(np.float32))
        for row in np.unique(rows[rows != 0]):
            np.add.at(sums[b], fitted.rows[row], counts[row] * fitted.values[row])
    found: Floats = np.where(sums == 0, -np.inf, sums).astype(np.float32)
    return found


def _parity(fitted: Fitted, choice: Choice, scores: Scorer, config: Config) -> float:
    """Compare files and numpy on random histories with gaps, repeats and every length."""
    random = np.random.default_rng(config.seed)
    n = len(fitted.keys)
    # Of a large catalogue a part stands for all: what a million items say takes a gigabyte.
    history = random.integers(0, min(n, _PROBED) + 1, (8, 40))
    history[:, 20:30] = history[:, :10]
    weight = random.random(history.shape).astype(np.float32)
    history, weight = left_pad(history * (random.random(history.shape) < 0.8), weight, 0)
    expected = reference_scores(fitted, history, weight, recency_exponent=choice.recency_exponent)
    named = np.unique(fitted.rows[np.unique(history)])[-_PROBED:]
    candidates = np.tile(named.astype(np.int64), (len(history), 1))
    # What cancels out exactly in one order of summing leaves a speck in another, so no
    # opinion is compared as 0.
    answers = (expected[:, named], scores(history, weight, candidates))
    compared = [np.where(np.isfinite(s), s, 0) for s in answers]
    size = max(float(np.abs(compared[0]).max()), 1e-6)
    return check_parity("cf", compared[0] / size, compared[1] / size, tolerance=EXPORT_TOLERANCE)


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


def _save(fitted: Fitted, choice: Choice, directory: Path) -> None:
    exponent = choice.recency_exponent
    save_graph(fitted.rows, fitted.values, recency_exponent=exponent, path=directory / MODEL)


def prepare(
    config: Config, items: pl.DataFrame, events: pl.DataFrame, *, most: int | None = None
) -> tuple[Keys, sparse.csr_matrix]:
    """Return the keys [n] of the items that take part and X [U, n].

    `most` limits n to the most popular. Raises DatasetError.
    """
    found = interactions(items, events, min_item_events=config.min_item_events)
    if len(found.item_keys) < 2:
        raise DatasetError(
            "events: fewer than two items have events enough to learn from; "
            f"each needs {config.min_item_events} (min_item_events)"
        )
    if most is not None and len(found.item_keys) > most:
        counts = np.bincount(found.row, minlength=len(found.item_keys) + 1)[1:]
        popular = pl.Series(found.item_keys[np.argsort(-counts, kind="stable")[:most]])
        items = items.filter(pl.col("item_key").is_in(popular.implode()))
        found = interactions(items, events, min_item_events=config.min_item_events)
    timed = events["time"].null_count() == 0
    x = user_item_matrix(found, half_life_days=config.half_life_days, timed=timed)
    return found.item_keys, x


def _histories(config: Config, keys: Keys, events: pl.DataFrame) -> Histories:
    known = events.filter(
        pl.col("item_key").is_in(pl.Series(keys).implode()) & (pl.col("type") != "dislike")
    )
    return sample_histories(known, newest=config.max_history, seed=config.seed)
