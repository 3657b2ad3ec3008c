"""The events a trainer keeps back from itself, to choose settings and to report honest metrics.

Whoever calls a trainer may hold out a test set of its own; this one lies within
the events the trainer is given. Where events have times it is what came last
for everyone, as in serving; where they have an order, each user's last event; and
where they have neither, one of each user's at random, as such data are tested.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from artifacts.engine import Engine
from models.data.fitting import has_split
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


def ordered(events: pl.DataFrame) -> bool:
    """Say whether it is known which of a user's events came first.

    Data without times that came with a split have the order of their file, which means
    nothing: what was left out was drawn (models/data/importers/lightgcn.py, pairs.py).
    """
    return events["time"].null_count() == 0 or not has_split(events)


def hold_out(events: pl.DataFrame, *, share: float = 0.1, seed: int = 0) -> Holdout:
    """Hold out the last `share` of the events by time, or an event of each user.

    A user needs three events for the latter, which is done too where all events are of
    one moment. `wanted` may be empty.
    """
    if events.height and events["time"].null_count() == 0:
        times = events["time"].sort()
        cut = times[min(int(len(times) * (1 - share)), len(times) - 1)]
        # Many events at the first moment: what comes after it is held out.
        after = times.filter((times >= cut) & (times > times[0]))
        if len(after):
            later = pl.col("time") >= after[0]
            return Holdout(events.filter(~later), events.filter(later))
    # Without times the order is the file's, and means nothing in data that came with a split.
    if has_split(events):
        events = events.sort("user_id", "item_key", "order", maintain_order=True)
        drawn = np.random.default_rng(seed).random(events.height)
        events = events.with_columns(place=pl.Series(drawn))
    else:
        events = events.with_columns(place=pl.col("order"))
    last = (pl.col("place") == pl.col("place").max().over("user_id")) & (
        pl.len().over("user_id") >= 3
    )
    return Holdout(events.filter(~last).drop("place"), events.filter(last).drop("place"))


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
