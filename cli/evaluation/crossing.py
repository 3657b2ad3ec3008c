"""Does another domain help? Every model twice: with the target domain alone, and with all.

The one idea: both are asked about the same users, rank the same items of the
target domain, and look for the same targets; only what they learned from and
which history they see differ. Whoever is new to the target domain has no history
there: the model of one domain then shows its best sellers, as the gateway does.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from cli.evaluation.plan import ONE_DOMAIN
from cli.evaluation.ranking import Asked, popular
from cli.evaluation.tables import Ranked, ask_for, make_table, rank_rows, with_extras
from cli.evaluation.training import Job
from models.data.errors import SplitError
from models.evaluate.judge import Entry
from models.evaluate.metrics import Keys
from models.evaluate.parts import of_domain
from models.evaluate.report import Table
from models.evaluate.task import within

# More target domains than these must be named: each is an evaluation of its own.
_MOST_DOMAINS = 4


def cross_domain_tables(job: Job, *, together: bool) -> tuple[list[Table], dict[str, str]]:
    """Return a table for each target domain; also say which rows are left out."""
    tables, skipped = [], {}
    for domain in _targets(job):
        items = job.dataset.items.filter(pl.col("domain") == domain)
        table, why = _table(job, domain, items, together=together)
        tables.append(table)
        skipped.update(why)
    return tables, skipped


def _table(
    job: Job, domain: str, items: pl.DataFrame, *, together: bool
) -> tuple[Table, dict[str, str]]:
    keys = items["item_key"].sort().to_numpy().astype(np.int64)
    one = replace(
        job,
        dataset=replace(job.dataset, items=items),
        parts=of_domain(job.parts, items),
        key={**job.key, "domain": domain},
        suffix=ONE_DOMAIN,
    )
    wanted = replace(job.parts, wanted=one.parts.wanted)
    everyone = ask_for(
        replace(job, parts=wanted, key={**job.key, "target": domain}), together=together
    )
    among = replace(everyone, task=within(everyone.task, keys, history=False))
    alone_there = replace(
        everyone,
        task=within(everyone.task, keys, history=True),
        key={**everyone.key, "history": domain},
    )
    ranked = {"one": rank_rows(one, alone_there), "all": rank_rows(job, among)}
    entries = _entries(one, alone_there, ranked)
    table = make_table(replace(job, parts=wanted), among, entries, f"Target domain {domain}")
    table = with_extras(table, job, among, ranked["all"])
    return table, {**ranked["one"].sources.skipped, **ranked["all"].sources.skipped}


def _entries(one: Job, asked: Asked, ranked: Mapping[str, Ranked]) -> list[Entry]:
    """Put each row of one domain before the same row of all; best sellers fill what is empty."""
    sellers = popular(one, asked)
    first = {entry.name: entry for entry in ranked["one"].entries}
    found = [Entry("popular", "baseline", sellers.lists.keys, "best sellers of the domain")]
    for entry in ranked["all"].entries:
        twin = first.pop(entry.name + ONE_DOMAIN, None)
        found += [twin, entry] if twin is not None else [entry]
    most = max(one.plan.ks)
    return [replace(e, ranked=_filled(e.ranked, sellers.lists.keys, most)) for e in found]


def _filled(ranked: Keys, popular: Keys, most: int) -> Keys:
    """Give users without any answer the best sellers."""
    width = min(most, ranked.shape[1])
    empty = ~(ranked != 0).any(axis=1)[:, None]
    return np.where(empty, popular[:, :width], ranked[:, :width])


def _targets(job: Job) -> tuple[str, ...]:
    """Return the domains that are targets. Raises SplitError if there are none, or too many."""
    there = job.dataset.items["domain"].unique().sort().to_list()
    if len(there) < 2:
        raise SplitError(
            f"{job.dataset.path}: all items are of one domain ({', '.join(there)}), so none can "
            "help another; use another protocol"
        )
    if unknown := sorted(set(job.plan.domains) - set(there)):
        raise SplitError(
            f"{job.dataset.path}: no item is of the domain {', '.join(unknown)}; "
            f"there are: {', '.join(there)}"
        )
    if not job.plan.domains and len(there) > _MOST_DOMAINS:
        raise SplitError(
            f"{job.dataset.path}: {len(there)} domains, and each costs two trainings of every "
            f"model; name some with --domain, of {', '.join(there)}"
        )
    return job.plan.domains or tuple(there)
