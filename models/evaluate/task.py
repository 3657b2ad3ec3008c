"""The task of an evaluation: for each user a history to ask with and the targets to find.

Built from two sets of events, what is known and what came next, so that
validation and test differ only in the events given.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.formulas import by_step
from models.data.interactions import EVENT_WEIGHTS, type_numbers
from models.evaluate.metrics import Bools, Keys, Ragged

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Events this close to a question are the current session; as gateway/settings.py.
SESSION_SECONDS = 30 * 60
# Newest events that a ranker reads habits from, dislikes among them; as gateway/settings.py.
REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """U users to answer; every one has a history and a target."""

    user_ids: tuple[str, ...]
    history: Ragged  # oldest to newest
    history_weight: Floats  # by event type, aligned with history.keys
    history_time: Doubles  # seconds since epoch; the event's order where there is no time
    timed: bool  # whether history_time is a time
    now: Doubles  # when the question is asked, seconds since epoch [U]
    market: tuple[str, ...]  # of each user's newest event
    targets: Ragged  # distinct; without what the user had before if seen items are excluded
    exclude_seen: bool
    # Users with targets left out because nothing was known of them.
    without_history: int
    # And because all that they wanted they had before, and seen items are excluded.
    only_seen: int = 0
    # Ascending keys of the items that may be shown; None: all.
    allowed: Keys | None = None
    # EventType numbers, aligned with history.keys, int64; None: not known.
    history_type: Keys | None = None
    remembered: Keys | None = None  # newest events of each history in serving; None: REMEMBERED [U]
    # What each user disliked and has not liked since: never shown. None: nobody anything.
    disliked: Ragged | None = None
    # The current session, oldest first, by type and step; below 0 for a dislike. None where
    # events have no times, or nothing of it is told.
    session: Ragged | None = None
    session_weight: Floats | None = None


def make_task(
    known: pl.DataFrame,
    wanted: pl.DataFrame,
    *,
    exclude_seen: bool = True,
    users: int | None = None,
    seed: int = 0,
    together: bool = True,
) -> Task:
    """Ask for the `wanted` events of users whose `known` events are given.

    `users` draws that many at random (seeded); None takes all. Dislikes are
    neither history nor target, they hide their items. Answers to `exclude_seen` rankings
    must not hold items of the history, and those are no targets. Where events have times,
    all are asked `together` at the time of the first wanted event, else each at that of
    the first of its own.
    """
    every, known = known, known.filter(pl.col("type") != "dislike")
    targets, only_seen = _targets(known, wanted, exclude_seen=exclude_seen)
    asked = targets.select("user_id").unique()
    chosen = asked.join(known.select("user_id").unique(), on="user_id", how="semi")["user_id"]
    ids = _draw(chosen.sort(), users, seed)
    index = pl.DataFrame({"user_id": ids, "user": pl.int_range(len(ids), eager=True)})
    timed = known.height > 0 and known["time"].null_count() == 0
    clock = pl.col("time").dt.epoch("us") / 1e6 if timed else pl.col("order")
    told = (
        every.join(index, on="user_id")
        .with_columns(clock=clock.cast(pl.Float64))
        .sort("user", "clock", "order", maintain_order=True)
    )
    history = told.filter(pl.col("type") != "dislike")
    found = targets.join(index, on="user_id").sort("user", "item_key")
    newest = history.group_by("user", maintain_order=True).agg(pl.col("market", "clock").last())
    now = _now(newest, wanted.join(index, on="user_id"), timed=timed, together=together)
    task = Task(
        user_ids=tuple(ids.to_list()),
        history=_ragged(history, len(ids)),
        history_weight=certain(history),
        history_time=history["clock"].to_numpy().astype(np.float64),
        timed=timed,
        now=now,
        market=tuple(newest["market"].to_list()),
        targets=_ragged(found, len(ids)),
        exclude_seen=exclude_seen,
        without_history=asked.height - len(chosen),
        only_seen=only_seen,
        history_type=type_numbers(history).astype(np.int64),
        remembered=_remembered(told, len(ids)),
        disliked=_ragged(_disliked(told), len(ids)),
    )
    return _in_session(task, told) if timed else task


def _targets(
    known: pl.DataFrame, wanted: pl.DataFrame, *, exclude_seen: bool
) -> tuple[pl.DataFrame, int]:
    """Return what is looked for, by user and key, and how many users have nothing left of it."""
    targets = wanted.filter(pl.col("type") != "dislike").select("user_id", "item_key").unique()
    if not exclude_seen:
        return targets, 0
    new = targets.join(known, on=["user_id", "item_key"], how="anti")
    return new, targets["user_id"].n_unique() - new["user_id"].n_unique()


def of_users(task: Task, users: Keys) -> Task:
    """Return the task of some of its users, int64 [V], in that order."""
    history, at = _taken(task.history, users)
    return replace(
        task,
        user_ids=tuple(task.user_ids[user] for user in users.tolist()),
        history=history,
        history_weight=task.history_weight[at],
        history_time=task.history_time[at],
        history_type=None if task.history_type is None else task.history_type[at],
        now=task.now[users],
        market=tuple(task.market[user] for user in users.tolist()),
        targets=_taken(task.targets, users)[0],
        remembered=None if task.remembered is None else task.remembered[users],
        disliked=None if task.disliked is None else _taken(task.disliked, users)[0],
        **_session_of(task, users),
    )


def _session_of(task: Task, users: Keys) -> dict[str, Any]:
    if task.session is None or task.session_weight is None:
        return {}
    session, at = _taken(task.session, users)
    return {"session": session, "session_weight": task.session_weight[at]}


def by_strangers(task: Task) -> Task:
    """Return the same questions by users of whom nothing is known."""
    return replace(
        task,
        history=Ragged(task.history.keys[:0], np.zeros(len(task.user_ids) + 1, np.int64)),
        history_weight=task.history_weight[:0],
        history_time=task.history_time[:0],
        history_type=None if task.history_type is None else task.history_type[:0],
        remembered=None,
        disliked=None,
        session=None,
        session_weight=None,
    )


def looking_for(task: Task, keys: Keys) -> tuple[Task, Keys]:
    """Return the task of finding nothing but targets among `keys`, and whom it asks, int64 [V].

    Users with no such target are left out.
    """
    mine = np.isin(task.targets.keys, keys)
    count = np.bincount(task.targets.users[mine], minlength=len(task.user_ids))
    users = np.flatnonzero(count).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(count[users])]).astype(np.int64)
    return replace(of_users(task, users), targets=Ragged(task.targets.keys[mine], starts)), users


def within(task: Task, keys: Keys, *, history: bool) -> Task:
    """Return the task of ranking nothing but items of `keys` (ascending).

    With `history` only these are in the histories too, which may become empty, and in all
    else that is known of the users.
    """
    restricted = replace(task, allowed=keys)
    if not history:
        return restricted
    cut = replace(with_history(restricted, np.isin(task.history.keys, keys)), remembered=None)
    if task.disliked is not None:
        cut = replace(cut, disliked=_some(task.disliked, np.isin(task.disliked.keys, keys))[0])
    if task.session is None or task.session_weight is None:
        return cut
    session, kept = _some(task.session, np.isin(task.session.keys, keys))
    return replace(cut, session=session, session_weight=task.session_weight[kept])


def with_history(task: Task, kept: Bools) -> Task:
    """Return the same questions with some of the histories' events, bool [N]."""
    history, at = _some(task.history, kept)
    return replace(
        task,
        history=history,
        history_weight=task.history_weight[at],
        history_time=task.history_time[at],
        history_type=None if task.history_type is None else task.history_type[at],
        remembered=_still_remembered(task, kept),
    )


def _still_remembered(task: Task, kept: Bools) -> Keys | None:
    """Return Task.remembered where some of the histories' events [N] are left."""
    if task.remembered is None:
        return None
    users = task.history.users
    newer = task.history.starts[users + 1] - 1 - np.arange(len(users))
    new = users[kept & (newer < task.remembered[users])]
    return np.bincount(new, minlength=len(task.user_ids)).astype(np.int64)


def in_session(task: Task) -> Task:
    """Return the same questions by users of whom the current session alone is known.

    All of the histories where events have no times.
    """
    if not task.timed:
        return task
    since = task.now[task.history.users] - SESSION_SECONDS
    return with_history(task, task.history_time >= since)


def _some(lists: Ragged, kept: Bools) -> tuple[Ragged, Keys]:
    """Return lists of some of their keys [N], and where these stood."""
    lengths = np.bincount(lists.users[kept], minlength=len(lists.starts) - 1)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(lists.keys[kept], starts), np.flatnonzero(kept).astype(np.int64)


def _taken(lists: Ragged, users: Keys) -> tuple[Ragged, Keys]:
    """Return the lists of some users, and where their keys stood."""
    lengths = lists.lengths[users]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    at = np.repeat(lists.starts[users] - starts[:-1], lengths) + np.arange(starts[-1])
    return Ragged(lists.keys[at], starts), at


def _draw(ids: pl.Series, users: int | None, seed: int) -> pl.Series:
    if users is None or users >= len(ids):
        return ids
    drawn = np.random.default_rng(seed).choice(len(ids), users, replace=False)
    return ids.gather(np.sort(drawn))


def certain(events: pl.DataFrame) -> Floats:
    """Return how certainly each event says that its item is wanted, below 0 that it is not [E].

    As in serving: the most certain type of event weighs 1.
    """
    greatest = max(EVENT_WEIGHTS.values())
    weight = events["type"].replace_strict(
        EVENT_WEIGHTS, default=-greatest, return_dtype=pl.Float64
    )
    return weight.to_numpy().astype(np.float32) / np.float32(greatest)


def _disliked(told: pl.DataFrame) -> pl.DataFrame:
    """Return what users dislike, by user and key; of likes and dislikes the newest decides."""
    opinions = told.filter(pl.col("type").is_in(["like", "dislike"]))
    newest = opinions.unique(["user", "item_key"], keep="last", maintain_order=True)
    return newest.filter(pl.col("type") == "dislike").sort("user", "item_key")


def _remembered(told: pl.DataFrame, users: int) -> Keys:
    """Return Task.remembered; `told` holds dislikes too, each user's oldest events first."""
    back = pl.int_range(pl.len(), 0, -1).over("user")
    newest = told.filter((back <= REMEMBERED) & (pl.col("type") != "dislike"))
    return np.bincount(newest["user"].to_numpy(), minlength=users).astype(np.int64)


def _in_session(task: Task, told: pl.DataFrame) -> Task:
    """Add the events `told`, sorted, that lie in the session of their user's question."""
    since = task.now[told["user"].to_numpy()] - SESSION_SECONDS
    recent = told.filter(pl.Series(told["clock"].to_numpy() >= since))
    session = _ragged(recent, len(task.user_ids))
    weight = certain(recent)
    for start, stop in pairwise(session.starts.tolist()):
        weight[start:stop] = by_step(weight[start:stop])
    return replace(task, session=session, session_weight=weight)


def _ragged(frame: pl.DataFrame, users: int) -> Ragged:
    """Turn rows sorted by `user` into lists."""
    starts = np.searchsorted(frame["user"].to_numpy(), np.arange(users + 1))
    return Ragged(frame["item_key"].to_numpy().astype(np.int64), starts.astype(np.int64))


def _now(newest: pl.DataFrame, wanted: pl.DataFrame, *, timed: bool, together: bool) -> Doubles:
    """When to ask [U]: right before what is wanted, but never before the end of the history."""
    last: Doubles = newest["clock"].to_numpy().astype(np.float64)
    if not timed or not wanted.height or wanted["time"].null_count():
        return last
    clock = (pl.col("time").dt.epoch("us") / 1e6).min()
    first = wanted.group_by("user").agg(clock=clock).sort("user")["clock"].to_numpy()
    now: Doubles = np.maximum(last, first.min() if together else first)
    return now
