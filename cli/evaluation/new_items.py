"""How well items are ranked that training never saw: every row again, judged by such items.

The one idea: the same questions, twice. Among all items, as shoppers see it: what is
new must push aside what is known. And among the new items alone: which of them is for
whom, when nothing else is in the way. A model that knows no new item has nothing to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from cli.evaluation.ranking import Asked
from cli.evaluation.tables import Ranked, make_table, rank_again
from cli.evaluation.training import Job
from models.evaluate.judge import Entry
from models.evaluate.metrics import Keys
from models.evaluate.report import Table
from models.evaluate.task import looking_for, within
from models.evaluate.work import digest


def new_item_tables(
    job: Job, asked: Asked, ranked: Ranked, entries: Sequence[Entry]
) -> tuple[list[Table], dict[str, str]]:
    """Return two tables for each kind of new items; also say which kinds are left out.

    `entries` are the rows' rankings of all items for those `asked`.
    """
    tables, skipped = [], {}
    for name, keys in _kinds(job):
        task, users = looking_for(asked.task, keys)
        if not len(users):
            skipped[name] = "nobody asked had one next"
            continue
        some = replace(asked, task=task, key={**asked.key, "looking_for": digest(keys.tolist())})
        cut = [replace(entry, ranked=entry.ranked[users]) for entry in entries]
        tables.append(make_table(job, some, cut, f"{name}, among all items"))
        only = replace(
            some,
            task=within(task, keys, history=False),
            key={**some.key, "among": "themselves"},
        )
        rows = rank_again(job, only, ranked)
        tables.append(make_table(job, only, rows, f"{name}, among themselves"))
    return tables, skipped


def _kinds(job: Job) -> Iterator[tuple[str, Keys]]:
    """Yield kinds of new items: those training never saw, and those nobody had before asking."""
    unheard = _unseen(job, job.parts.known)
    # What the models that are judged learned from: what came later is no news to them.
    seen = unheard if job.plan.with_validation else _unseen(job, job.parts.train)
    yield "Items first seen after training", seen
    if len(unheard) < len(seen):
        yield "Items without an event before asking", unheard


def _unseen(job: Job, events: pl.DataFrame) -> Keys:
    keys = job.dataset.items["item_key"].sort().to_numpy().astype(np.int64)
    met: Keys = events["item_key"].unique().to_numpy().astype(np.int64)
    return np.setdiff1d(keys, met)
