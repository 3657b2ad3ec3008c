"""Asking an engine about the users of a task, in batches.

Memory stays bounded whatever the number of users: a batch holds a few million
scores at most. Users are asked in order of history length, so that one long
history does not pad everyone's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from artifacts.engine import Engine, Question
from models.evaluate.metrics import Bools, Keys, Ragged
from models.evaluate.task import Floats, Task
from models.progress import Progress, silent

# Users asked at once.
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Asking:
    """How questions are put; the same for every model, as in serving."""

    # Newest events of a user that the models see.
    history_length: int = 200
    # Days after which an event counts half; 0: it never fades. Needs times.
    half_life_days: float = 60.0
    # Least part of its weight that an event keeps.
    weight_floor: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Best items of every user: keys int64 [U, K] 0-padded, scores float32 [U, K] NaN-padded."""

    keys: Keys
    scores: Floats


def rank(
    engine: Engine, task: Task, depth: int, asking: Asking, progress: Progress = silent
) -> Lists:
    """Return each user's best `depth` items by one model.

    Items that may not be shown are asked for on top and removed, so that `depth`
    are left.
    """
    keys = np.zeros((len(task.user_ids), depth), np.int64)
    scores = np.full(keys.shape, np.nan, np.float32)
    seen = seen_counts(task)
    done = 0
    for users in batches(task):
        extra = int(seen[users].max()) if task.exclude_seen else 0
        keys[users], scores[users] = _best(engine, task, users, (depth, extra), asking)
        done += len(users)
        progress(done, len(task.user_ids), engine.manifest.source)
    return Lists(keys, scores)


def _best(
    engine: Engine, task: Task, users: Keys, wanted: tuple[int, int], asking: Asking
) -> tuple[Keys, Floats]:
    """Ask for `wanted` (depth, extra) items; for more while too few of them may be shown."""
    history, weight = padded_history(task, users, asking)
    types, ages = padded_told(task, users, history.shape[1])
    depth = wanted[0]
    ask = sum(wanted)
    while True:
        k = np.full(len(users), ask, np.int64)
        question = Question(
            history=history, history_weight=weight, k=k, history_type=types, history_age=ages
        )
        answer = engine.run(question)
        if answer.item_keys is None:
            raise TypeError(f"{engine.manifest.source}: no item_keys in a retrieve answer")
        hidden = answer.item_keys == 0
        ended = hidden[:, -1] | (hidden.shape[1] < ask)  # there is no more
        if task.exclude_seen:
            hidden |= _seen(task, users, answer.item_keys)
        if task.allowed is not None:
            hidden |= ~np.isin(answer.item_keys, task.allowed)
        if (ended | ((~hidden).sum(axis=1) >= depth)).all():
            return _first(answer.item_keys, answer.scores, hidden, depth)
        ask *= 4


def batches(task: Task) -> Iterator[Keys]:
    """Yield the users in batches, those with histories of like length together."""
    order = np.argsort(task.history.lengths, kind="stable")
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def padded_history(task: Task, users: Keys, asking: Asking) -> tuple[Keys, Floats]:
    """Return the newest events of `users`, left-padded: keys int64 and weights float32 [B, L]."""
    if not len(task.history.keys):
        return np.zeros((len(users), 1), np.int64), np.zeros((len(users), 1), np.float32)
    lengths = np.minimum(task.history.lengths[users], asking.history_length)
    at, present = _newest(task, users, max(int(lengths.max(initial=1)), 1))
    present &= np.arange(at.shape[1] - 1, -1, -1)[None, :] < lengths[:, None]
    keys = np.where(present, task.history.keys[at], 0)
    weight = np.where(present, task.history_weight[at], np.float32(0))
    if task.timed and asking.half_life_days > 0:
        age = np.maximum(task.now[users][:, None] - task.history_time[at], 0) / 86_400
        weight = weight * np.maximum(0.5 ** (age / asking.half_life_days), asking.weight_floor)
    return keys, weight.astype(np.float32)


def padded_told(task: Task, users: Keys, width: int) -> tuple[Keys | None, Floats | None]:
    """Return types int64 and ages in seconds float32 of the newest `width` events [B, width].

    Aligned with padded_history; None where the data do not say.
    """
    if not len(task.history.keys):
        return None, None
    at, present = _newest(task, users, width)
    types = task.history_type
    ages = np.maximum(task.now[users][:, None] - task.history_time[at], 0) * present
    return (
        None if types is None else np.where(present, types[at], 0),
        ages.astype(np.float32) if task.timed else None,
    )


def _newest(task: Task, users: Keys, width: int) -> tuple[Keys, Bools]:
    """Return where the newest events stand, oldest first, and which there are [B, width]."""
    back = np.arange(width - 1, -1, -1)  # how many events lie behind each column
    present = back[None, :] < task.history.lengths[users][:, None]
    at = task.history.starts[users + 1][:, None] - 1 - back[None, :]
    return np.where(present, at, 0), present


def seen_counts(task: Task) -> Keys:
    """Return how many distinct items each user's history holds, int64 [U]."""
    pairs = np.unique(np.stack([task.history.users, task.history.keys]), axis=1)
    return np.bincount(pairs[0], minlength=len(task.user_ids)).astype(np.int64)


def _seen(task: Task, users: Keys, keys: Keys) -> Bools:
    """Say which of keys [B, K] are in the history of their user."""
    starts, lengths = task.history.starts[users], task.history.lengths[users]
    at = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    own = task.history.keys[at + np.arange(len(at))]
    lists = Ragged(own, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    asked = np.repeat(np.arange(len(users)), keys.shape[1])
    return lists.contains(asked, keys.ravel()).reshape(keys.shape)


def _first(keys: Keys, scores: Floats, hidden: Bools, depth: int) -> tuple[Keys, Floats]:
    """Keep the first `depth` entries that are not hidden, in order; pad the rest."""
    keys = np.where(hidden, 0, keys)
    scores = np.where(hidden, np.float32(np.nan), scores)
    order = np.argsort(hidden, axis=1, kind="stable")[:, :depth]
    kept_keys = np.take_along_axis(keys, order, axis=1)
    kept_scores = np.take_along_axis(scores, order, axis=1)
    missing = ((0, 0), (0, depth - kept_keys.shape[1]))
    return np.pad(kept_keys, missing), np.pad(kept_scores, missing, constant_values=np.nan)
