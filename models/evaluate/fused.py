"""Ranking with the sources fused, by whatever function fuses in serving.

Training code may not import the gateway, so the function comes from outside; it
gets what the gateway gets: a shopper's history and what each source answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from artifacts.ranker.shelf import LEADING
from models.data.interactions import TYPE_NUMBERS
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists, batches, padded_history
from models.evaluate.task import REMEMBERED, Floats, Task
from models.progress import Progress, silent


@dataclass(frozen=True, slots=True, eq=False)
class Shopper:
    """One question and its answers."""

    history: Keys  # oldest to newest [L]
    history_weight: Floats  # [L]
    seen: Keys  # what must not be shown; empty if seen items may be
    market: str
    now: float  # seconds since epoch; nan where events have no time
    # Source -> (item keys [k], scores [k]), best first.
    answers: Mapping[str, tuple[Keys, Floats]]
    # What is remembered, further back than the history; empty where there are no times.
    past: Keys = field(default_factory=lambda: np.zeros(0, np.int64))  # [R]
    # Days before now, and weight by type alone [R].
    past_age: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    past_worth: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    # Items that were bought ever, each once; empty where types of events are not known.
    purchased: Keys = field(default_factory=lambda: np.zeros(0, np.int64))
    # Items that must not be shown, whatever the question.
    disliked: Keys = field(default_factory=lambda: np.zeros(0, np.int64))
    # What is happening now, oldest first, with its weight by type and steps since [M].
    session: Keys = field(default_factory=lambda: np.zeros(0, np.int64))
    session_weight: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    text: str = ""  # what was searched for


class Fuse(Protocol):
    """The fusion, as the gateway runs it."""

    def __call__(self, shopper: Shopper, k: int) -> Keys:
        """Return the keys of the best `k` items, best first."""
        ...


def rank_fused(
    fuse: Fuse,
    task: Task,
    lists: Mapping[str, Lists],
    *,
    k: int,
    asking: Asking,
    texts: Sequence[str] = (),
    progress: Progress = silent,
) -> Keys:
    """Return each user's best `k` items, int64 [U, k] 0-padded; `texts`: what each searched for."""
    ranked = np.zeros((len(task.user_ids), k), np.int64)
    done = 0
    for users in batches(task):
        histories, weights = padded_history(task, users, asking)
        for user, history, weight in zip(users.tolist(), histories, weights, strict=True):
            shopper = shopper_of(task, user, lists, (history, weight))
            if texts:
                shopper = replace(shopper, text=texts[user])
            found = _fused(fuse, shopper, task, k)
            ranked[user, : len(found)] = found
        done += len(users)
        progress(done, len(task.user_ids), "fused")
    return ranked


def _fused(fuse: Fuse, shopper: Shopper, task: Task, k: int) -> Keys:
    """Return the best `k` of the items that may be shown."""
    if task.allowed is None:
        return fuse(shopper, k)[:k]
    # A fusion may bring in what the shopper had before and what sells, whoever named it.
    found = fuse(shopper, k + len(np.unique(shopper.past)) + LEADING)
    return found[np.isin(found, task.allowed)][:k]


def shopper_of(
    task: Task, user: int, lists: Mapping[str, Lists], history: tuple[Keys, Floats]
) -> Shopper:
    """Return what is known of one user; `history` (keys, weights) may be padded with 0 [L]."""
    past = history[0] != 0
    mine = slice(task.history.starts[user], task.history.starts[user + 1])
    remembered, age, worth = past_of(task, user)
    seen = np.unique(task.history.keys[mine]) if task.exclude_seen else np.zeros(0, np.int64)
    answers = {}
    for source, found in lists.items():
        named = found.keys[user] != 0
        answers[source] = (found.keys[user][named], found.scores[user][named])
    session, session_weight = session_of(task, user)
    return Shopper(
        history=history[0][past],
        history_weight=history[1][past],
        seen=seen,
        market=task.market[user],
        now=float(task.now[user]) if task.timed else float("nan"),
        answers=answers,
        past=remembered,
        past_age=age,
        past_worth=worth,
        purchased=_purchased(task, mine),
        disliked=disliked_by(task, user),
        session=session,
        session_weight=session_weight,
    )


def disliked_by(task: Task, user: int) -> Keys:
    """Return the items that a user dislikes."""
    if task.disliked is None:
        return np.zeros(0, np.int64)
    return task.disliked.keys[task.disliked.starts[user] : task.disliked.starts[user + 1]]


def session_of(task: Task, user: int) -> tuple[Keys, Floats]:
    """Return a user's current session: keys and weights, oldest first [M] each."""
    if task.session is None or task.session_weight is None:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    mine = slice(task.session.starts[user], task.session.starts[user + 1])
    return task.session.keys[mine], task.session_weight[mine]


def _purchased(task: Task, mine: slice) -> Keys:
    """Return what was bought of a part of the histories, each item once."""
    if task.history_type is None:
        return np.zeros(0, np.int64)
    bought = task.history_type[mine] == TYPE_NUMBERS["purchase"]
    return np.unique(task.history.keys[mine][bought])


def past_of(task: Task, user: int) -> tuple[Keys, Floats, Floats]:
    """Return a user's newest events: keys, days before asking, weight by type [R] each."""
    length = REMEMBERED if task.remembered is None else int(task.remembered[user])
    stop = int(task.history.starts[user + 1])
    start = max(int(task.history.starts[user]), stop - length) if task.timed else stop
    mine = slice(start, stop)
    age = np.maximum(task.now[user] - task.history_time[mine], 0) / 86_400
    return task.history.keys[mine], age.astype(np.float32), task.history_weight[mine]
