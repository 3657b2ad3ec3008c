"""What the last minutes are worth: the first events of a visit known, and by which ways."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from artifacts.fusion import CONVEX, FusionSettings
from cli.evaluation.ablation.bench import USERS, Bench, way
from cli.evaluation.ranking import Answers, Asked, alone
from cli.evaluation.ways import Trends, offline
from models.data.errors import SplitError
from models.evaluate.ablation import Tried, compare
from models.evaluate.fused import Fuse
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Lists
from models.evaluate.report import Ablation
from models.evaluate.task import Task
from models.evaluate.work import code_of
from models.fusion.catalogue import MarketTrends, make_catalogue
from models.fusion.live import Live, Visit, Ways, first_of, live_task, only_visit, rank_live
from models.fusion.surfaces import SESSION
from models.progress import Progress

_NOTHING = Ways(sources=False, habits=False, session=False)
_ALL = Ways(sources=True, habits=True, session=True)
_SHOWN = (1, 3)  # items of the visit, fewer than all
_STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
_WHAT = (
    "The rest of each shopper's first visit is looked for, {live} items into it. Which events of "
    "one moment come first is drawn. What the visit has so far is never shown."
)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A surface and a combination to look at."""

    title: str
    surface: str
    ranker: bool
    visit: Visit
    before: dict[str, Lists]  # what the sources answer without the visit, by source
    now: dict[str, Lists]
    trends: Trends
    answered: dict[str, str] = field(default_factory=dict)  # keys of the answers


def live_ablations(bench: Bench) -> tuple[Ablation, ...]:
    """Judge what the visit's first events bring. Raises SplitError where there are no visits."""
    plan, parts = bench.job.plan, bench.job.parts
    most = min(plan.users or USERS, USERS)
    live = live_task(
        parts.known, parts.wanted, exclude_seen=plan.exclude_seen, users=most, seed=plan.seed
    )
    if not live.task.user_ids:
        raise SplitError(f"nobody judged has a visit of more than {SESSION} items")
    found: list[Ablation] = []
    views = _views(bench, live)
    for view in views:
        found += [_ways(bench, view), _strengths(bench, view)]
    return (*found, _counts(bench, views[0], live))


def _views(bench: Bench, live: Live) -> list[_View]:
    visit, alone_in = Visit.of(live), only_visit(live)
    task, session = live.task, alone_in.task
    here = replace(visit, before=first_of(alone_in, 0).task, now=session)
    trends = _trends(bench)
    before, now, alone_now = (
        _answers(bench, asked_of, what)
        for asked_of, what in ((visit.before, "before"), (task, "now"), (session, "visit alone"))
    )
    keys = {label: a.key for answers in (before, now) for label, a in answers.items()}
    home = partial(
        _View, surface="HOME", visit=visit, before=bench.lists(before), now=bench.lists(now),
        trends=trends, answered=keys,
    )  # fmt: skip
    nothing = {
        n: Lists(np.zeros_like(x.keys[:, :1]), np.full_like(x.scores[:, :1], np.nan))
        for n, x in bench.lists(before).items()
    }
    session_view = partial(
        _View, surface="SESSION", visit=here, before=nothing, now=bench.lists(alone_now),
        trends=trends, answered={label: a.key for label, a in alone_now.items()},
    )  # fmt: skip
    views = [home("HOME, weighted sum", ranker=False)]
    views.append(session_view("SESSION, weighted sum", ranker=False))
    if bench.artifact.ranker_for("HOME") is not None:
        views.insert(0, home("HOME, learned ranker", ranker=True))
    if bench.artifact.ranker_for("SESSION") is not None:
        views.append(session_view("SESSION, learned ranker", ranker=True))
    return views


def _answers(bench: Bench, task: Task, what: str) -> dict[str, Answers]:
    return alone(bench.job, _asked(bench, task, what), bench.sources)


def _asked(bench: Bench, task: Task, what: str) -> Asked:
    plan = bench.job.plan
    key = {
        "parts": bench.job.key,
        "live": SESSION,
        "told": what,
        "exclude_seen": plan.exclude_seen,
        "users": min(plan.users or USERS, USERS),
        "seed": plan.seed,
        "code": code_of("models.fusion.live"),
    }
    return Asked(task, key)


def _ways(bench: Bench, view: _View) -> Ablation:
    """Open one way after another."""
    named = [
        ("nothing of the visit", _NOTHING),
        ("affinity alone", replace(_NOTHING, session=True)),
        ("models' histories alone", replace(_NOTHING, sources=True)),
        ("ranker's habits alone", replace(_NOTHING, habits=True)),
        ("model inputs", replace(_ALL, session=False)),
        ("model inputs and affinity", _ALL),
    ]
    if not view.ranker:
        named = [n for n in named if not n[0].endswith(("histories alone", "habits alone"))]
    tried = [_tried(bench, view, name, ways, lambda own: own) for name, ways in named]
    return _ablation(bench, view, f"Live events by way: {view.title}", tried)


def _strengths(bench: Bench, view: _View) -> Ablation:
    """Turn the affinity up, everything of the visit being known."""
    tried = []
    for weight in _STRENGTHS:

        def weighted(own: FusionSettings, weight: float = weight) -> FusionSettings:
            return replace(own, w_session=weight)

        tried.append(_tried(bench, view, f"affinity weight {weight:g}", _ALL, weighted))
    own = bench.artifact.settings_for(view.surface).w_session
    title = f"Strength of the affinity (served: {own:g}): {view.title}"
    return _ablation(bench, view, title, tried)


def _counts(bench: Bench, view: _View, live: Live) -> Ablation:
    """Let the visit come to more and more items; the targets stay."""
    tried = [_tried(bench, view, "0 items of the visit", _NOTHING, lambda own: own)]
    for shown in (*_SHOWN, SESSION):
        told = first_of(live, shown)
        answers = _answers(bench, told.task, "now" if shown == SESSION else f"{shown} items")
        visit = replace(view.visit, now=told.task, live=told.session, weight=told.session_weight)
        keys = {label: a.key for label, a in answers.items()}
        more = replace(view, visit=visit, now=bench.lists(answers), answered=keys)
        tried.append(_tried(bench, more, f"{shown} items of the visit", _ALL, lambda own: own))
    return _ablation(bench, view, f"Items of the visit known: {view.title}", tried)


def _ablation(bench: Bench, view: _View, title: str, tried: Sequence[Tried]) -> Ablation:
    targets = view.visit.now.targets
    return Ablation(
        kind="live",
        title=title,
        what=_WHAT.format(live=SESSION),
        users=len(targets.starts) - 1,
        targets=len(targets.keys),
        settings=compare(tried, bench.job.plan.measure().how),
    )


def _tried(bench: Bench, view: _View, name: str, ways: Ways, change: Any) -> Tried:
    asked = _asked(bench, view.visit.now, name)
    lists = view.now if ways.sources else view.before
    most = max(bench.job.plan.ks)

    def make(progress: Progress) -> Keys:
        return rank_live(
            _fuse(bench, view, change), view.visit, ways, lists,
            k=most, asking=bench.job.plan.asking, progress=progress,
        )  # fmt: skip

    key = {
        "row": name,
        "view": view.title,
        "ways": str(ways),
        "answers": view.answered,
        "ks": most,
        "depth": bench.job.plan.depth,
        "code": code_of("cli.evaluation.ablation.live"),
    }
    ranked = bench.kept(asked, (f"{view.title}, {name}", key), make)
    return Tried(name, bench.metrics(ranked, asked))


def _fuse(bench: Bench, view: _View, change: Any) -> Fuse:
    def changed(own: FusionSettings) -> FusionSettings:
        found: FusionSettings = change(own)
        return found if view.ranker else replace(found, ranker=CONVEX)

    return offline(
        bench.artifact, way(view.title, changed), bench.job.dataset.items,
        sources=tuple(view.now), trends=view.trends, surface=view.surface,
    )  # fmt: skip


def _trends(bench: Bench) -> MarketTrends:
    """Return trends of any day from what was sold before it, by everybody."""
    job, artifact = bench.job, bench.artifact
    catalogue = make_catalogue(job.dataset.items, artifact.vectors)
    events = pl.concat([job.parts.known, job.parts.wanted])
    return MarketTrends(catalogue, events, artifact.settings.trend_half_life_days)
