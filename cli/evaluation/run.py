"""The whole of an evaluation: from a dataset and a plan to a report."""

from dataclasses import replace
from typing import Any

from cli.evaluation.crossing import cross_domain_tables
from cli.evaluation.home import home_tables
from cli.evaluation.plan import Plan
from cli.evaluation.searching import bought_tables, rated_table
from cli.evaluation.training import Job, Stages
from cli.machine import describe
from models.data.dataset import Dataset
from models.data.errors import OptionError, SplitError
from models.data.prices import as_of
from models.evaluate.parts import Parts, base_protocol, make_parts
from models.evaluate.report import Report, Table
from models.evaluate.work import Work, file_digest
from models.fusion.exposures import check_exposures
from models.progress import silent
from models.train import FUSION, config_of


def evaluate(dataset: Dataset, plan: Plan, stages: Stages = lambda _: silent) -> Report:
    """Run the plan; raises DataError and ArtifactError with messages for people."""
    job = make_job(dataset, plan, stages)
    tables, skipped = _tables(job)
    measure = plan.measure("condensed_ndcg" if rated(dataset, plan) else "ndcg")
    return Report(
        dataset=dataset.info.name,
        source=dataset.info.source,
        protocol=plan.protocol,
        judged=plan.judged,
        split=job.parts.note,
        trained_on="train and validation" if plan.with_validation else "train",
        exclude_seen=plan.exclude_seen and plan.protocol != "search",
        ks=plan.ks,
        main=measure.main,
        confidence=measure.how.confidence,
        draws=plan.draws,
        tables=tuple(tables),
        skipped=skipped,
        notes=dataset.info.notes,
        machine=describe(),
        settings=plan.settings(),
    )


def rated(dataset: Dataset, plan: Plan) -> bool:
    """Whether rated queries are what judges."""
    return plan.protocol == "search" and dataset.queries is not None and dataset.queries.height > 0


def _tables(job: Job) -> tuple[list[Table], dict[str, str]]:
    plan = job.plan
    # Who is asked at one moment knows the same trends; left-out events have their own.
    together = base_protocol(job.dataset, plan.protocol) == "time-split"
    if plan.protocol == "cross-domain":
        return cross_domain_tables(job, together=together)
    if rated(job.dataset, plan):
        table, skipped = rated_table(job)
        return [table], skipped
    if plan.protocol == "search":
        return bought_tables(job)
    return home_tables(job, together=together)


def make_job(dataset: Dataset, plan: Plan, stages: Stages = lambda _: silent) -> Job:
    """Split the data and find the place of its parts; raises SplitError, OptionError."""
    if plan.with_validation and plan.judged == "validation":
        raise OptionError(
            "what is judged cannot be trained on: leave out --with-validation, or judge the test"
        )
    if plan.new_items and plan.protocol in {"cross-domain", "search"}:
        raise OptionError(f"--new-items goes with a protocol of ranking, not with {plan.protocol}")
    if plan.domains and plan.protocol != "cross-domain":
        raise OptionError("--domain names a target of --protocol cross-domain; leave it out")
    if plan.visits and plan.protocol != "time-split":
        raise OptionError("--visits needs visits after a moment: use --protocol time-split")
    _check_ablations(plan)
    _check_settings(plan, dataset)
    work = Work(plan.work, fresh=plan.fresh, waits=stages)
    if rated(dataset, plan):
        # The catalogue and the queries are all there is to it: no event is held out.
        events = dataset.events
        parts = Parts(events, events.clear(), events.clear(), "nothing is held out: queries judge")
    else:
        if plan.protocol == "search" and not dataset.events.height:
            raise SplitError(
                f"{dataset.path}: there are no events, and no rated query names a product of the "
                "catalogue; import events, or queries whose products are there"
            )
        parts = make_parts(
            dataset, plan.protocol, judged=plan.judged, fused=plan.fuses, seed=plan.seed
        )
        dataset = replace(dataset, items=as_of(dataset.items, parts.train))
    return Job(plan, work, dataset, parts, _key(dataset, plan), stages)


def _check_settings(plan: Plan, dataset: Dataset) -> None:
    """Tell of a wrong setting before anything is trained, not after all before it."""
    for model in plan.models:
        config_of(model.source, plan.preset, plan.seed, model.options)
    if plan.fuses:
        fusion = config_of(FUSION, plan.preset, plan.seed, plan.fusion_options)
        check_exposures(fusion, dataset.info.times)


def _check_ablations(plan: Plan) -> None:
    if not plan.ablate:
        return
    if not plan.fuses or plan.protocol in {"cross-domain", "search"}:
        raise OptionError(
            "--ablate is about the fusion on HOME: name fused in --models, and another protocol"
        )
    if "live" in plan.ablate and plan.protocol != "time-split":
        raise OptionError("--ablate live needs visits after a moment: use --protocol time-split")


def _key(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return what tells these parts of these data from any others."""
    return {
        "data": file_digest(dataset.path),
        "protocol": "rated" if rated(dataset, plan) else base_protocol(dataset, plan.protocol),
        "judged": plan.judged,
        # Decides where validation is judged whether the models keep the part tuned on.
        "fused": plan.fuses and plan.judged == "validation",
        "seed": plan.seed,
    }
