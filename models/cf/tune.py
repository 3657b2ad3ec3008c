"""Choosing the settings of a method on held-out events.

The one idea: its own settings, recency and popularity are judged by new items, because
whether bought items come first hides everything else; only the weight of buying
again is judged by what really came next. Where hardly anybody wants anything new, that judges
all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from artifacts.keys import KeyIndex
from models.cf.config import HALF_LIFE_DAYS
from models.cf.methods import Setting
from models.cf.model import Floats
from models.cf.prepare import history_matrix
from models.cf.weights import Fit
from models.evaluate.metrics import Ragged
from models.evaluate.ranking import Asking
from models.evaluate.task import Task
from models.progress import Progress

# Exponents of the place from the end; 0 gives every event its own weight alone.
RECENCY = (0.0, 0.5, 1.0)
# Scores are divided by the item's popularity to this power.
# None suits a steady range; much of it one whose newest or rarest items are wanted most.
DISCOUNTS = (0.0, 0.2, 0.4, 0.6)
# What having an item says about wanting it again.
REPEATS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# So many users who want something new say enough; else half of all who are asked.
_ENOUGH = 50
_K = 10
# Users whose scores over all items are in memory at once.
_BATCH = 512


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings found best; the defaults where there is nothing to judge by."""

    setting: Setting = field(default_factory=dict)
    recency_exponent: float = 0.0
    popularity_discount: float = 0.0
    repeat_weight: float = 0.0
    # Of events in training; 0: they keep their weight.
    half_life_days: float = HALF_LIFE_DAYS
    # NDCG@10 that the model as fitted (not its strongest weights) reached, on new and next items.
    new_ndcg: float = 0.0
    next_ndcg: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """Users to judge by, as matrices [V, n]."""

    histories: dict[float, sparse.csr_matrix]  # by recency exponent
    seen: sparse.csr_matrix
    new: sparse.csr_matrix  # targets the user never had
    following: sparse.csr_matrix  # all targets

    @property
    def by_new(self) -> bool:
        """Whether enough users want something new to judge by."""
        new = _asked(self.new)
        return new >= _ENOUGH or 2 * new >= max(_asked(self.following), 1)


def popularity_scale(x: sparse.csr_matrix, discount: float) -> Floats:
    """Return popularity^-discount, 1 for the item of the average event, float32 [n]."""
    users = np.maximum(np.bincount(x.indices, minlength=x.shape[1]), 1.0)
    average = float((users * users).sum() / users.sum())
    scale: Floats = ((users / average) ** -discount).astype(np.float32)
    return scale


def judges(
    task: Task, index: KeyIndex, asking: Asking, *, exponents: tuple[float, ...] = RECENCY
) -> Judges:
    """Build the matrices from a task that does not exclude what was seen.

    `exponents` of recency are tried; 0 alone where the order of events means nothing.
    """
    seen, targets = _binary(task.history, index), _binary(task.targets, index)
    histories = {
        e: history_matrix(task, index, asking, recency_exponent=e)
        for e in (exponents if task.history.starts[-1] else (0.0,))
    }
    new = sparse.csr_matrix(targets - targets.multiply(seen))
    new.eliminate_zeros()
    return Judges(histories, seen, new, targets)


def tune(
    fit: Callable[[Setting], Fit],
    settings: tuple[Setting, ...],
    x: sparse.csr_matrix,
    judged: Judges,
    progress: Progress,
) -> tuple[Choice, Fit]:
    """Return the best settings for X [U, n], and the model they make of it.

    Recency is chosen at the middle setting, which is tried first, and kept for the
    others: the two hardly depend on each other.
    """
    middle = len(settings) // 2
    ordered = [settings[middle], *settings[:middle], *settings[middle + 1 :]]
    exponents = tuple(judged.histories)
    best = Choice(ordered[0])
    kept: Fit | None = None
    for step, setting in enumerate(ordered):
        progress(step, len(ordered), ", ".join(f"{n} {v:g}" for n, v in setting.items()))
        fitted = fit(setting)
        found = _best_of(fitted, x, judged, Choice(setting), exponents)
        if kept is None or found.new_ndcg > best.new_ndcg:
            best, kept = found, fitted
        exponents = (best.recency_exponent,)
    assert kept is not None  # noqa: S101 -- there is at least one setting
    progress(len(ordered), len(ordered), "buying again")
    return _with_repeats(kept, x, judged, best), kept


def _best_of(
    fitted: Fit,
    x: sparse.csr_matrix,
    judged: Judges,
    best: Choice,
    exponents: tuple[float, ...],
) -> Choice:
    targets = judged.new if judged.by_new else judged.following
    scales = [popularity_scale(x, discount) for discount in DISCOUNTS]
    for exponent in exponents:
        histories = judged.histories[exponent]
        totals = np.zeros((len(DISCOUNTS), 1 if judged.by_new else len(REPEATS)))
        for users in _batches(targets):
            scores = fitted.predict(histories[users])
            if judged.by_new:
                scores[judged.seen[users].nonzero()] = -np.inf
            for at, scale in enumerate(scales):
                scaled = scores * scale
                ways = [scaled] if judged.by_new else _repeated(scaled, histories[users])
                totals[at] += [_ndcg(way, targets[users]).sum() for way in ways]
        means = totals.max(axis=1) / max(_asked(targets), 1)
        at = int(np.argmax(means))
        if means[at] > best.new_ndcg:
            best = replace(
                best,
                recency_exponent=exponent,
                popularity_discount=DISCOUNTS[at],
                new_ndcg=float(means[at]),
            )
    return best


def _with_repeats(fitted: Fit, x: sparse.csr_matrix, judged: Judges, choice: Choice) -> Choice:
    histories = judged.histories[choice.recency_exponent]
    scale = popularity_scale(x, choice.popularity_discount)
    totals = np.zeros(len(REPEATS))
    for users in _batches(judged.following):
        scores = fitted.predict(histories[users]) * scale
        for at, mixed in enumerate(_repeated(scores, histories[users])):
            totals[at] += _ndcg(mixed, judged.following[users]).sum()
    at = int(np.argmax(totals))
    found = float(totals[at]) / max(_asked(judged.following), 1)
    return replace(choice, repeat_weight=REPEATS[at], next_ndcg=found)


def _repeated(scores: Floats, histories: sparse.csr_matrix) -> Iterator[Floats]:
    """Yield scores with each weight of buying again."""
    own = histories.toarray()
    for repeat in REPEATS:
        yield np.add(scores, np.float32(repeat) * own, dtype=np.float32)


def _batches(targets: sparse.csr_matrix) -> list[npt.NDArray[np.int64]]:
    users = np.flatnonzero(np.diff(targets.indptr))
    return [users[at : at + _BATCH] for at in range(0, len(users), _BATCH)]


def _asked(targets: sparse.csr_matrix) -> int:
    return int(np.count_nonzero(np.diff(targets.indptr)))


def _ndcg(scores: Floats, targets: sparse.csr_matrix) -> npt.NDArray[np.float64]:
    """Return NDCG@10 of each row, float64 [V]; every row of `targets` has an entry."""
    k = min(_K, scores.shape[1])
    best = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    rows = np.repeat(np.arange(len(scores)), k)
    hit = np.asarray(targets[rows, best.ravel()]).reshape(len(scores), k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    wanted = np.minimum(np.diff(targets.indptr), k)
    found: npt.NDArray[np.float64] = (hit @ discount) / np.cumsum(discount)[wanted - 1]
    return found


def _binary(lists: Ragged, index: KeyIndex) -> sparse.csr_matrix:
    rows = index.rows(lists.keys)
    known = rows != 0
    at = (lists.users[known], rows[known] - 1)
    shape = (len(lists.lengths), len(index))
    found = sparse.csr_matrix((np.ones(int(known.sum()), np.float32), at), shape)
    found.sum_duplicates()
    found.data[:] = 1
    return found
