"""How far back the models look, and how fast they forget: the quality at each setting.

Models, weights and ranker stay as they were learned; only what is told of the shopper
changes. A setting that wins here must still win when the fusion is trained with it.
"""

from dataclasses import replace

from artifacts.fusion import CONVEX
from cli.evaluation.ablation.bench import Bench, way
from cli.evaluation.ranking import Together, alone
from models.evaluate.ablation import Tried, compare
from models.evaluate.metrics import per_user
from models.evaluate.ranking import Asking
from models.evaluate.report import Ablation

_EVERYTHING = 100_000
_LENGTHS = (20, 50, 100, 400, _EVERYTHING)
_HALF_LIVES = (0.0, 7.0, 14.0, 30.0, 120.0, 240.0)
# Half-lives that are tried again with nothing left of the oldest.
_FLOORLESS = (30.0, 60.0, 120.0)
_WAYS = (
    way("fused", lambda own: own),
    way("weighted sum", lambda own: replace(own, ranker=CONVEX)),
)


def history_ablation(bench: Bench) -> tuple[Ablation, ...]:
    """Judge each model and the fusion by lengths and half-lives of the history."""
    bench = bench.first_users()
    usual = bench.job.plan.asking
    tried = [_tried(bench, f"as served: {_said(usual)}", usual)]
    tried += [_tried(bench, _said(asking), asking) for asking in _settings(usual, bench)]
    found = Ablation(
        kind="history",
        title="History: length and half-life",
        what="What the models are told of a shopper's past; models and fusion stay as learned. "
        f"Columns are {bench.job.plan.measure().main} of each model and of the fusion.",
        users=len(bench.asked.task.user_ids),
        targets=len(bench.asked.task.targets.keys),
        settings=compare(tried, bench.job.plan.measure().how),
    )
    return (found,)


def _settings(usual: Asking, bench: Bench) -> list[Asking]:
    found = [replace(usual, history_length=length) for length in _LENGTHS]
    if bench.asked.task.timed:
        found += [replace(usual, half_life_days=days) for days in _HALF_LIVES]
        found += [replace(usual, half_life_days=d, weight_floor=0.0) for d in _FLOORLESS]
    return [asking for asking in found if asking != usual]


def _said(asking: Asking) -> str:
    length = "all" if asking.history_length == _EVERYTHING else asking.history_length
    if not asking.half_life_days:
        return f"{length} events, never fading"
    return f"{length} events, {asking.half_life_days:g} days to at least {asking.weight_floor:g}"


def _tried(bench: Bench, name: str, asking: Asking) -> Tried:
    job = replace(bench.job, plan=replace(bench.job.plan, asking=asking))
    answers = alone(job, bench.asked, bench.sources)
    fuse = Together(job, bench.asked, bench.sources, answers)
    ranked = dict(answers)
    ranked |= {one.name: fuse.one(one, bench.artifact, bench.key) for one in _WAYS}
    main, targets = job.plan.measure().main, bench.asked.task.targets
    means = {n: per_user(a.lists.keys, targets, job.plan.ks)[main] for n, a in ranked.items()}
    return Tried(name, means)
