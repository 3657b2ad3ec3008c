"""Do weights that follow clicks find the right ones, and leave a source that turns bad?

Visits after the models' training are replayed in the order of time (benchmarks/replay.py):
real purchases, on slates of the weighted sum, seen through a stated curve of examination.
Weights are fixed or follow clicks by the step that serves (gateway/fusion/adapt.py), from
the learned weights, from equal ones and from the learned ones dealt out the wrong way
round; then again with one source that answers noise from half of the visits on. Models,
splits and work directory are those of `plait evaluate`.

python -m benchmarks.online var/data/complete-journey [--judge test] [--svg DIR] [--json FILE]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.fusion import FusionArtifact
from benchmarks import machine
from benchmarks.command import (
    above_0,
    count,
    count_or_0,
    ended,
    folder,
    from_0,
    from_1,
    output,
    write,
)
from benchmarks.online_pictures import pictures
from benchmarks.replay import (
    Arm,
    Told,
    World,
    adaptive,
    fixed,
    make_world,
    replay,
    timed_visits,
)
from cli.evaluation.plan import Plan, read_models
from cli.evaluation.run import make_job
from cli.evaluation.training import Job, Sources, train_fusion, train_sources
from cli.output import console, table
from cli.topology import SOURCES
from cli.writable import write_text
from gateway.config import GatewayConfig
from gateway.fusion.adapt import Doubles, Pace
from models.data.dataset import load_dataset
from models.evaluate.bootstrap import Resampling
from models.evaluate.ranking import Asking, Lists, rank
from models.evaluate.task import Task
from models.evaluate.work import Arrays, code_of
from models.fusion.config import readers
from models.train import PRESETS

_DEPTH, _PARTS = 100, 4
_HEALTHY, _ILL = "all well", "{} answers noise from half on"


def main() -> int:
    options = _options()
    return ended(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    models, more = read_models("cf,content,sequence,text,convex", ())
    plan = Plan(
        "time-split", models, judged=options.judge, exclude_seen=False, preset=options.preset,
        work=options.work, seed=options.seed, **more,
    )  # fmt: skip
    world, learned = prepared(make_job(load_dataset(options.dataset), plan), options)
    pace = Pace(options.rate, options.believed)
    arms = arms_of(learned, world, options.ill, pace, options.factor)
    told = {
        _HEALTHY: _told(world, arms, 1.0, options),
        _ILL.format(options.ill): _told(world, arms, 0.5, options),
    }
    result = {
        "judged": options.judge,
        "visits": len(world.well),
        "settings": {k: str(v) for k, v in vars(options).items()},
        "scenarios": {name: summary(found, world.sources) for name, found in told.items()},
    }
    show(result)
    if options.svg:
        for name, text in pictures(told, world.sources).items():
            write_text(options.svg / name, text)
    write(options.json, {"machine": machine.describe(), **result})


def _options() -> argparse.Namespace:
    usual = GatewayConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--judge", default="validation", choices=("validation", "test"))
    parser.add_argument("--preset", default="demo", choices=PRESETS)
    parser.add_argument("--work", type=folder, default=Path("var/evaluate"))
    parser.add_argument("--visits", type=count, default=12_000)
    parser.add_argument("--ill", default="cf", choices=SOURCES, help="the source that turns bad")
    parser.add_argument("--rate", type=above_0, default=usual.adaptive_rate)
    parser.add_argument("--factor", type=from_1, default=usual.adaptive_factor)
    parser.add_argument("--examination", type=from_0, default=1.0, help="of shoppers")
    parser.add_argument(
        "--believed", type=from_0, default=usual.adaptive_examination, help="of the weights' step"
    )
    parser.add_argument("--seed", type=count_or_0, default=0)
    parser.add_argument("--svg", type=folder, help="folder for pictures")
    parser.add_argument("--json", type=output)
    return parser.parse_args()


def prepared(job: Job, options: argparse.Namespace) -> tuple[World, Doubles]:
    """Return the world and the learned weights of HOME [S]."""
    trained = train_sources(job)
    artifact, _ = train_fusion(job, trained)
    task = timed_visits(job.dataset, job.parts, options.visits, options.seed)
    lists = _asked(job, trained, task, options)
    world = make_world(
        (job.dataset, job.parts, artifact), task, lists, ill=options.ill, seed=options.seed
    )
    return world, _weights(artifact, world.sources)


def _weights(artifact: FusionArtifact, sources: Sequence[str]) -> Doubles:
    found = np.array([artifact.weights["HOME"].get(source, 0.0) for source in sources], np.float64)
    weights: Doubles = found / found.sum()
    return weights


def _asked(job: Job, trained: Sources, task: Task, options: argparse.Namespace) -> dict[str, Lists]:
    """Ask every source about every visit, once; found again by a later run."""
    fused = trained.fused()
    names = readers({name: source.engine for name, source in fused.items()})
    lists = {}
    for name in names:
        engine = fused[name].engine

        def ask(engine: Any = engine) -> Arrays:
            found = rank(engine, task, _DEPTH, Asking())
            return {"keys": found.keys, "scores": found.scores}

        key = {
            "model": fused[name].key, "visits": options.visits, "seed": options.seed,
            "parts": job.key, "depth": _DEPTH, "code": code_of("models.fusion.surfaces"),
        }  # fmt: skip
        lists[name] = Lists(**job.work.arrays(f"visits-{name}", key, ask))
    return lists


def arms_of(learned: Doubles, world: World, ill: str, pace: Pace, factor: float) -> list[Arm]:
    """Return every way to weigh that is compared."""
    order = np.argsort(learned)
    turned = np.empty_like(learned)
    turned[order] = learned[order[::-1]]
    starts = {
        "learned": learned,
        "equal": np.full_like(learned, 1 / len(learned)),
        "turned": turned,
    }
    arms = []
    for name, weights in starts.items():
        arm = adaptive(f"{name}, adapted", weights, pace, factor)
        arms += [replace(fixed(arm), name=f"{name}, fixed"), arm]
    without = np.where(np.array(world.sources) == ill, 0.0, learned)
    return [*arms, Arm(f"learned without {ill}", without / without.sum())]


def _told(
    world: World, arms: Sequence[Arm], ill_from: float, options: argparse.Namespace
) -> dict[str, Told]:
    return {
        arm.name: replay(
            world, arm, ill_from=ill_from, examination=options.examination, seed=options.seed
        )
        for arm in arms
    }


def summary(told: Mapping[str, Told], sources: Sequence[str]) -> dict[str, Any]:
    """Return NDCG by part of the time, differences to the fixed weights, and last weights."""
    found: dict[str, Any] = {}
    for name, one in told.items():
        parts = np.array_split(one.ndcg, _PARTS)
        found[name] = {
            "ndcg@10": float(one.ndcg.mean()),
            "parts": [float(part.mean()) for part in parts],
            "clicks": one.clicks,
            "weights": dict(zip(sources, one.weights[-1].round(3).tolist(), strict=True)),
        }
        before = told.get(name.replace("adapted", "fixed"))
        if before is not None and before is not one:
            found[name]["last_minus_fixed"] = _interval(
                parts[-1] - np.array_split(before.ndcg, _PARTS)[-1]
            )
    return found


def _interval(gaps: Doubles) -> list[float]:
    """Return the bootstrap interval of the mean difference by visit."""
    rng = np.random.default_rng(0)
    means = [gaps[rng.integers(0, len(gaps), len(gaps))].mean() for _ in range(Resampling().draws)]
    return [float(v) for v in np.quantile(means, [0.025, 0.975])]


def show(result: Mapping[str, Any]) -> None:
    out = console()
    for scenario, rows in result["scenarios"].items():
        quarters = [f">Q{number + 1}" for number in range(_PARTS)]
        made = table("Weights", *quarters, ">Q4 minus fixed, 95%", "Last weights")
        for name, row in rows.items():
            gap = row.get("last_minus_fixed")
            made.add_row(
                name,
                *(f"{value:.4f}" for value in row["parts"]),
                f"{gap[0]:+.4f} to {gap[1]:+.4f}" if gap else "",
                " ".join(f"{source} {weight:.2f}" for source, weight in row["weights"].items()),
            )
        out.print(f"{scenario}: NDCG@10 by quarter of {result['visits']:,} visits")
        out.print(made)


if __name__ == "__main__":
    sys.exit(main())
