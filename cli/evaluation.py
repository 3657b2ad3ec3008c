"""An evaluation from dataset to report: split, train, tune on validation, judge on test.

The order is what keeps it honest: models see the train part, the fusion's
weights are tuned on what follows it, and the test part is looked at once.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import Engine
from artifacts.fusion import FusionArtifact, load_fusion
from artifacts.loader import load
from cli.machine import describe
from cli.offline import OfflineFusion
from models.data.dataset import Dataset
from models.data.splits import Split, make_split
from models.evaluate.fused import rank_fused
from models.evaluate.metrics import summarise
from models.evaluate.popularity import PopularityEngine
from models.evaluate.ranking import Asking, Lists, rank
from models.evaluate.report import Line, Report
from models.evaluate.task import Task, make_task
from models.fusion import train as fusion
from models.fusion.catalogue import make_catalogue, market_trends
from models.fusion.config import quantiles_of, readers
from models.progress import Progress, silent
from models.train import SOURCES, TrainConfig, train_source, unsuited

MODELS = ("cf", "content", "sequence", "text", "popularity", "fused")
# Given a stage of the work, returns what takes its progress.
Stages = Callable[[str], Progress]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate, and how."""

    protocol: str
    models: tuple[str, ...]
    repository: Path
    ks: tuple[int, ...] = (10, 20)
    users: int | None = None
    exclude_seen: bool = True
    preset: str = "full"
    # Train once more on train and validation before the test, with the tuned weights.
    with_validation: bool = False
    # Candidates of each source that are fused, as in serving.
    depth: int = 200
    asking: Asking = field(default_factory=Asking)
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The sources' engines, how long each took to train (None: reused), and who is missing."""

    engines: Mapping[str, Engine]
    seconds: Mapping[str, float | None]
    skipped: Mapping[str, str]


def evaluate(dataset: Dataset, plan: Plan, stages: Stages = lambda _: silent) -> Report:
    """Run the plan; raises DataError and ArtifactError with messages for people."""
    split = make_split(dataset, plan.protocol, seed=plan.seed)
    trained = train_sources(dataset, split.train, plan, plan.repository, stages)
    artifact: FusionArtifact | None = None
    if "fused" in plan.models:
        artifact = tune(dataset, split, plan, stages)
    known = pl.concat([split.train, split.valid])
    if plan.with_validation:
        trained = train_sources(dataset, known, plan, plan.repository / "with-validation", stages)
    task = make_task(
        known, split.test, exclude_seen=plan.exclude_seen, users=plan.users, seed=plan.seed
    )
    lines, lists = _alone(dataset, known, plan, (trained, task), stages)
    if artifact is not None and lists:
        refreshed = replace(artifact, quantiles=_quantiles(trained.engines))
        lines += _together(dataset, known, plan, (refreshed, task, lists), stages)
    return Report(
        dataset=dataset.info.name,
        protocol=plan.protocol,
        split=split.note,
        ks=plan.ks,
        users=len(task.user_ids),
        users_without_history=task.without_history,
        targets=len(task.targets.keys),
        catalogue=dataset.items.height,
        exclude_seen=plan.exclude_seen,
        trained_on="train and validation" if plan.with_validation else "train",
        lines=tuple(lines),
        skipped=trained.skipped,
        fusion=_fusion(artifact, plan.repository) if artifact is not None else {},
        machine=describe(),
        settings={**asdict(plan), "repository": str(plan.repository)},
    )


def train_sources(
    dataset: Dataset, events: pl.DataFrame, plan: Plan, repository: Path, stages: Stages
) -> Trained:
    """Train the plan's sources on `events`, or reuse what lies in the repository."""
    engines: dict[str, Engine] = {}
    seconds: dict[str, float | None] = {}
    skipped: dict[str, str] = {}
    # In the order of training: text first, its encoder serves content too.
    for source in (s for s in SOURCES if s in plan.models):
        if why := unsuited(source, dataset):
            skipped[source] = why
            continue
        seconds[source] = None
        if not layout.versions(repository, source):
            config = TrainConfig(preset=plan.preset, seed=plan.seed)
            progress = stages(f"train {source}")
            done = train_source(
                source, dataset, events, repository=repository, config=config, progress=progress
            )
            seconds[source] = done.seconds
        engines[source] = load(layout.find(repository, source))
    return Trained({s: engines[s] for s in plan.models if s in engines}, seconds, skipped)


def tune(dataset: Dataset, split: Split, plan: Plan, stages: Stages) -> FusionArtifact:
    """Tune the fusion on the validation part; the test part is not in what it gets."""
    shown = replace(dataset, events=pl.concat([split.train, split.valid]))
    config = replace(
        fusion.PRESETS[plan.preset],
        depth=plan.depth,
        asking=plan.asking,
        exclude_seen=plan.exclude_seen,
        seed=plan.seed,
    )
    window = fusion.Window(split.train, split.valid)
    directory = fusion.train(config, shown, plan.repository, stages("tune fusion"), window)
    return load_fusion(directory)


def _alone(
    dataset: Dataset,
    known: pl.DataFrame,
    plan: Plan,
    given: tuple[Trained, Task],
    stages: Stages,
) -> tuple[list[Line], dict[str, Lists]]:
    """Each model by itself; returns the lists of those that the fusion blends too."""
    trained, task = given
    engines = {name: trained.engines[name] for name in readers(trained.engines)}
    asked: dict[str, Engine] = dict(engines)
    if "popularity" in plan.models:
        asked = {"popularity": PopularityEngine(known), **asked}
    lines, lists = [], {}
    deepest = max(plan.depth, *plan.ks)
    for name, engine in asked.items():
        began = time.perf_counter()
        found = rank(engine, task, deepest, plan.asking, stages(f"rank {name}"))
        seconds = time.perf_counter() - began
        metrics = summarise(
            found.keys[:, : max(plan.ks)], task.targets, plan.ks, len(dataset.items)
        )
        if name in engines:
            lists[name] = Lists(found.keys[:, : plan.depth], found.scores[:, : plan.depth])
        version = int(engine.manifest.version)
        lines.append(Line(name, metrics, trained.seconds.get(name), seconds, version))
    return lines, lists


def _together(
    dataset: Dataset,
    known: pl.DataFrame,
    plan: Plan,
    given: tuple[FusionArtifact, Task, dict[str, Lists]],
    stages: Stages,
) -> list[Line]:
    """The fused ranking, and what its parts are worth."""
    artifact, task, lists = given
    trends = {}
    if task.timed and len(task.now):
        catalogue = make_catalogue(dataset.items, artifact.vectors)
        now, half_life = float(task.now.min()), artifact.settings.trend_half_life_days
        trends = market_trends(catalogue, known, now, half_life)
    lines = []
    for name, changed, diversity, note in _ways(artifact, trends=bool(trends)):
        fuse = OfflineFusion(
            changed, dataset.items, trends, sources=tuple(lists), diversity=diversity
        )
        began = time.perf_counter()
        ranked = rank_fused(
            fuse, task, lists, k=max(plan.ks), asking=plan.asking, progress=stages(f"rank {name}")
        )
        seconds = time.perf_counter() - began
        metrics = summarise(ranked, task.targets, plan.ks, len(dataset.items))
        lines.append(Line(name, metrics, None, seconds, artifact.version, note))
    return lines


def _ways(
    artifact: FusionArtifact, *, trends: bool
) -> list[tuple[str, FusionArtifact, float | None, str]]:
    """The ways to fuse that are reported: name, artifact, diversity, note."""
    ways: list[tuple[str, FusionArtifact, float | None, str]] = [
        ("fused", artifact, 0.0, "relevance only"),
        ("fused, varied", artifact, None, f"as served, diversity {artifact.settings.diversity:g}"),
    ]
    if artifact.settings.w_cross_domain and len(artifact.domain_names) > 1:
        single = replace(artifact, settings=replace(artifact.settings, w_cross_domain=0.0))
        ways.append(("fused, one domain", single, 0.0, "without the cross-domain term"))
    if artifact.settings.w_trend and trends:
        timeless = replace(artifact, settings=replace(artifact.settings, w_trend=0.0))
        ways.append(("fused, no trends", timeless, 0.0, "without the trend term"))
    return ways


def _quantiles(engines: Mapping[str, Engine]) -> Any:
    return {name: quantiles_of(engine) for name, engine in engines.items()}


def _fusion(artifact: FusionArtifact, repository: Path) -> dict[str, Any]:
    """What the fusion learned, for the report."""
    manifest = manifests.read(layout.find(repository, "fusion", artifact.version))
    return {
        "version": artifact.version,
        "weights": {surface: dict(w) for surface, w in artifact.weights.items()},
        "settings": asdict(artifact.settings),
        "surface_settings": {s: dict(v) for s, v in artifact.surface_settings.items()},
        "validation": dict(manifest.metrics),
    }
