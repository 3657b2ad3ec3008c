"""Where a ranking is good and where it is not: the same numbers over parts of the targets.

The one idea: every slice is a set of targets. A slice of users takes all of
theirs, a slice of items only the targets among those items; the rankings stay
what they are, over the whole catalogue.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.evaluate.metrics import Bools, Keys
from models.evaluate.task import Task

# Markets with fewer users are not worth a line; more markets than these are too many.
_LEAST_USERS, _MOST_MARKETS = 20, 8
# The head: the best sellers that together have this part of the events.
_HEAD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A named part of a task's targets."""

    group: str  # slices of one group divide the same thing
    name: str
    what: str  # the rule, for readers
    targets: Bools  # [T]


def make_slices(
    task: Task, items: pl.DataFrame, trained: pl.DataFrame, known: pl.DataFrame
) -> list[Slice]:
    """Return the slices that hold any target and not all of them.

    `trained` are the events the models learned from, `known` those before asking.
    """
    made = [
        *_users(task, trained),
        *_histories(task),
        *_items(task, trained, known),
        *_domains(task, items),
        *_markets(task),
    ]
    return [s for s in made if s.targets.any() and not s.targets.all()]


def _users(task: Task, trained: pl.DataFrame) -> Iterator[Slice]:
    ids = set(trained["user_id"].unique().to_list())
    known = np.array([user in ids for user in task.user_ids], np.bool_)
    yield _of_users(task, "users", ("new users", "first seen after training"), ~known)
    yield _of_users(task, "users", ("known users", "seen in training"), known)


def _histories(task: Task) -> Iterator[Slice]:
    """Thirds by length, as nearly as equal lengths allow."""
    lengths = task.history.lengths
    low, high = np.quantile(lengths, [1 / 3, 2 / 3]).astype(int)
    high = max(high, low + 1)
    parts = (
        ("short histories", f"up to {low:,} events", lengths <= low),
        ("middling histories", f"{low + 1:,} to {high - 1:,} events",
         (lengths > low) & (lengths < high)),
        ("long histories", f"{high:,} events or more", lengths >= high),
    )  # fmt: skip
    for name, what, users in parts:
        yield _of_users(task, "histories", (name, what), users)


def _items(task: Task, trained: pl.DataFrame, known: pl.DataFrame) -> Iterator[Slice]:
    counts = trained.filter(pl.col("type") != "dislike").group_by("item_key").len()
    counts = counts.sort(["len", "item_key"], descending=[True, False])
    share = counts["len"].cum_sum() / max(int(counts["len"].sum()), 1)
    before = share - counts["len"] / max(int(counts["len"].sum()), 1)
    head = counts.filter(before < _HEAD)["item_key"].to_numpy()
    sold = counts["item_key"].to_numpy()
    wanted = task.targets.keys
    in_head, in_training = np.isin(wanted, head), np.isin(wanted, sold)
    ever = np.isin(wanted, known["item_key"].unique().to_numpy())
    what = f"the {len(head):,} best sellers with half of the events"
    yield Slice("items", "head items", what, in_head)
    yield Slice("items", "tail items", "all others seen in training", in_training & ~in_head)
    yield Slice("items", "new items", "first seen after training", ~in_training)
    yield Slice("items", "unheard-of items", "no event before asking", ~ever)


def _domains(task: Task, items: pl.DataFrame) -> Iterator[Slice]:
    """Whether the user has been in the target's domain before."""
    ordered = items.sort("item_key")
    domain = ordered["domain"].rank("dense").to_numpy().astype(np.int64)
    keys = ordered["item_key"].to_numpy()
    size = int(domain.max(initial=0)) + 1

    def cells(users: Keys, item_keys: Keys) -> Keys:
        found: Keys = users * size + domain[np.searchsorted(keys, item_keys)]
        return found

    visited = np.isin(
        cells(task.targets.users, task.targets.keys), cells(task.history.users, task.history.keys)
    )
    what = "the user has no event in the target's domain"
    yield Slice("domains", "domain never visited", what, ~visited)
    yield Slice("domains", "domain visited", "the user has been there", visited)


def _markets(task: Task) -> Iterator[Slice]:
    names, where, count = np.unique(
        np.array(task.market, np.str_), return_inverse=True, return_counts=True
    )
    largest = np.argsort(-count, kind="stable")[:_MOST_MARKETS]
    for market in largest.tolist():
        if count[market] >= _LEAST_USERS:
            name = str(names[market]) or "(none)"
            yield _of_users(task, "markets", (f"market {name}", ""), where == market)


def _of_users(task: Task, group: str, named: tuple[str, str], users: Bools) -> Slice:
    return Slice(group, *named, users[task.targets.users])
