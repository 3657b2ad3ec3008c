"""A visit under way: its first events are known, the rest is looked for.

The one idea: the events of the last minutes reach a ranking by three ways (the models'
histories, the habits that a learned ranker reads, the affinity to the session), and each
can be shut by itself, the question staying what it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from models.evaluate.fused import Fuse, shopper_of
from models.evaluate.metrics import Keys, Ragged
from models.evaluate.ranking import Asking, Lists, batches, padded_history
from models.evaluate.task import Floats, Task, make_task
from models.fusion.cases import STEP
from models.fusion.surfaces import SESSION, first_visits, moments_shuffled, visits
from models.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Ways:
    """By which ways the visit's events are known."""

    sources: bool  # in the histories that the models are told
    habits: bool  # in what the learned ranker reads of the shopper
    session: bool  # in the affinity to the session


def live_task(
    known: pl.DataFrame,
    wanted: pl.DataFrame,
    *,
    live: int = SESSION,
    exclude_seen: bool = False,
    users: int | None = None,
    seed: int = 0,
) -> Task:
    """Ask for the rest of each shopper's first visit in `wanted`, `live` events into it.

    The histories end with these `live` events, of different items; before them lies all
    that the shopper did before the visit, in `wanted` too. Events of one moment have no
    order (the lines of a basket): which of them come first is drawn (seeded). Shoppers
    without an earlier event, or without a visit of more items, are not asked.
    """
    before = known.filter(pl.col("type") != "dislike").select("user_id").unique()
    after = wanted.join(before, on="user_id", how="semi")
    found = visits(after, "time", most=after.height, seed=seed, least=live + 1)
    mixed = moments_shuffled(found, np.random.default_rng(seed))
    starts = first_visits(mixed)
    place = pl.int_range(pl.len()).over("user_id").cast(known.schema["order"])
    visit = mixed.join(starts, on="user_id", how="semi", maintain_order="left")
    visit = visit.with_columns(order=place).select(known.columns)
    events = pl.concat([known, wanted]).rename({"user_id": "shopper"})
    past = events.join(starts, on="shopper").filter(pl.col("time") < pl.col("start"))
    told = pl.concat([past.select(known.columns), visit.filter(pl.col("order") < live)])
    rest = visit.filter(pl.col("order") >= live)
    return make_task(
        told, rest, exclude_seen=exclude_seen, users=users, seed=seed, together=False
    )  # fmt: skip


def first_of(task: Task, live: int, shown: int) -> Task:
    """Return a live task when only `shown` of its `live` events have happened."""
    lengths = task.history.lengths
    return _cut(task, np.zeros_like(lengths), lengths - live + shown)


def only_visit(task: Task, live: int) -> Task:
    """Return a live task in which nothing is known but the visit."""
    lengths = task.history.lengths
    return _cut(task, lengths - live, lengths)


def _cut(task: Task, start: Keys, stop: Keys) -> Task:
    """Keep the events start .. stop [U] of each history."""
    place = np.arange(len(task.history.keys)) - task.history.starts[task.history.users]
    kept = (place >= start[task.history.users]) & (place < stop[task.history.users])
    starts = np.concatenate([[0], np.cumsum(stop - start)]).astype(np.int64)
    return replace(
        task,
        history=Ragged(task.history.keys[kept], starts),
        history_weight=task.history_weight[kept],
        history_time=task.history_time[kept],
        history_type=None if task.history_type is None else task.history_type[kept],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One live question: the same users before the visit, and in it."""

    before: Task
    now: Task
    live: Ragged  # the visit's events so far [U lists]
    weight: Floats  # of each, by type
    hidden: Ragged  # items that are not shown [U lists]

    @classmethod
    def of(cls, task: Task, live: int) -> "Visit":
        """Return the question of a live task."""
        own = only_visit(task, live)
        return cls(first_of(task, live, 0), task, own.history, own.history_weight, own.history)


def rank_live(
    fuse: Fuse,
    visit: Visit,
    ways: Ways,
    lists: Mapping[str, Lists],
    *,
    k: int,
    asking: Asking,
    progress: Progress = silent,
) -> Keys:
    """Return each user's best `k` items, int64 [U, k] 0-padded; those of the visit not shown.

    `lists` are the sources' answers, told of the visit if `ways.sources` says so.
    """
    told = visit.now if ways.sources else visit.before
    ranked, done = np.zeros((len(told.user_ids), k), np.int64), 0
    for users in batches(told):
        histories, weights = padded_history(told, users, asking)
        for user, history, weight in zip(users.tolist(), histories, weights, strict=True):
            mine = slice(visit.live.starts[user], visit.live.starts[user + 1])
            live = visit.live.keys[mine]
            shopper = shopper_of(told, user, lists, (history, weight))
            if ways.habits != ways.sources:
                other = visit.now if ways.habits else visit.before
                habits = shopper_of(other, user, {}, (history, weight))
                shopper = replace(
                    shopper, past=habits.past, past_age=habits.past_age,
                    past_worth=habits.past_worth,
                )  # fmt: skip
            if ways.session:
                steps = np.arange(len(live) - 1, -1, -1, dtype=np.float32)
                worth = visit.weight[mine] * STEP**steps
                shopper = replace(shopper, session=live, session_weight=worth)
            hidden = visit.hidden.keys[visit.hidden.starts[user] : visit.hidden.starts[user + 1]]
            found = fuse(shopper, k + len(hidden))
            found = found[~np.isin(found, hidden)][:k]
            ranked[user, : len(found)] = found
        done += len(users)
        progress(done, len(told.user_ids), "live")
    return ranked
