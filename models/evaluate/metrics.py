"""Ranking metrics over all users at once.

Definitions are the field's usual ones, per user and then averaged: recall is
hits over all of the user's targets, NDCG is binary with the ideal cut at k, MRR
looks for the first hit among the places ranked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


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

    def contains(self, users: Keys, keys: Keys) -> Bools:
        """Say for pairs (users[i], keys[i]) whether the key is in the user's list."""
        vocabulary = np.unique(self.keys)
        if not len(vocabulary):
            return np.zeros(len(keys), np.bool_)
        size = len(vocabulary)
        own = np.unique(self.users * size + np.searchsorted(vocabulary, self.keys))
        at = np.minimum(np.searchsorted(vocabulary, keys), size - 1)
        pairs = users * size + at
        place = np.minimum(np.searchsorted(own, pairs), len(own) - 1)
        found: Bools = (vocabulary[at] == keys) & (own[place] == pairs)
        return found


def hits(ranked: Keys, targets: Ragged) -> Bools:
    """Say which ranked keys are targets; ranked int64 [U, K], 0 pads -> bool [U, K]."""
    users = np.repeat(np.arange(len(ranked)), ranked.shape[1])
    found: Bools = targets.contains(users, ranked.ravel()) & (ranked.ravel() != 0)
    return found.reshape(ranked.shape)


def per_user(ranked: Keys, targets: Ragged, ks: Sequence[int]) -> dict[str, Doubles]:
    """Return each metric for each user, float64 [U]; every user must have a target.

    `ranked` int64 [U, K], K >= max(ks), best first, 0-padded, no key twice.
    """
    hit = hits(ranked, targets).astype(np.float64)
    wanted = targets.lengths.astype(np.float64)
    discount = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found: dict[str, Doubles] = {}
    for k in ks:
        count = hit[:, :k].sum(axis=1)
        best = ideal[np.minimum(targets.lengths, k)]
        found[f"recall@{k}"] = count / wanted
        found[f"ndcg@{k}"] = hit[:, :k] @ discount[:k] / best
        found[f"precision@{k}"] = count / k
        # 2PR / (P + R) with P = count / k and R = count / wanted.
        found[f"f1@{k}"] = 2 * count / (k + wanted)
    first = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    found["mrr"] = 1 / first
    return found


def summarise(
    ranked: Keys, targets: Ragged, ks: Sequence[int], catalogue_size: int
) -> dict[str, float]:
    """Return the means over users, and coverage@k: the share of the catalogue shown at all."""
    means = {name: float(values.mean()) for name, values in per_user(ranked, targets, ks).items()}
    for k in ks:
        shown = np.unique(ranked[:, :k])
        means[f"coverage@{k}"] = int((shown != 0).sum()) / max(catalogue_size, 1)
    return means
