"""Whether the order of events tells what comes next: counted, before anything is trained.

The one idea: what followed what, counted, is a recommender in seconds. One that looks at the
newest event and what soon came after such, and one that looks at the last twenty and all that came
later, are asked about held-out events. Where the first foresees more, the model should
learn what comes soon; where people buy what they like in any order, what comes at all.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from artifacts.engine import Answer, Question
from artifacts.keys import KeyIndex, Keys
from models.data.interactions import Interactions
from models.evaluate.task import Task
from models.sequence.prepare import Rows, distances, moments
from models.validation import measure
from plait.v1.manifest_pb2 import Manifest

# By how much likelier near events are targets where order tells: the third event comes up a
# fifth as often as the next.
NEAR = 1.5
# Events whose followers are counted, and how many of each.
_PLACES, _FOLLOWERS = 100_000, 10
# Events of a history that say what people like.
_NEWEST = 20


def nearness(
    data: Interactions, judges: tuple[Task, Task], horizon: int, *, items: int, seed: int
) -> float:
    """Return the power by which near events should be drawn as targets: NEAR, or 0 for none.

    `judges` hold nothing that `data` does; `items` is the size of the catalogue.
    """
    if horizon == 1:
        return 0.0
    found = []
    for power, newest in ((0.0, _NEWEST), (NEAR, 1)):
        counted = _Counted(_followers(data, horizon, power, seed), data.item_keys, newest)
        found.append(worth(measure(counted, judges, items)))
    return NEAR if found[1] > found[0] else 0.0


def worth(metrics: dict[str, float]) -> float:
    """Return what settings are chosen by: NDCG on new items and on next ones."""
    return metrics.get("ndcg@10", 0.0) + metrics.get("ndcg_next@10", 0.0)


def _followers(data: Interactions, horizon: int, power: float, seed: int) -> sparse.csr_matrix:
    """Count what came within `horizon` events after the end of a moment, [n, n]."""
    random = np.random.default_rng(seed)
    ends = (np.diff(data.user) == 0) & (np.diff(moments(data)) != 0)
    place: Rows = np.flatnonzero(ends)
    if len(place) > _PLACES:
        place = np.sort(random.choice(place, _PLACES, replace=False))
    left = np.minimum(data.starts[data.user[place] + 1] - 1 - place, horizon)
    ahead = distances(np.repeat(left[:, None], _FOLLOWERS, axis=1), power, random)
    after = data.row[place[:, None] + ahead].ravel() - 1
    before = np.repeat(data.row[place] - 1, _FOLLOWERS)
    size = len(data.item_keys)
    counts = (np.ones(len(after), np.float32), (before, after))
    return sparse.csr_matrix(counts, shape=(size, size))


class _Counted:
    """Ranks what followed the newest events of a history; speaks as an Engine does."""

    def __init__(self, followers: sparse.csr_matrix, keys: Keys, newest: int) -> None:
        self.manifest = Manifest(source="sequence", engine="counted")
        self._followers = followers
        self._index = KeyIndex(keys)
        self._newest = newest

    def run(self, question: Question) -> Answer:
        """Answer retrieve questions."""
        if question.k is None:
            raise ValueError("counts answer retrieve questions only")
        rows = self._index.rows(question.history)[:, -self._newest :]
        user, _ = np.nonzero(rows)
        told = (np.ones(len(user), np.float32), (user, rows[rows > 0] - 1))
        known = sparse.csr_matrix(told, shape=(len(rows), len(self._index)))
        scores = (known @ self._followers).tocsr()
        best = np.zeros((len(rows), int(question.k.max())), np.int64)
        values = np.full(best.shape, np.nan, np.float32)
        for at, (start, stop) in enumerate(zip(scores.indptr, scores.indptr[1:], strict=False)):
            self._first(scores, slice(int(start), int(stop)), best[at], values[at])
        return Answer(scores=values, item_keys=best)

    def _first(
        self,
        scores: sparse.csr_matrix,
        part: slice,
        best: Keys,
        values: npt.NDArray[np.float32],
    ) -> None:
        order = np.argsort(-scores.data[part], kind="stable")[: len(best)]
        best[: len(order)] = self._index.keys_by_row[scores.indices[part][order] + 1]
        values[: len(order)] = scores.data[part][order]
