"""Training the collaborative filter: choose settings on held-out events, then fit on all.

The one idea: the whole of a model is never kept where it is large. Its strongest
weights per item are what is served, and the loss from leaving the rest away is measured
on the same held-out events and stands in the manifest (`ndcg@10` beside `dense_ndcg@10`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from artifacts import layout
from artifacts.disk import temporary
from artifacts.keys import KeyIndex, Keys
from models.cf.config import HALF_LIFE_DAYS, PRESETS, Config
from models.cf.export import export, open_saved, save, served_form
from models.cf.methods import METHODS
from models.cf.prepare import user_item_matrix
from models.cf.tune import RECENCY, Choice, Judges, judges, tune
from models.cf.weights import Fit
from models.data.errors import DatasetError
from models.data.interactions import interactions
from models.evaluate.ranking import Asking
from models.export import Origin, finish
from models.histories import Histories, sample_histories
from models.progress import Progress, part, silent
from models.validation import hold_out, measure, ordered, tasks
from plait.v1.manifest_pb2 import Manifest

SOURCE = "cf"
# By so much must events that keep their weight foresee more than those that fade.
_CLEARLY = 1.05
__all__ = ["PRESETS", "Config", "train"]


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
    progress(550, 1000, f"{config.method} on all events")
    if choice.half_life_days != _half_life(config):
        x = prepare(replace(config, half_life_days=choice.half_life_days), items, events)[1]
    fit = METHODS[config.method].fitter(x, config)(choice.setting)
    served = served_form(config, choice, fit, (keys, x))
    progress(900, 1000, "exporting")
    with layout.publish(repository, SOURCE) as (directory, version):
        origin = Origin(SOURCE, version, config, events)
        manifest = export(served, choice, origin, metrics, directory)
        engine = open_saved(directory, manifest, keys)
        finish(directory, manifest, keys, engine, _histories(config, keys, events))
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
    method = METHODS[config.method]
    settings = method.settings(config)
    usual = Choice(settings[len(settings) // 2], half_life_days=_half_life(config))
    held = hold_out(events)
    both = tasks(held, users=config.validation_users, seed=config.seed)
    # Nobody to ask: what is held out is of users of whom nothing else is known.
    if not held.known.height or not both[1].user_ids:
        return usual, {}
    most = config.max_tuning_items if method.by_items else None
    try:
        keys, x = prepare(config, items, held.known, most=most)
    except DatasetError:  # all events may still teach what these are too few for
        return usual, {}
    judged = judges(
        both[1],
        KeyIndex(keys),
        Asking(history_length=config.max_history),
        exponents=RECENCY if ordered(events) else (0.0,),
    )
    learning = replace(config, dense_items=0) if local else config
    known = items, held.known, most
    choice, fit, x = _choose(learning, known, x, judged, part(progress, 0.0, 0.6))
    progress(600, 1000, "measuring what is served")
    served = served_form(config, choice, fit, (keys, x))
    with temporary() as path:
        name = save(served, choice.recency_exponent, path, index_from=len(keys) + 1)
        parameters = {"max_history": float(config.max_history)}
        manifest = Manifest(engine=name, engine_parameters=parameters)
        metrics = measure(open_saved(path, manifest, keys), both, items.height)
    # Before the weaker weights were left away.
    metrics |= {"dense_ndcg@10": choice.new_ndcg, "dense_ndcg_next@10": choice.next_ndcg}
    return choice, metrics


def _choose(
    config: Config,
    known: tuple[pl.DataFrame, pl.DataFrame, int | None],
    x: sparse.csr_matrix,
    judged: Judges,
    progress: Progress,
) -> tuple[Choice, Fit, sparse.csr_matrix]:
    """Return the best settings, the model they make, and the X [U, n] that it was fitted on.

    `known` is what X was prepared from: items, events, and how many items at most.
    """
    method = METHODS[config.method]
    choice, fit = tune(method.fitter(x, config), method.settings(config), x, judged, progress)
    choice = replace(choice, half_life_days=_half_life(config))
    items, events, most = known
    if config.half_life_days >= 0 or events["time"].null_count():
        return choice, fit, x
    lasting = prepare(replace(config, half_life_days=0.0), items, events, most=most)[1]
    again, other = tune(method.fitter(lasting, config), (choice.setting,), lasting, judged, silent)
    if again.new_ndcg > _CLEARLY * choice.new_ndcg:
        return replace(again, half_life_days=0.0), other, lasting
    return choice, fit, x


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
    x = user_item_matrix(found, half_life_days=_half_life(config), timed=timed)
    return found.item_keys, x


def _half_life(config: Config) -> float:
    """Return the half-life that is taken unless held-out events say otherwise."""
    return HALF_LIFE_DAYS if config.half_life_days < 0 else config.half_life_days


def _histories(config: Config, keys: Keys, events: pl.DataFrame) -> Histories:
    known = events.filter(
        pl.col("item_key").is_in(pl.Series(keys).implode()) & (pl.col("type") != "dislike")
    )
    return sample_histories(known, newest=config.max_history, seed=config.seed)
