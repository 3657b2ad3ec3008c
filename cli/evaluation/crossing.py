"""Does another domain help? Every model twice: with the target domain alone, and with all.

The one idea: both are asked about the same users, rank the same items of the
target domain, and look for the same targets; only what they learned from and
which history they see differ. Whoever is new to the target domain has no history
there: the model of one domain then shows its best sellers, as the gateway does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
from models.train import reasons

# More target domains than these must be named: each is an evaluation of its own.
_MOST_DOMAINS = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """A target domain: its items, its part of the work, and who is asked."""

    domain: str
    keys: Keys  # ascending
    one: Job  # knows nothing but the domain
    wanted: Job  # knows all domains; what is looked for is of this one
    everyone: Asked


def cross_domain_tables(job: Job, *, together: bool) -> tuple[list[Table], dict[str, str]]:
    """Return a table for each target domain; also say which domains and rows are left out.

    Raises SplitError, before anything is trained, where no domain can be judged.
    """
    targets, skipped = [], {}
    for domain in _targets(job):
        try:
            targets.append(_target(job, domain, together=together))
        except SplitError as error:
            skipped[domain] = str(error)
    if not targets:
        raise SplitError(f"no domain can be judged: {reasons(skipped)}")
    if "popular-7d" in job.plan.rows:
        skipped["popular-7d"] = "the baseline is the best sellers of the domain"
    tables = []
    for target in targets:
        table, why = _table(job, target)
        tables.append(table)
        skipped |= why
    return tables, skipped


def _target(job: Job, domain: str, *, together: bool) -> _Target:
    """Return a target domain; raises SplitError where nobody can be asked about it."""
    items = job.dataset.items.filter(pl.col("domain") == domain)
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
    return _Target(domain, keys, one, replace(job, parts=wanted), everyone)


def _table(job: Job, target: _Target) -> tuple[Table, dict[str, str]]:
    one, everyone, keys = target.one, target.everyone, target.keys
    among = replace(everyone, task=within(everyone.task, keys, history=False))
    alone_there = replace(
        everyone,
        task=within(everyone.task, keys, history=True),
        key={**everyone.key, "history": target.domain},
    )
    ranked = {"one": rank_rows(one, alone_there), "all": rank_rows(job, among)}
    entries = _entries(one, alone_there, ranked)
    table = make_table(target.wanted, among, entries, f"Target domain {target.domain}")
    table = with_extras(table, job, among, ranked["all"])
    return table, _left_out(target.domain, ranked)


def _left_out(domain: str, ranked: Mapping[str, Ranked]) -> dict[str, str]:
    """Say which rows are left out; those that only one domain teaches nothing, by its name."""
    everywhere = ranked["all"].skipped
    here = {
        f"{row}{ONE_DOMAIN} ({domain})": why
        for row, why in ranked["one"].skipped.items()
        if row not in everywhere
    }
    return {**everywhere, **here}


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
    # One that is named twice is judged once.
    return tuple(dict.fromkeys(job.plan.domains)) or tuple(there)
