"""Training the models of an evaluation, each once: a finished one is found again."""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from artifacts import layout
from artifacts.engine import Engine
from artifacts.fusion import FusionArtifact, load_fusion
from artifacts.loader import load
from cli.evaluation.plan import Model, Plan
from models.data.dataset import Dataset
from models.data.errors import DatasetError, OptionError
from models.data.prices import as_of
from models.evaluate.parts import Parts
from models.evaluate.work import Work, code_of, digest, file_digest
from models.export import config_json
from models.fusion.config import TEXT, Earlier, Window, quantiles_of, readers
from models.fusion.train import before
from models.fusion.vectors import item_vectors
from models.memory import enough_memory
from models.options import with_options
from models.progress import Progress, silent
from models.train import FUSION, SOURCES, config_of, fixed_config, unsuited

# Given a stage of the work, returns what takes its progress.
Stages = Callable[[str], Progress]
_SECONDS = "seconds"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What all steps of one table share."""

    plan: Plan
    work: Work
    dataset: Dataset  # items as known when training, all events
    parts: Parts
    key: Mapping[str, Any]  # tells these parts from any others
    stages: Stages = lambda _: silent
    suffix: str = ""  # of the names of its rows


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One trained model."""

    model: Model
    engine: Engine
    directory: Path
    seconds: float | None  # of its training
    key: str  # tells it from any other


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """The trained models by label, and who is left out."""

    found: Mapping[str, Source]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def fused(self) -> dict[str, Source]:
        """Return by source what is fused: the first model of each, in the plan's order."""
        first: dict[str, Source] = {}
        for source in self.found.values():
            first.setdefault(source.model.source, source)
        return first


def train_sources(job: Job, *, again: Sources | None = None) -> Sources:
    """Train the plan's models on `parts.train`.

    `again` holds such a training, which is then repeated as it was on all known events;
    what it does not hold chooses anew. A model that these events teach nothing is left
    out, and one that `again` had to leave out stays so: the fusion has no weight for it.
    """
    found: dict[str, Source] = {}
    skipped = {} if again is None else dict(again.skipped)
    # In the order of training: text first, its encoder serves content too.
    for model in sorted(job.plan.models, key=lambda m: SOURCES.index(m.source)):
        if model.label in skipped:
            continue
        if why := unsuited(model.source, job.dataset):
            skipped[model.label] = why
            continue
        config = config_of(model.source, job.plan.preset, job.plan.seed, model.options)
        events = job.parts.train
        if again is not None:
            events = job.parts.known
            if (first := again.found.get(model.label)) is not None:
                config = fixed_config(model.source, config, first.engine.manifest.metrics)
        try:
            found[model.label] = _source(job, model, config, events)
        except DatasetError as error:
            skipped[model.label] = str(error)
    return Sources({m.label: found[m.label] for m in job.plan.models if m.label in found}, skipped)


def _source(job: Job, model: Model, config: Any, events: pl.DataFrame) -> Source:
    module = f"models.{model.source}.train"
    key = {
        "parts": job.key,
        "events": events.height,  # fewer without the validation part
        "source": model.source,
        "config": config_json(config),
        "code": code_of(module, "models.evaluate.parts", "models.data.prices"),
    }
    with job.work.held(model.source, key) as home:
        if not layout.versions(home, model.source):
            began = time.perf_counter()
            progress = job.stages(f"train {model.label}{job.suffix}")
            items = as_of(job.dataset.items, events)
            with enough_memory(model.label, model.options):
                importlib.import_module(module).train(config, items, events, home, progress)
            (home / _SECONDS).write_text(f"{time.perf_counter() - began:.3f}")
        directory = layout.find(home, model.source)
        return Source(model, load(directory), directory, _seconds(home), digest(key))


def fusible(sources: Sources) -> bool:
    """Say whether any of the models can be fused: whether one reads histories."""
    engines = {name: source.engine for name, source in sources.fused().items()}
    return bool(readers(engines))


def train_fusion(job: Job, sources: Sources) -> tuple[FusionArtifact, str]:
    """Tune the fusion on `parts.tune`; what is judged is not in what it gets. Return its key too.

    Raises OptionError where no model reads histories.
    """
    plan, fused = job.plan, sources.fused()
    if not fusible(sources):
        raise OptionError(
            "there is nothing to fuse: name a model that reads histories in --models, such as cf"
        )
    config = replace(
        config_of(FUSION, plan.preset, plan.seed),
        depth=plan.depth,
        asking=plan.asking,
        exclude_seen=plan.exclude_seen,
    )
    config = with_options(config, FUSION, plan.fusion_options)
    window = Window(job.parts.train, job.parts.tune)
    then = before(config, window)
    earlier = {} if then is None else earlier_sources(job, sources, then)
    if not earlier:  # its events are too few
        then = None
    key = {
        "sources": {name: source.key for name, source in fused.items()},
        "earlier": {name: source.key for name, source in earlier.items()},
        "config": config_json(config),
        "exposures": [file_digest(Path(path)) for path in config.exposures],
        "code": code_of("models.fusion.train"),
    }
    with job.work.held(FUSION, key) as home:
        if not layout.versions(home, FUSION):
            _gather(home, fused)
            shown = replace(job.dataset, events=job.parts.known)
            if then is not None:
                engines = {name: source.engine for name, source in earlier.items()}
                window = replace(window, earlier=Earlier(then, engines))
            tuning = importlib.import_module("models.fusion.train")
            stage = job.stages(f"tune the fusion{job.suffix}")
            with enough_memory(FUSION, plan.fusion_options):
                tuning.train(config, shown, home, stage, window)
        return load_fusion(layout.find(home, FUSION)), digest(key)


def earlier_sources(job: Job, sources: Sources, window: Window) -> dict[str, Source]:
    """Return what is fused as it was when an earlier window began, by source.

    Nothing where that window's events are too few for one of them.
    """
    found = {}
    for name, source in sources.fused().items():
        found[name] = source
        if name != TEXT:  # it learns nothing from events
            options = source.model.options
            config = config_of(name, job.plan.preset, job.plan.seed, options)
            try:
                found[name] = _source(job, source.model, config, window.known)
            except DatasetError:
                return {}
    return found


def refreshed(artifact: FusionArtifact, sources: Sources) -> FusionArtifact:
    """Return the fusion for other versions of its sources, as training with --refit does."""
    fused = sources.fused()
    quantiles = {name: quantiles_of(source.engine) for name, source in fused.items()}
    vectors = artifact.vectors
    if (content := fused.get("content")) is not None:
        vectors = item_vectors(content.directory.parents[1], artifact.item_keys)
    return replace(artifact, quantiles=quantiles, vectors=vectors)


def _gather(home: Path, fused: Mapping[str, Source]) -> None:
    """Make a repository of the sources that are fused, by links."""
    for name, source in fused.items():
        link = home / name
        link.unlink(missing_ok=True)
        link.symlink_to(source.directory.parent.resolve(), target_is_directory=True)


def _seconds(home: Path) -> float | None:
    try:
        return float((home / _SECONDS).read_text())
    except (OSError, ValueError):
        return None
