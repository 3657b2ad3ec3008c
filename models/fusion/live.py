"""A visit under way: its first events are known, the rest is looked for.

The one idea: the events of the last minutes reach a ranking by three ways (the models'
histories, the habits that a learned ranker reads, the affinity to the session), and each
can be shut by itself, the question staying what it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from artifacts.formulas import by_step
from models.evaluate.fused import Fuse, shopper_of
from models.evaluate.metrics import Bools, Keys, Ragged
from models.evaluate.ranking import Asking, Lists, batches, padded_history
from models.evaluate.task import Floats, Task, certain, make_task, with_history
from models.fusion.surfaces import (
    SESSION,
    cut,
    first_visits,
    moments_shuffled,
    session_task,
    visits,
)
from models.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Ways:
    """By which ways the visit's events are known."""

    sources: bool  # in the histories that the models are told
    habits: bool  # in what the learned ranker reads of the shopper
    session: bool  # in the affinity to the session


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """The question of what comes next in visits under way."""

    task: Task
    # Of each event of the histories: how many items its visit held with it; 0 before it [N].
    items: Keys
    # The visits so far, oldest event first: what a session in serving holds, dislikes too.
    session: Ragged  # [M]
    session_weight: Floats  # by type, below 0 for a dislike [M]
    session_items: Keys  # how many items its visit held with each event, 1 at least [M]


def live_task(
    known: pl.DataFrame,
    wanted: pl.DataFrame,
    *,
    live: int = SESSION,
    exclude_seen: bool = False,
    users: int | None = None,
    seed: int = 0,
) -> Live:
    """Ask for the rest of each shopper's first visit in `wanted`, `live` items into it.

    The histories end with the visit until then, those items that the shopper came back to as
    often as that happened, as a session in serving holds them; dislikes are in the session
    alone. Before it lies all that the shopper did before the visit, in `wanted` too. Events
    of one moment have no order (the lines of a basket): which of them come first is drawn
    (seeded). Shoppers without an earlier event, or without a visit of more items, are not
    asked.
    """
    begun, starts = _begun(known, wanted, live, seed)
    begun = begun.with_columns(
        order=pl.int_range(pl.len()).over("user_id").cast(known.schema["order"])
    )
    visit, rest = (part.select(known.columns) for part in cut(begun, live, None))
    events = pl.concat([known, wanted]).rename({"user_id": "shopper"})
    past = events.join(starts, on="shopper").filter(pl.col("time") < pl.col("start"))
    told = pl.concat([past.select(known.columns), visit])
    task = make_task(told, rest, exclude_seen=exclude_seen, users=users, seed=seed, together=False)
    liked = visit.filter(pl.col("type") != "dislike")
    sizes = dict(liked.group_by("user_id").len().iter_rows())
    return Live(task, _items(task, [sizes[user] for user in task.user_ids]), *_session(task, visit))


def _items(task: Task, sizes: Sequence[int]) -> Keys:
    """Return Live.items where each history ends with a visit of so many events [U]."""
    found = np.zeros(len(task.history.keys), np.int64)
    for stop, size in zip(task.history.starts[1:].tolist(), sizes, strict=True):
        visit = slice(stop - size, stop)
        fresh = np.zeros(size, np.int64)
        fresh[np.unique(task.history.keys[visit], return_index=True)[1]] = 1
        found[visit] = np.cumsum(fresh)
    return found


def _session(task: Task, visit: pl.DataFrame) -> tuple[Ragged, Floats, Keys]:
    """Return Live.session, session_weight and session_items from the visits' events."""
    named = pl.Series("user_id", task.user_ids, pl.String)
    index = pl.DataFrame([named]).with_row_index("user")
    told = visit.join(index, on="user_id").sort("user", "order")
    liked = pl.col("type") != "dislike"
    fresh = liked & pl.struct("user", "item_key", liked).is_first_distinct()
    items = told.select(fresh.cast(pl.Int64).cum_sum().over("user").clip(lower_bound=1))
    starts = np.searchsorted(told["user"].to_numpy(), np.arange(len(task.user_ids) + 1))
    keys = told["item_key"].to_numpy().astype(np.int64)
    session = Ragged(keys, starts.astype(np.int64))
    return session, certain(told), items.to_series().to_numpy().astype(np.int64)


def session_task_of_strangers(
    known: pl.DataFrame, wanted: pl.DataFrame, *, users: int | None = None, seed: int = 0
) -> Task:
    """Ask for the rest of the same visits by shoppers of whom nothing is known but the session.

    It is told until its first five items, those that they came back to as often as they did.
    """
    begun, _ = _begun(known, wanted, SESSION, seed)
    return session_task(begun, users, seed, most=None)


def _begun(
    known: pl.DataFrame, wanted: pl.DataFrame, live: int, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first visit of more than `live` items of each known shopper, and its start."""
    before = known.filter(pl.col("type") != "dislike").select("user_id").unique()
    after = wanted.join(before, on="user_id", how="semi")
    found = visits(after, "time", most=after.height, seed=seed, least=live + 1)
    mixed = moments_shuffled(found, np.random.default_rng(seed))
    starts = first_visits(mixed)
    return mixed.join(starts, on="user_id", how="semi", maintain_order="left"), starts


def first_of(live: Live, shown: int) -> Live:
    """Return the question when the visit has come to `shown` items only."""
    return _some(live, live.items <= shown, live.session_items <= shown)


def only_visit(live: Live) -> Live:
    """Return the question where nothing is known but the visit."""
    return _some(live, live.items > 0, live.session_items > 0)


def _some(live: Live, kept: Bools, in_session: Bools) -> Live:
    before = np.concatenate([[0], np.cumsum(in_session)])
    session = Ragged(live.session.keys[in_session], before[live.session.starts])
    return Live(
        with_history(live.task, kept), live.items[kept], session,
        live.session_weight[in_session], live.session_items[in_session],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One live question: the same users before the visit, and in it."""

    before: Task
    now: Task
    live: Ragged  # the visit's events so far, dislikes too [U lists]
    weight: Floats  # of each, by type; below 0 for a dislike
    hidden: Ragged  # items that are not shown [U lists]

    @classmethod
    def of(cls, live: Live) -> "Visit":
        """Return one question from before the visit and in it."""
        before = first_of(live, 0).task
        return cls(before, live.task, live.session, live.session_weight, live.session)


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
            shopper = shopper_of(told, user, lists, (history, weight))
            if ways.habits != ways.sources:
                other = visit.now if ways.habits else visit.before
                habits = shopper_of(other, user, {}, (history, weight))
                shopper = replace(
                    shopper, past=habits.past, past_age=habits.past_age,
                    past_worth=habits.past_worth,
                )  # fmt: skip
            session = mine if ways.session else slice(0, 0)
            shopper = replace(
                shopper, session=visit.live.keys[session],
                session_weight=by_step(visit.weight[session]),
            )  # fmt: skip
            hidden = visit.hidden.keys[visit.hidden.starts[user] : visit.hidden.starts[user + 1]]
            found = fuse(shopper, k + len(hidden))
            found = found[~np.isin(found, hidden)][:k]
            ranked[user, : len(found)] = found
        done += len(users)
        progress(done, len(told.user_ids), "live")
    return ranked
