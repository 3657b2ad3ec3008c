"""Training the sequence model: choose when to stop on held-out events, then learn those too.

The one idea: the newest events are both the best test and the best lesson. They
are held out while the model trains and its metrics are taken, and learned in a
few last steps before it is shipped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artifacts import layout
from artifacts.engine import Question
from artifacts.engines.graph import GraphEngine, left_padded
from artifacts.engines.indexed import ENGINE, HISTORY_SCORES, IndexedEngine
from artifacts.engines.told import TOLD, told
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from models.curves import Curves
from models.data.errors import DatasetError
from models.data.interactions import Interactions, interactions
from models.evaluate.task import Task
from models.export import Origin, finish, new_manifest, wire_inputs, wire_outputs
from models.histories import Histories, sample_histories
from models.index import INDEX_FROM, Index, build_index, measures, settings
from models.progress import Progress, part
from models.sequence.encoders import ENCODERS
from models.sequence.features import item_features
from models.sequence.fit import Plan, TorchEngine, fit
from models.sequence.graph import (
    EXPORT_TOLERANCE,
    export_indexed,
    export_model,
    item_table,
    told_names,
    user_vectors,
)
from models.sequence.model import SequenceModel, Shape
from models.sequence.prepare import Windows, spectral_vectors
from models.sequence.told import Told
from models.threads import torch_threads
from models.validation import Holdout, hold_out, measure, tasks

SOURCE = "sequence"


@dataclass(frozen=True)
class Config:
    """How the sequence model is trained."""

    # What reads the history: attention, lstm or gru. Attention learns most; the others are
    # for comparison, and for histories whose every step matters.
    encoder: str = "attention"
    # Size of the item vectors. More holds more taste and costs time in proportion.
    width: int = 64
    # Layers of the encoder. One is nearly as good on short histories, two compose.
    blocks: int = 2
    heads: int = 2
    # Newest events that are read, in training and in serving. A request's time grows with it.
    max_history: int = 200
    # Share of activations dropped in training: more for small data and many epochs, which
    # would otherwise be learned by heart; none where there is time for a few epochs only.
    dropout: float = 0.0
    # 0: scores are products, and learn to copy and to weigh popularity within a few hundred
    # steps. Else cosines over this, about .07: several times fewer epochs where data are few.
    temperature: float = 0.0
    # Windows per step; more of them where histories are shorter than `places`. More is
    # steadier, fewer learn faster per event.
    batch: int = 32
    # Places predicted from per window: more learn more from one pass over it.
    places: int = 16
    # Next events that count as following, and how many of them are drawn as targets.
    # 1 asks for the very next item; more asks for the next few baskets, which is what a
    # shop can act on and is less noisy.
    horizon: int = 40
    targets: int = 10
    # Items buy again where shops sell groceries; where they do not, leave copying out.
    repeats: bool = True
    # Shared negatives per step: fewer is faster, more is nearer to the true softmax; 0 takes
    # all items, for small catalogues.
    negatives: int = 1_024
    # Negatives are drawn by popularity to this power: 0 uniform, 1 as they sell.
    negative_power: float = 0.5
    # Learn item vectors from domain, category, brand, provider and attributes as well: for
    # shops where most items sell rarely. Costs nothing when serving.
    features: bool = False
    # Read what each event was (a view, a purchase, ..): of use where there is more than one type.
    types: bool = False
    # Read how long after an event the next came, and how long ago each is; needs times.
    gaps: bool = False
    # Start from the spectrum of who bought what: a head start where steps are few.
    spectral_start: bool = True
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    # Steps at most, and seconds at most (0: no limit); whichever comes first ends training.
    # With the limit in seconds reached, two runs may differ.
    steps: int = 320
    max_seconds: float = 0.0
    # Looks at held-out events during training, on so many users, and how many of them may
    # bring nothing better before training stops.
    evaluations: int = 2
    patience: int = 2
    validation_users: int = 500
    # Last steps on all events, the held-out ones included; 0 ships what was measured.
    finishing_steps: int = 40
    # Train on all events and stop at this step, without looking at held-out ones: to repeat
    # a run whose best step is known, on more data. 0: hold out and look.
    stop_after: int = 0
    # Items with fewer events are unknown to this source.
    min_item_events: int = 2
    # Catalogues of so many items are searched by an index. Lower: faster, and an item in a
    # hundred is missed; see models/index.py.
    index_from: int = INDEX_FROM
    # Threads of torch. Two save a third of the time on two idle cores, and cost ten times as
    # much where another process wants one of them.
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for an encoder there is none of, or heads of unequal width."""
        if self.encoder not in ENCODERS:
            raise ValueError(
                f"there is no encoder {self.encoder!r}; there are: {', '.join(ENCODERS)}"
            )
        if self.encoder == "attention" and self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, which {self.heads} heads cannot share evenly; "
                "choose a multiple"
            )


PRESETS = {
    # A small test of the whole path; quality is the same method's.
    "quick": Config(steps=60, evaluations=1, validation_users=200),
    "demo": Config(),
    # Next-item prediction on short histories, as in the literature; minutes.
    "full": Config(
        max_history=50,
        dropout=0.5,
        temperature=0.07,
        batch=40,
        places=50,
        horizon=1,
        targets=1,
        repeats=False,
        negatives=512,
        features=True,
        learning_rate=4e-3,
        steps=1_600,
        evaluations=10,
        patience=3,
        validation_users=3_000,
        finishing_steps=60,
    ),
}


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
    with torch_threads(config.threads):
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            model, metrics = _learn(config, items, events, data, progress)
        progress(960, 1000, "exporting")
        path = _publish(config, model, metrics, events, keys=data.item_keys, repository=repository)
        progress(1000, 1000, "sequence artifact written")
        return path


def fixed(config: Config, metrics: Mapping[str, float]) -> Config:
    """Return the configuration that repeats a finished training, from its manifest's metrics.

    It stops where that one was best and holds nothing out, so it may learn from the
    events that one was judged by.
    """
    return replace(config, stop_after=int(metrics["steps"]))


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
    progress(0, 1000, "starting point")
    model = new_model(config, items, learn)

    def judge(candidate: SequenceModel) -> float:
        found = measure(TorchEngine(candidate, data.item_keys), judges, items.height)
        return found.get("ndcg@10", 0.0) + found.get("ndcg_next@10", 0.0)

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
    metrics: dict[str, float] = {"steps": float(steps), **curves.metrics()}
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
            repeats=config.repeats,
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


def windows(config: Config) -> Windows:
    """Return how batches are cut."""
    return Windows(
        batch=config.batch,
        length=config.max_history,
        places=config.places,
        targets=config.targets,
        horizon=config.horizon,
    )


def plan(config: Config, *, finishing: bool = False) -> Plan:
    """Return the training plan; the finishing one is short and gentle."""
    share = config.finishing_steps / max(1, config.steps)
    return Plan(
        steps=config.finishing_steps if finishing else config.steps,
        max_seconds=config.max_seconds * share if finishing else config.max_seconds,
        learning_rate=config.learning_rate * (0.25 if finishing else 1.0),
        weight_decay=config.weight_decay,
        negatives=config.negatives,
        negative_power=config.negative_power,
        evaluations=config.evaluations,
        patience=config.patience,
        seed=config.seed + (1 if finishing else 0),
        stop_after=0 if finishing else config.stop_after,
    )


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
    index = _index(config, model, keys, histories)
    with layout.publish(repository, SOURCE) as (directory, version):
        if index is None:
            worst = export_model(model, directory / MODEL)
        else:
            worst, keys = export_indexed(model, directory / MODEL, index), keys[index.order]
        # A model that copies scores the items of a history otherwise than the index does.
        own = {} if index is None else {HISTORY_SCORES: float(config.repeats)}
        manifest = new_manifest(
            Origin(SOURCE, version, config, events),
            engine="graph" if index is None else ENGINE,
            inputs=wire_inputs(told=names),
            outputs=wire_outputs(embedding=config.width + 1),
            metrics={**metrics, "export_difference": worst, **measures(index)},
            tolerance=EXPORT_TOLERANCE,
            engine_parameters={"max_history": config.max_history, **own, **settings(index)},
        )
        served = GraphEngine if index is None else IndexedEngine
        finish(directory, manifest, keys, served(directory, manifest, keys), histories)
    return repository / SOURCE / str(version)


def _index(config: Config, model: SequenceModel, keys: Keys, histories: Histories) -> Index | None:
    """Index the vectors of a large catalogue, measured with the states of some users."""
    if len(keys) < config.index_from:
        return None
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
    return build_index(item_table(model), users, seed=config.seed)
