"""Which learned ranker puts most of what was bought first, for how much CPU?

LightGBM's LambdaMART and Plait's small network learn from the same tables of the same
questions (models/fusion/tables.py), and rank the same candidates of an evaluation by
time. Models, splits and work directory are those of `plait evaluate`: what it trained is
not trained again. The network is Plait's; trees serve nowhere.

With --variants: networks of other sizes and lengths of training, and the mean of several.

python -m benchmarks.rankers var/data/complete-journey [--judge test] [--variants] [--json FILE]
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from artifacts.engine import Engine
from artifacts.formulas import Floats
from artifacts.fusion import FusionArtifact
from benchmarks import machine
from benchmarks.command import ended, folder, output, write
from cli.evaluation.plan import Plan, read_models
from cli.evaluation.run import make_job
from cli.evaluation.tables import ask_for
from cli.evaluation.training import (
    Job,
    Sources,
    earlier_sources,
    train_fusion,
    train_sources,
)
from cli.evaluation.ways import WAYS, offline, trends_of
from cli.output import console, table
from models.data.dataset import load_dataset
from models.evaluate.bootstrap import Resampling
from models.evaluate.fused import rank_fused
from models.evaluate.ranking import Asking, rank
from models.evaluate.task import Task, of_users
from models.fusion.asked import Questions
from models.fusion.cases import Setting
from models.fusion.catalogue import make_catalogue
from models.fusion.config import Config, quantiles_of, readers
from models.fusion.habits import item_habits
from models.fusion.network import train_network
from models.fusion.ranker import ndcg, tables_of, unanswered_of
from models.fusion.rankers import known_of, lesson_of, setting_of
from models.fusion.tables import Known, Table, make_tables, shelf_of
from models.fusion.train import Window, before
from models.progress import silent
from models.train import PRESETS, config_of

Score = Callable[[Floats], Floats]
# Fields of the configuration, and how many networks are averaged.
Variant = tuple[Mapping[str, Any], int]
_K, _CANDIDATES, _SHOPPERS, _TREES = 10, 200, 400, (50, 100)
_LAMBDAMART: dict[str, Any] = {
    "objective": "lambdarank", "lambdarank_truncation_level": 30, "learning_rate": 0.08,
    "num_leaves": 31, "min_data_in_leaf": 200, "feature_fraction": 0.6, "lambda_l2": 10.0,
    "bagging_fraction": 0.7, "bagging_freq": 1, "num_threads": 1, "deterministic": True,
    "seed": 0, "verbose": -1,
}  # fmt: skip
_VARIANTS: dict[str, Variant] = {
    "network, another seed": ({"seed": 1}, 1),
    "one network, not the mean of two": ({"members": 1}, 1),
    "mean of 4 networks": ({"members": 4}, 1),
    "without the earlier window": ({"earlier": False}, 1),
    "32 and 16 units": ({"hidden": (32, 16)}, 1),
    "128 and 64 units": ({"hidden": (128, 64)}, 1),
    "3 passes": ({"passes": 3}, 1),
    "8 passes": ({"passes": 8}, 1),
}


@dataclass(frozen=True)
class Taught:
    """Tables to learn from and to be judged by."""

    learning: list[Table]  # of the window that the fusion is tuned on
    earlier: list[Table]  # of the one before
    judging: list[Table]
    sources: tuple[str, ...]
    config: Config
    stages_ms: dict[str, float]  # CPU of pool and all stages, about 200 candidates, by way


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--judge", default="validation", choices=("validation", "test"))
    parser.add_argument("--preset", default="demo", choices=PRESETS)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--work", type=folder, default=Path("var/evaluate"))
    parser.add_argument("--json", type=output)
    options = parser.parse_args()
    return ended(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    given = taught(job_of(options.dataset, options.judge, options.preset, options.work))
    result = compare(given, _VARIANTS if options.variants else {})
    show(result)
    write(options.json, {"machine": machine.describe(), **result})


def job_of(dataset: Path, judge: str, preset: str, work: Path) -> Job:
    """Return the evaluation by time whose questions are ranked."""
    models, more = read_models("cf,content,sequence,text,convex,fused", ())
    plan = Plan(
        "time-split", models, judged=judge, exclude_seen=False, preset=preset, work=work, **more
    )
    return make_job(load_dataset(dataset), plan)


@dataclass(frozen=True)
class Judged:
    """An evaluation's questions as tables, and who was asked."""

    trained: Sources
    artifact: FusionArtifact
    engines: dict[str, Engine]  # those that read histories
    config: Config
    task: Task
    tables: list[Table]


def judged(job: Job) -> Judged:
    """Make the tables of the evaluation's questions."""
    trained = train_sources(job)
    artifact, _ = train_fusion(job, trained)
    engines = {name: source.engine for name, source in trained.fused().items()}
    engines = {name: engines[name] for name in readers(engines)}
    config = replace(config_of("fusion", job.plan.preset, job.plan.seed), exclude_seen=False)
    items, asked = job.dataset.items, ask_for(job, together=True).task
    trends = trends_of(artifact, asked, items, job.parts.known)
    catalogue = make_catalogue(items, artifact.vectors)
    quantiles = {name: quantiles_of(engine) for name, engine in engines.items()}
    now = Setting(
        catalogue, quantiles, config.asking, artifact.domain_transition, trends=trends, leads=True
    )
    today = Known(
        now, shelf_of(items, now, artifact.popularity), item_habits(catalogue, job.parts.known)
    )
    tables = make_tables(config, [Questions(asked)], engines, today, silent)
    return Judged(trained, artifact, engines, config, asked, tables)


def taught(job: Job) -> Taught:
    """Make the tables that the fusion learns from, and those of the evaluation's questions."""
    by = judged(job)
    window = Window(job.parts.train, job.parts.tune)
    learning = _tables(job, by.artifact, by.config, by.engines, window)
    earlier: list[Table] = []
    then = before(by.config, window)
    if then is not None and (were := earlier_sources(job, by.trained, then)):
        past = {name: were[name].engine for name in by.engines}
        earlier = _tables(job, by.artifact, by.config, past, then)
    stages = _stages_ms(job, by.artifact, by.engines, by.task)
    return Taught(learning, earlier, by.tables, tuple(by.engines), by.config, stages)


def _tables(
    job: Job,
    artifact: FusionArtifact,
    config: Config,
    engines: Mapping[str, Engine],
    window: Window,
) -> list[Table]:
    """Return the tables of a window's questions."""
    catalogue = make_catalogue(job.dataset.items, artifact.vectors)
    setting = setting_of(config, catalogue, engines, window, ordered=True)
    known = known_of(job.dataset, setting, window)
    lesson = lesson_of(config, job.dataset, engines, (known, window))
    return [*tables_of(config, lesson, silent), *unanswered_of(config, lesson)]


def _stages_ms(
    job: Job, artifact: FusionArtifact, engines: Mapping[str, Engine], task: Task
) -> dict[str, float]:
    """Return CPU milliseconds from answers of 50 each to an ordered slate, by way to fuse."""
    some = of_users(task, np.arange(min(_SHOPPERS, len(task.user_ids))))
    lists = {
        name: rank(engine, some, _CANDIDATES // 4, Asking()) for name, engine in engines.items()
    }
    trends = trends_of(artifact, some, job.dataset.items, job.parts.known)
    found = {}
    for way in (w for w in WAYS if w.name in {"convex", "fused, as served"}):
        fuse = offline(
            artifact, way, job.dataset.items, sources=tuple(lists), trends=trends, surface="HOME"
        )
        rank_fused(fuse, some, lists, k=20, asking=Asking())
        began = time.process_time()
        rank_fused(fuse, some, lists, k=20, asking=Asking())
        found[way.name] = 1000 * (time.process_time() - began) / len(some.user_ids)
    return found


def compare(given: Taught, variants: Mapping[str, Variant]) -> dict[str, Any]:
    """Train, judge and time each ranker."""
    rankers = {"network": _network(given, {}), **_trees(given)}
    rankers |= {name: _network(given, *variant) for name, variant in variants.items()}
    values = {
        name: np.array([ndcg(t, score(t.features), _K) for t in given.judging])
        for name, (score, _) in rankers.items()
    }
    picks = np.random.default_rng(0).integers(
        0, len(given.judging), (Resampling().draws, len(given.judging))
    )
    rows = {}
    for name, (score, seconds) in rankers.items():
        gaps = (values[name] - values["network"])[picks].mean(axis=1)
        rows[name] = {
            "ndcg@10": float(values[name].mean()),
            "minus_network": [float(v) for v in np.quantile(gaps, [0.025, 0.975])],
            "cpu_ms": _cpu_ms(score, given.judging),
            "train_seconds": seconds,
        }
    return {
        "questions": len(given.learning) + len(given.earlier),
        "judged": len(given.judging),
        "rows": rows,
        "stages_cpu_ms": given.stages_ms,
    }


def _network(given: Taught, fields: Mapping[str, Any], members: int = 1) -> tuple[Score, float]:
    """Train networks that differ in their seed; return their mean score."""
    began = time.process_time()
    config = replace(given.config, **fields)
    learning = [*given.learning, *(given.earlier if config.earlier else ())]
    networks = [
        train_network(replace(config, seed=config.seed + n), learning, len(given.sources), silent)
        for n in range(members)
    ]

    def score(features: Floats) -> Floats:
        mean: Floats = np.mean([network.score(features) for network in networks], axis=0)
        return mean

    return score if members > 1 else networks[0].score, time.process_time() - began


def _trees(given: Taught) -> dict[str, tuple[Score, float]]:
    began = time.process_time()
    learning = [*given.learning, *given.earlier]
    data = lightgbm.Dataset(
        np.concatenate([t.features for t in learning]),
        np.concatenate([t.target for t in learning]).astype(np.int32),
        group=[len(t.target) for t in learning],
    )
    booster = lightgbm.train(_LAMBDAMART, data, num_boost_round=max(_TREES))
    spent = time.process_time() - began

    def scored(trees: int) -> Score:
        return lambda features: np.asarray(
            booster.predict(features, num_iteration=trees, num_threads=1), np.float32
        )

    return {f"LambdaMART, {n} trees": (scored(n), spent * n / max(_TREES)) for n in _TREES}


def _cpu_ms(score: Score, tables: Sequence[Table], rounds: int = 400) -> float:
    """Return CPU milliseconds to score 200 candidates."""
    large = [t.features for t in tables if len(t.target) >= _CANDIDATES]
    pools = [np.ascontiguousarray(f[:_CANDIDATES]) for f in large[:rounds]]
    score(pools[0])
    began = time.process_time()
    for pool in pools:
        score(pool)
    return 1000 * (time.process_time() - began) / len(pools)


def show(result: dict[str, Any]) -> None:
    made = table("Ranker", ">NDCG@10", ">minus network, 95%", ">CPU ms for 200", ">Train CPU s")
    for name, row in result["rows"].items():
        low, high = row["minus_network"]
        gap = "" if name == "network" else f"{low:+.4f} to {high:+.4f}"
        made.add_row(
            name,
            f"{row['ndcg@10']:.4f}",
            gap,
            f"{row['cpu_ms']:.3f}",
            f"{row['train_seconds']:.0f}",
        )
    console().print(made)
    for way, spent in result["stages_cpu_ms"].items():
        console().print(f"  pool and all stages, {way}: {spent:.2f} CPU-ms, about 200 candidates")


if __name__ == "__main__":
    sys.exit(main())
