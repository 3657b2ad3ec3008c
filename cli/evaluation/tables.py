"""One table: everyone asked, every row ranked, all of it judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from artifacts.fusion import FusionArtifact
from cli.evaluation.ablation.bench import Bench
from cli.evaluation.ablation.run import ablations
from cli.evaluation.plan import CROSSING, Plan
from cli.evaluation.ranking import Answers, Asked, Together, alone, baselines, model_entries
from cli.evaluation.subsets import subsets
from cli.evaluation.training import (
    Job,
    Sources,
    fusible,
    refreshed,
    train_fusion,
    train_sources,
)
from cli.evaluation.variety import sweeps
from cli.evaluation.ways import crosses
from models.curves import curves_of
from models.data.errors import SplitError
from models.data.fitting import remedy
from models.evaluate.judge import Entry, judge, reliability
from models.evaluate.looks import Looks, make_looks
from models.evaluate.parts import base_protocol
from models.evaluate.report import Ablation, Bin, Subset, Sweep, Table
from models.evaluate.slices import make_slices
from models.evaluate.task import Task, make_task
from models.evaluate.work import code_of
from models.fusion.config import quantiles_of
from models.train import has_length, reasons

_AGAIN = "all that those with a history wanted they had before: judge by it with --include-seen"
Ask = Callable[[Job, Asked, Sources], dict[str, Answers]]


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The rows of one job, and what else there is to say about them."""

    entries: list[Entry]
    sources: Sources
    answers: Mapping[str, Answers]
    variety: tuple[Sweep, ...] = ()
    variety_users: int = 0
    subsets: tuple[Subset, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    fusion: Mapping[str, Any] = field(default_factory=dict)
    # The fusion artifact as it is used, and its key; None where nothing is fused.
    tuned: tuple[FusionArtifact, str] | None = None
    # What was asked for and is not there, with the reason.
    skipped: Mapping[str, str] = field(default_factory=dict)


def ask_for(job: Job, *, together: bool) -> Asked:
    """Return the questions of all users judged. Raises SplitError where there is nobody."""
    plan = job.plan
    task = make_task(
        job.parts.known,
        job.parts.wanted,
        exclude_seen=plan.exclude_seen,
        users=plan.users,
        seed=plan.seed,
        together=together,
    )
    key = {
        "parts": job.key,
        "exclude_seen": plan.exclude_seen,
        "users": plan.users,
        "seed": plan.seed,
        "together": together,
        "code": code_of("models.evaluate.task", "models.evaluate.parts"),
    }
    return Asked(checked(task, job), key)


def checked(task: Task, job: Job) -> Task:
    """Return the task; raises SplitError where nobody can be asked."""
    if not task.user_ids:
        known, protocol = job.dataset, job.plan.protocol
        raise SplitError(
            f"{known.path}: nobody judged has a history and a target ({job.parts.note}); "
            + (_AGAIN if task.only_seen else remedy(known, but=base_protocol(known, protocol)))
        )
    return task


def rank_rows(job: Job, asked: Asked, ask: Ask = alone) -> Ranked:
    """Train, tune and rank all rows but the baselines."""
    plan = job.plan
    once = plan.with_validation and not plan.fuses and not any(map(has_length, plan.sources))
    # What neither weighs nor stops early says nothing that a second training needs.
    trained = Sources({}) if once else train_sources(job)
    # Naming no model that could be fused is a mistake; naming some that cannot learn is none.
    fuses = plan.fuses and (fusible(trained) or not trained.skipped)
    tuned = train_fusion(job, trained) if fuses else None
    sources = train_sources(job, again=trained) if plan.with_validation else trained
    answers = ask(job, asked, sources)
    first = sources if once else trained
    missing = {**_unfused(plan, answers, fuses=fuses), **sources.skipped}
    entries = model_entries(job, sources, answers, first)
    ranked = Ranked(entries, sources, answers, skipped=missing)
    if not answers:
        return ranked
    fuse = Together(job, asked, sources, answers)
    if "rrf" in plan.rows:
        ranked.entries.extend(fuse.rrf())
    if tuned is None:
        return ranked
    artifact, key = refreshed(tuned[0], sources), tuned[1]
    ranked.entries.extend(fuse.ways(artifact, key))
    if CROSSING in plan.rows and not crosses(artifact):
        why = {CROSSING: "all items are of one domain"}
        ranked = replace(ranked, skipped={**ranked.skipped, **why})
    learned = _learned(artifact, sources, asked.surface)
    ranked = replace(ranked, fusion=learned, tuned=(artifact, key))
    if plan.subsets:
        ranked = replace(ranked, subsets=subsets(job, asked, sources, answers, (artifact, key)))
    if plan.ablate:
        bench = Bench(job, asked, sources, answers, artifact, key)
        found, untold = ablations(bench)
        ranked = replace(ranked, ablations=found, skipped={**ranked.skipped, **untold})
    varied = artifact.vectors.shape[1] > 0 and asked.surface == "HOME"
    return _swept(job, ranked, fuse, (artifact, key)) if varied and "fused" in plan.rows else ranked


def _unfused(plan: Plan, answers: Mapping[str, Answers], *, fuses: bool) -> dict[str, str]:
    """Say which rows of fusions are left out, and why."""
    found = {}
    if "rrf" in plan.rows and not answers:
        found["rrf"] = "there is no model to fuse"
    if plan.fuses and not fuses:
        named = [row for row in ("convex", "fused", CROSSING) if row in plan.rows]
        named += [f"--ablate {kind}" for kind in plan.ablate]
        found |= dict.fromkeys(named, "no model that reads histories could learn")
    return found


def rank_again(job: Job, asked: Asked, ranked: Ranked, ask: Ask | None = None) -> list[Entry]:
    """Put other questions to every way that is a row, with what was trained for the first.

    `ask` says how, where it is not as usual; best sellers answer usual questions only.
    """
    answers = (ask or alone)(job, asked, ranked.sources)
    popular = [] if ask else baselines(job, asked)[0]
    rows = [*popular, *model_entries(job, ranked.sources, answers, ranked.sources)]
    if not answers:
        return rows
    fuse = Together(job, asked, ranked.sources, answers)
    if "rrf" in job.plan.rows:
        rows += fuse.rrf()
    return rows + (fuse.ways(*ranked.tuned) if ranked.tuned is not None else [])


def make_table(
    job: Job,
    asked: Asked,
    entries: Sequence[Entry],
    title: str,
    skipped: Mapping[str, str] | None = None,
) -> Table:
    """Judge the entries; raises SplitError where there is nothing to judge.

    `skipped` says why rows are missing.
    """
    if not entries:
        why = f" ({reasons(skipped)})" if skipped else ""
        raise SplitError(
            f"{job.dataset.path}: no row is left to judge{why}; name others in --models"
        )
    task = asked.task
    learned = job.parts.known if job.plan.with_validation else job.parts.train
    slices = make_slices(task, job.dataset.items, learned, job.parts.known)
    looks = looks_of(job, task)
    judged = judge(entries, task, looks, slices, job.plan.measure())
    return Table(
        title=title,
        unit="users",
        users=len(task.user_ids),
        users_without_history=task.without_history,
        users_only_seen=task.only_seen,
        targets=len(task.targets.keys),
        catalogue=looks.competing,
        rows=judged.rows,
        differences=judged.differences,
        slices=judged.slices,
    )


def with_extras(table: Table, job: Job, asked: Asked, ranked: Ranked) -> Table:
    """Add what is no metric: calibration, learning curves, the sweep and the weights."""
    engines = {label: source.engine for label, source in ranked.sources.found.items()}
    calibration: dict[str, tuple[Bin, ...]] = {
        label + job.suffix: reliability(answers.lists, asked.task, quantiles_of(engines[label]))
        for label, answers in ranked.answers.items()
        if engines[label].manifest.score_quantiles
    }
    curves = {label + job.suffix: curves_of(e.manifest.metrics) for label, e in engines.items()}
    return replace(
        table,
        calibration={**table.calibration, **calibration},
        curves={**table.curves, **{name: found for name, found in curves.items() if found}},
        variety=ranked.variety or table.variety,
        variety_users=ranked.variety_users or table.variety_users,
        subsets=ranked.subsets or table.subsets,
        ablations=ranked.ablations or table.ablations,
        fusion=ranked.fusion or table.fusion,
    )


def looks_of(job: Job, task: Task) -> Looks:
    """Return what the catalogue and the known events say about items."""
    return make_looks(job.dataset.items, job.parts.known, task.allowed)


def _swept(job: Job, ranked: Ranked, fuse: Together, tuned: tuple[FusionArtifact, str]) -> Ranked:
    """Measure the fused ranking at several settings of its variety."""
    answers, asked = fuse.sweep(*tuned)
    looks, task = looks_of(job, asked.task), asked.task
    served = tuned[0].settings_for(asked.surface)
    found = sweeps(answers.lists.keys, task, looks, job.plan.measure(), served)
    return replace(ranked, variety=found, variety_users=len(task.user_ids))


def _learned(artifact: FusionArtifact, sources: Sources, surface: str) -> dict[str, Any]:
    """Return what the fusion learned, for the report."""
    settings = artifact.settings_for(surface)
    return {
        "version": artifact.version,
        "surface": surface,
        "sources": {name: source.model.label for name, source in sources.fused().items()},
        "weights": dict(artifact.weights[surface]),
        "ranker": settings.ranker,
        "w_trend": settings.w_trend,
        "w_cross_domain": settings.w_cross_domain,
        "w_session": settings.w_session,
        "w_cost": settings.w_cost,
        "w_cost_personal": settings.w_cost_personal,
        "diversity": settings.diversity,
        "domain_calibration": settings.domain_calibration,
        "provider_share": settings.provider_share,
    }
