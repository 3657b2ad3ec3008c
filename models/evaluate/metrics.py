"""Ranking metrics over all users at once.

Definitions are the field's usual ones, per user and then averaged. The one idea:
a ranking is compared with the targets once (`places`); every metric, and every
slice of the targets, is arithmetic on that comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

# What `of_hits` returns at each k.
ACCURACY = ("recall", "precision", "f1", "ndcg", "mrr", "hit")


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One list of item keys per user, end to end: user u has keys[starts[u] : starts[u + 1]]."""

    keys: Keys  # [N]
    starts: Keys  # [U + 1]

    @property
    def lengths(self) -> Keys:
        """How many keys each user has, int64 [U]."""
        return np.diff(self.starts)

    @property
    def users(self) -> Keys:
        """The user of each key, int64 [N]."""
        return np.repeat(np.arange(len(self.starts) - 1), self.lengths)

    def find(self, users: Keys, keys: Keys) -> Keys:
        """Return for pairs (users[i], keys[i]) where in `self.keys` they stand, -1 if not."""
        vocabulary = np.unique(self.keys)
        if not len(vocabulary):
            return np.full(len(keys), -1, np.int64)
        size = len(vocabulary)
        own, first = np.unique(
            self.users * size + np.searchsorted(vocabulary, self.keys), return_index=True
        )
        at = np.minimum(np.searchsorted(vocabulary, keys), size - 1)
        pairs = users * size + at
        place = np.minimum(np.searchsorted(own, pairs), len(own) - 1)
        found = (vocabulary[at] == keys) & (own[place] == pairs)
        return np.where(found, first[place], -1).astype(np.int64)

    def contains(self, users: Keys, keys: Keys) -> Bools:
        """Say for pairs (users[i], keys[i]) whether the key is in the user's list."""
        found: Bools = self.find(users, keys) >= 0
        return found


def places(ranked: Keys, targets: Ragged) -> Keys:
    """Return which target each ranked key is, as an index into targets.keys, -1 if none.

    ranked int64 [U, K], 0 pads -> int64 [U, K].
    """
    users = np.repeat(np.arange(len(ranked)), ranked.shape[1])
    found = targets.find(users, ranked.ravel()).reshape(ranked.shape)
    return np.where(ranked != 0, found, -1)


def of_hits(hit: Bools, wanted: Keys, ks: Sequence[int]) -> dict[str, Doubles]:
    """Return each metric for each user, float64 [U], from which places were hits [U, K].

    `wanted` [U] is how many targets each user has, at least one; K >= max(ks).
    NDCG is binary with the ideal cut at k, MRR the reciprocal place of the first
    hit among k, hit whether there is one.
    """
    gains = hit.astype(np.float64)
    discount = 1 / np.log2(np.arange(2, hit.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    first = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    found: dict[str, Doubles] = {}
    for k in ks:
        count = gains[:, :k].sum(axis=1)
        found[f"recall@{k}"] = count / wanted
        found[f"precision@{k}"] = count / k
        # 2PR / (P + R) with P = count / k and R = count / wanted.
        found[f"f1@{k}"] = 2 * count / (k + wanted)
        found[f"ndcg@{k}"] = gains[:, :k] @ discount[:k] / ideal[np.minimum(wanted, k)]
        found[f"mrr@{k}"] = np.where(first <= k, 1 / first, 0.0)
        found[f"hit@{k}"] = (first <= k).astype(np.float64)
    return found


def per_user(ranked: Keys, targets: Ragged, ks: Sequence[int]) -> dict[str, Doubles]:
    """Return each metric for each user, float64 [U]; every user must have a target.

    `ranked` int64 [U, K], best first, 0-padded, no key twice; a K below max(ks)
    counts as padded.
    """
    missing = max(0, max(ks) - ranked.shape[1])
    ranked = np.pad(ranked, ((0, 0), (0, missing)))
    return of_hits(places(ranked, targets) >= 0, targets.lengths, ks)


def summarise(
    ranked: Keys, targets: Ragged, ks: Sequence[int], catalogue_size: int
) -> dict[str, float]:
    """Return the means over users, and coverage@k: the share of the catalogue shown at all."""
    means = {name: float(values.mean()) for name, values in per_user(ranked, targets, ks).items()}
    for k in ks:
        shown = np.unique(ranked[:, :k])
        means[f"coverage@{k}"] = int((shown != 0).sum()) / max(catalogue_size, 1)
    return means
