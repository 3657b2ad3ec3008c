"""The events a trainer keeps back from itself, to choose settings and to report honest metrics.

Whoever calls a trainer may hold out a test set of its own; this one lies within
the events the trainer is given. Where events have times it is what came last
for everyone, as in serving; otherwise it is each user's last event.
"""

from dataclasses import dataclass

import polars as pl

from artifacts.engine import Engine
from models.evaluate.metrics import summarise
from models.evaluate.ranking import Asking, rank
from models.evaluate.task import Task, make_task

# Metrics are taken at this depth.
K = 10


@dataclass(frozen=True, slots=True)
class Holdout:
    """Events to learn from, and what came after."""

    known: pl.DataFrame
    wanted: pl.DataFrame


def hold_out(events: pl.DataFrame, *, share: float = 0.1) -> Holdout:
    """Hold out the last `share` of the events by time, or each user's last event.

    A user needs three events for the latter. `wanted` may be empty.
    """
    if events.height and events["time"].null_count() == 0:
        ordered = events["time"].sort()
        cut = ordered[min(int(len(ordered) * (1 - share)), len(ordered) - 1)]
        return Holdout(events.filter(pl.col("time") < cut), events.filter(pl.col("time") >= cut))
    last = (pl.col("order") == pl.col("order").max().over("user_id")) & (
        pl.len().over("user_id") >= 3
    )
    return Holdout(events.filter(~last), events.filter(last))


def tasks(held: Holdout, *, users: int, seed: int) -> tuple[Task, Task]:
    """Return the two questions that a recommender is judged by on the way.

    New items (those of the history are neither shown nor looked for), and next
    items (people buy again). Either may have no user.
    """
    new = make_task(held.known, held.wanted, exclude_seen=True, users=users, seed=seed)
    following = make_task(held.known, held.wanted, exclude_seen=False, users=users, seed=seed)
    return new, following


def measure(engine: Engine, both: tuple[Task, Task], items: int) -> dict[str, float]:
    """Return recall@10 and ndcg@10 on new items, and the same on next items as `*_next@10`.

    `items` is the size of the catalogue. The engine must not know what is wanted.
    """
    found: dict[str, float] = {}
    for suffix, task in (("", both[0]), ("_next", both[1])):
        if not task.user_ids:
            continue
        lists = rank(engine, task, K, Asking())
        values = summarise(lists.keys, task.targets, (K,), items)
        for name in ("recall", "ndcg", "coverage"):
            found[f"{name}{suffix}@{K}"] = values[f"{name}@{K}"]
        found[f"users{suffix}"] = float(len(task.user_ids))
    return found
