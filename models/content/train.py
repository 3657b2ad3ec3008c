"""Training the content model: learn without the last events, measure, then learn those too.

The one idea: the shipped model is the measured one, continued for a few steps on
all events, so that new tastes count and the second training costs little.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artifacts import layout
from artifacts.engines.indexed import ENGINE, IndexedEngine
from artifacts.engines.item_tower import IMAGE_WIDTH
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from models.codes import build_finder
from models.content.export import EXPORT_TOLERANCE, save
from models.content.fit import Schedule, fit, item_vectors
from models.content.model import Content, Served, Shape, Tower
from models.content.prepare import Catalogue, Moments, catalogue
from models.content.validate import measured
from models.data.errors import DatasetError
from models.data.interactions import interactions
from models.export import Origin, finish, new_manifest, wire_inputs, wire_outputs
from models.histories import Histories, sample_histories
from models.index import LISTS_FROM, Finder
from models.progress import Progress, part, silent
from models.text.encode import prepare_encoder
from models.text.packaged import ENGLISH, packaged
from models.threads import torch_threads
from models.validation import Holdout, hold_out

SOURCE = "content"
# Even where events are few: what items are must be learned.
_LEAST_STEPS = 40
# Weights of images that are tried; 0 leaves them out.
IMAGE_WEIGHTS = (0.0, 0.5, 1.0, 2.0)
__all__ = ["MODEL", "PRESETS", "Config", "train"]


@dataclass(frozen=True, slots=True)
class Config:
    """How the content model is trained."""

    # Length of item vectors. More: finer taste, and time of every request in proportion.
    width: int = 64
    # Which packaged encoder reads the texts, as text.encoder has it: "english", "multilingual".
    encoder: str = ENGLISH
    # Rows that categories, brands, words ... are hashed to; fewer collide more.
    hash_buckets: int = 16_384
    # Greatest length of what is learned per item, beside a unit vector for what it is.
    # More follows behaviour, less keeps known and new items comparable.
    own_norm: float = 0.5
    # How often an item has to do without its own part in training.
    own_dropout: float = 0.2
    # Batches of `batch` users; quality still rises after these, slowly.
    steps: int = 300
    batch: int = 512
    # Batches that continue on all events after the measurement.
    further_steps: int = 60
    # Most passes over the events, whatever the batches: more of them, and a small shop's few
    # events are learned by heart.
    passes: float = 5.0
    # How much an image says beside words, brand and the like; needs the column image_vector.
    # Negative: the best of several on held-out events, each tried by a short training. 0: none.
    image_weight: float = -1.0
    # Newest events of a history in training, and events after it that are to be found.
    # Both cost time and steady the gradient.
    length: int = 50
    targets: int = 10
    # Items drawn to compete, shared by the batch.
    negatives: int = 2_048
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    # Users that metrics are taken from.
    validation_users: int = 1_000
    # Newest events of a history that count in serving.
    max_history: int = 200
    # Catalogues of so many items are searched by lists. Lower: an item in a hundred is
    # missed; see models/index.py.
    index_from: int = LISTS_FROM
    # Threads of torch, see models/threads.py.
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a size of nothing, or an encoder that there is none of."""
        packaged(self.encoder)
        sizes = ("width", "hash_buckets", "batch", "length", "targets", "negatives", "threads")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


PRESETS = {
    "quick": Config(steps=40, further_steps=10, batch=128, negatives=512, validation_users=200),
    "demo": Config(),
    "full": Config(steps=2_000, further_steps=400, negatives=4_096, validation_users=5_000),
}


def train(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    repository: Path,
    progress: Progress = silent,
) -> Path:
    """Publish REPOSITORY/content/<version> and return it; frames as in models/data/schema.py.

    Item texts are encoded first (shared with the text source). Raises
    DatasetError without items, or without events that are more than dislikes.
    """
    wanted = events.filter(pl.col("type") != "dislike")
    if not items.height or not wanted.height:
        raise DatasetError(
            "items or events: empty, or nothing but dislikes: there is nothing to learn from; "
            "import data"
        )
    encoder = prepare_encoder(encoder=config.encoder)
    known = catalogue(
        items, buckets=config.hash_buckets, encoder=encoder, progress=part(progress, 0.0, 0.2)
    )
    held = hold_out(events)
    known, config, tried = _with_images(config, known, items, held, part(progress, 0.2, 0.4))
    model, metrics = learn_known(config, known, items, held, part(progress, 0.4, 0.75))
    metrics |= tried
    with torch_threads(config.threads):
        learn(model, config, known, (items, events), part(progress, 0.8, 0.95), further=True)
    vectors = _vectors(model, known, events)
    histories = sample_histories(wanted, newest=config.max_history, seed=config.seed)
    finder = _finder(config, model, vectors, known.keys, histories)
    keys = known.keys[finder.order]
    with layout.publish(repository, SOURCE) as (directory, version):
        worst = save(model, vectors, known.features, directory, finder=finder, encoder=encoder)
        parameters = {"max_history": config.max_history, "hash_buckets": config.hash_buckets}
        if model.shape.image:
            parameters[IMAGE_WIDTH] = model.shape.image
        manifest = new_manifest(
            Origin(SOURCE, version, config, events),
            engine=ENGINE,
            inputs=wire_inputs(),
            outputs=wire_outputs(embedding=config.width),
            metrics={**metrics, "export_difference": worst, **finder.metrics},
            tolerance=EXPORT_TOLERANCE,
            engine_parameters={**parameters, **finder.settings},
        )
        finish(directory, manifest, keys, IndexedEngine(directory, manifest, keys), histories)
    progress(1000, 1000, "done")
    return repository / SOURCE / str(version)


def _finder(
    config: Config, model: Content, vectors: torch.Tensor, keys: Keys, histories: Histories
) -> Finder:
    """Make what finds the items, measured with the vectors of some users."""
    rows = torch.from_numpy(KeyIndex(keys).rows(histories.keys))
    with torch.no_grad():
        _, users = Served(model, vectors)(rows, torch.from_numpy(histories.weight), rows[:, :1])
    known = (rows != 0).any(1)
    theirs = users[known].numpy()
    return build_finder(
        SOURCE, vectors.numpy(), theirs, lists_from=config.index_from, seed=config.seed
    )


def learn_known(
    config: Config, known: Catalogue, items: pl.DataFrame, held: Holdout, progress: Progress
) -> tuple[Content, dict[str, float]]:
    """Train on what is not held out; return the model and what it foresaw of the rest."""
    torch.manual_seed(config.seed)
    model = build(config, known)
    with torch_threads(config.threads):
        learn(model, config, known, (items, held.known), progress)
    vectors = _vectors(model, known, held.known)
    return model, measured(model, vectors, known.keys, held, config)


def _with_images(
    config: Config, known: Catalogue, items: pl.DataFrame, held: Holdout, progress: Progress
) -> tuple[Catalogue, Config, dict[str, float]]:
    """Settle what images weigh: the catalogue to learn from, the settings, what was measured."""
    tried: dict[str, float] = {}
    if not known.features.image.shape[1]:
        return known, replace(config, image_weight=0.0), tried
    weight = config.image_weight
    if weight < 0:
        short = replace(config, steps=max(config.steps // 3, 1))
        for at, candidate in enumerate(IMAGE_WEIGHTS):
            stage = part(progress, at / len(IMAGE_WEIGHTS), (at + 1) / len(IMAGE_WEIGHTS))
            seen = known if candidate else without_images(known)
            trial = replace(short, image_weight=candidate)
            found = learn_known(trial, seen, items, held, stage)[1]
            score = found.get("ndcg@10", 0.0) + found.get("ndcg_next@10", 0.0)
            tried[f"image_weight/{candidate:g}"] = score
        # Ties go to the least: with nothing held out, images are left out.
        weight = max(IMAGE_WEIGHTS, key=lambda w: (tried[f"image_weight/{w:g}"], -w))
    return (
        known if weight else without_images(known),
        replace(config, image_weight=weight),
        tried,
    )


def without_images(known: Catalogue) -> Catalogue:
    """Return the catalogue as though no item had an image."""
    none = known.features.image[:, :0]
    features = known.features._replace(image=none)
    return replace(known, features=features, image_mean=known.image_mean[:0])


def build(config: Config, known: Catalogue) -> Content:
    """Return an untrained model for a catalogue; seed torch before."""
    shape = Shape(
        items=len(known.keys),
        buckets=config.hash_buckets,
        width=config.width,
        text=known.features.text.shape[1],
        image=known.features.image.shape[1],
        own_norm=config.own_norm,
        image_weight=config.image_weight,
    )
    tower = Tower(shape, known.price_mean, known.price_scale, known.image_mean)
    return Content(shape, tower)


def learn(
    model: Content,
    config: Config,
    known: Catalogue,
    data: tuple[pl.DataFrame, pl.DataFrame],
    progress: Progress,
    *,
    further: bool = False,
) -> None:
    """Train on `data`, (items, events); `further` continues at a third of the speed."""
    items, events = data
    found = interactions(items, events, min_item_events=0)
    timed = events.height > 0 and events["time"].null_count() == 0
    moments = Moments(found, length=config.length, targets=config.targets, timed=timed)
    schedule = Schedule(
        steps=_steps(config, events.height, further=further),
        batch=config.batch,
        negatives=config.negatives,
        learning_rate=config.learning_rate / (3 if further else 1),
        weight_decay=config.weight_decay,
        own_dropout=config.own_dropout,
        seed=config.seed + further,
    )
    fit(model, known.features, moments, schedule, progress)


def _steps(config: Config, events: int, *, further: bool) -> int:
    """Return how many batches there are, within the passes that so many events allow."""
    passes = round(config.passes * events / config.batch)
    most = min(config.steps, max(passes, _LEAST_STEPS))
    # Those that continue go as far in proportion.
    return min(config.further_steps, max(most // 5, 1)) if further else most


def _vectors(model: Content, known: Catalogue, events: pl.DataFrame) -> torch.Tensor:
    """Vectors of all items; those without an event have no own part. A dislike teaches none."""
    met: Keys = (
        events.filter(pl.col("type") != "dislike")["item_key"].unique().to_numpy().astype(np.int64)
    )
    trained = torch.from_numpy(np.isin(known.keys, met))
    return item_vectors(model, known.features, trained)
