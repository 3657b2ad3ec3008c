"""The table of a ranking protocol: what users did next, and what else was asked for."""

from cli.evaluation.new_items import new_item_tables
from cli.evaluation.ranking import baselines
from cli.evaluation.tables import ask_for, make_table, rank_rows, with_extras
from cli.evaluation.training import Job
from cli.evaluation.visits import visit_tables
from models.evaluate.report import Table


def home_tables(job: Job, *, together: bool) -> tuple[list[Table], dict[str, str]]:
    """Ask for what each user did next; also say which rows are left out, and why."""
    asked = ask_for(job, together=together)
    ranked = rank_rows(job, asked)
    popular, skipped = baselines(job, asked)
    entries = [*popular, *ranked.entries]
    table = make_table(job, asked, entries, "What users did next", {**skipped, **ranked.skipped})
    tables = [with_extras(table, job, asked, ranked)]
    if job.plan.new_items:
        more, none = new_item_tables(job, asked, ranked, entries)
        tables += more
        skipped |= none
    if job.plan.visits:
        more, none = visit_tables(job, ranked)
        tables += more
        skipped |= none
    return tables, {**skipped, **ranked.skipped}
