"""Training the sequence model: choose when to stop on held-out events, then learn those too.

The one idea: the newest events are both the best test and the best lesson. They
are held out while the model trains and its metrics are taken, and learned in a
few last steps before it is shipped.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artifacts import layout
from artifacts.engine import Question
from artifacts.engines.graph import left_padded
from artifacts.engines.indexed import ENGINE, HISTORY_SCORES, IndexedEngine
from artifacts.engines.told import TOLD, told
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from models.codes import build_finder
from models.curves import Curves
from models.data.errors import DatasetError
from models.data.interactions import Interactions, interactions
from models.evaluate.task import Task
from models.export import Origin, finish, new_manifest, wire_inputs, wire_outputs
from models.histories import Histories, sample_histories
from models.index import Finder
from models.progress import Progress, part
from models.sequence.config import PRESETS, Config, fixed, plan, windows
from models.sequence.features import item_features
from models.sequence.fit import TorchEngine, fit
from models.sequence.graph import (
    EXPORT_TOLERANCE,
    export_model,
    item_table,
    told_names,
    user_vectors,
)
from models.sequence.model import SequenceModel, Shape
from models.sequence.order import nearness, worth
from models.sequence.prepare import come_back, spectral_vectors
from models.sequence.told import Told
from models.threads import torch_threads
from models.validation import Holdout, hold_out, measure, tasks

SOURCE = "sequence"
__all__ = ["PRESETS", "Config", "fixed", "train"]


def train(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    repository: Path,
    progress: Progress,
) -> Path:
    """Train, export and publish; return the artifact's directory.

    Deterministic on one machine and thread count unless `max_seconds` ends it.
    Raises DatasetError where nobody has two events.
    """
    data = interactions(items, events, min_item_events=config.min_item_events)
    if not (np.diff(data.starts) > 1).any():
        raise DatasetError(
            f"events: no user has two events on items with at least {config.min_item_events} "
            "events, so nothing follows anything; import more, or lower min_item_events"
        )
    if config.gaps and not data.timed:
        raise DatasetError(
            "events: without times there are no gaps between them; train with gaps=false, or "
            "import times"
        )
    if config.repeats is None:
        config = replace(config, repeats=come_back(data))
    with torch_threads(config.threads):
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            model, metrics = _learn(config, items, events, data, progress)
        progress(960, 1000, "exporting")
        path = _publish(config, model, metrics, events, keys=data.item_keys, repository=repository)
        progress(1000, 1000, "sequence artifact written")
        return path


def _learn(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    data: Interactions,
    progress: Progress,
) -> tuple[SequenceModel, dict[str, float]]:
    held = hold_out(events)
    judges = tasks(held, users=config.validation_users, seed=config.seed)
    known = _same_rows(items, _not_judged(held, judges), data)
    judged = not config.stop_after and held.wanted.height and (np.diff(known.starts) > 1).any()
    learn = known if judged else data
    if config.nearness is None:
        progress(0, 1000, "counting what follows what")
        found = nearness(known, judges, config.horizon, items=items.height, seed=config.seed)
        config = replace(config, nearness=found)
    progress(0, 1000, "starting point")
    model = new_model(config, items, learn)

    def judge(candidate: SequenceModel) -> float:
        return worth(measure(TorchEngine(candidate, data.item_keys), judges, items.height))

    chosen: Callable[[SequenceModel], float] | None = judge if learn is known else None
    curves = Curves()
    steps = fit(
        model,
        learn,
        windows(config),
        plan(config),
        judge=chosen,
        curves=curves,
        progress=part(progress, 0.01, 0.85),
    )
    metrics = {"steps": float(steps), "nearness": config.nearness or 0.0, **curves.metrics()}
    if chosen is not None:
        metrics.update(measure(TorchEngine(model, data.item_keys), judges, items.height))
    if (chosen is not None or config.stop_after) and config.finishing_steps:
        final = plan(config, finishing=True)
        fit(model, data, windows(config), final, progress=part(progress, 0.87, 0.95))
    return model, metrics


def _not_judged(held: Holdout, judges: tuple[Task, Task]) -> pl.DataFrame:
    """Return the events to learn from while some users' held-out events are the judge.

    Without times these are single events of each user, and those of users who are not
    asked teach. With times they lie in the judge's future.
    """
    if held.wanted.height == 0 or held.wanted["time"].null_count() == 0:
        return held.known
    asked = pl.Series([*judges[0].user_ids, *judges[1].user_ids], dtype=pl.String)
    return pl.concat([held.known, held.wanted.filter(~pl.col("user_id").is_in(asked.implode()))])


def _same_rows(items: pl.DataFrame, events: pl.DataFrame, data: Interactions) -> Interactions:
    """Return `events` as arrays with the rows of `data`: one vocabulary for both."""
    kept = items.filter(pl.col("item_key").is_in(pl.Series(data.item_keys).implode()))
    return interactions(kept, events, min_item_events=0)


def new_model(config: Config, items: pl.DataFrame, data: Interactions) -> SequenceModel:
    """Return an untrained model that starts from popularity and the spectrum."""
    said = torch.from_numpy(item_features(items, data.item_keys)) if config.features else None
    model = SequenceModel(
        Shape(
            items=len(data.item_keys),
            width=config.width,
            blocks=config.blocks,
            heads=config.heads,
            length=config.max_history,
            dropout=config.dropout,
            repeats=bool(config.repeats),
            encoder=config.encoder,
            temperature=config.temperature,
            types=config.types,
            gaps=config.gaps,
        ),
        said,
    )
    counts = np.bincount(data.row, minlength=len(data.item_keys) + 1)[1:]
    share = np.log((counts + 1.0) / (counts + 1.0).sum())
    with torch.no_grad():
        model.bias[1:] = torch.from_numpy(share.astype(np.float32))
        if config.spectral_start:
            start = spectral_vectors(data, config.width, config.seed)
            # A little noise parts the items nobody has bought yet.
            model.items.weight[1:] += torch.from_numpy(start[1:])
    return model


def _publish(
    config: Config,
    model: SequenceModel,
    metrics: dict[str, float],
    events: pl.DataFrame,
    *,
    keys: Keys,
    repository: Path,
) -> Path:
    names = told_names(model.shape)
    histories = sample_histories(events, newest=config.max_history, seed=config.seed, told=names)
    finder = _finder(config, model, keys, histories)
    keys = keys[finder.order]
    with layout.publish(repository, SOURCE) as (directory, version):
        worst = export_model(model, directory / MODEL, finder)
        # A model that copies scores the items of a history otherwise than a search does.
        own = {HISTORY_SCORES: float(bool(config.repeats))}
        manifest = new_manifest(
            Origin(SOURCE, version, config, events),
            engine=ENGINE,
            inputs=wire_inputs(told=names),
            outputs=wire_outputs(embedding=config.width + 1),
            metrics={**metrics, "export_difference": worst, **finder.metrics},
            tolerance=EXPORT_TOLERANCE,
            engine_parameters={"max_history": config.max_history, **own, **finder.settings},
        )
        finish(directory, manifest, keys, IndexedEngine(directory, manifest, keys), histories)
    return repository / SOURCE / str(version)


def _finder(config: Config, model: SequenceModel, keys: Keys, histories: Histories) -> Finder:
    """Make what finds the items, measured with the states of some users."""
    model.eval()
    rows = KeyIndex(keys).rows(histories.keys)
    question = Question(
        histories.keys, histories.weight, history_type=histories.types, history_age=histories.ages
    )
    columns = told(question, TOLD).values()
    rows, padded = left_padded(rows, tuple(columns), config.max_history)
    known = (rows != 0).any(axis=1)
    types, ages = (torch.from_numpy(column[known]) for column in padded)
    users = user_vectors(model, rows[known], Told(types, ages))
    table = item_table(model)
    return build_finder(SOURCE, table, users, lists_from=config.index_from, seed=config.seed)
