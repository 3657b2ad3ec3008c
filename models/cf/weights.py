"""A fitted model in its two forms: item-item weights, and vectors.

The one idea: choosing settings needs nothing of a model but `predict`, and serving
nothing but tables. Whatever a method is, it ends as one of the two forms, and each
form has one graph (graph.py, factor_graph.py).
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import sparse

from models.cf.model import Floats, Inverse, Neighbours, neighbours, predictions


class Fit(Protocol):
    """A model of n items."""

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        """Return scores of all items, float32 [V, n]; histories [V, n] hold strengths."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What is expected of a user and an item before any neighbour speaks."""

    mean: float
    item: Floats  # [n]
    added: Floats  # the same as it is added to scores, which may be scaled [n]
    # The user's own deviation is shrunk as if it had this many items more of none.
    user_shrinkage: float

    def scaled(self, scale: Floats) -> "Baseline":
        """Return the baseline of scores that are multiplied by `scale` [n]."""
        return replace(self, added=(self.item * scale).astype(np.float32))

    def of_users(self, totals: Floats) -> Floats:
        """Return the bias of users whose strengths add up to `totals` [V]."""
        n = len(self.item)
        found: Floats = ((totals - n * self.mean) / (n + self.user_shrinkage)).astype(np.float32)
        return found


class Weights(Protocol):
    """Item-item weights, dense or sparse."""

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        """See Fit."""
        ...

    def strongest(self, scale: Floats, *, keep: int) -> Neighbours:
        """Return the `keep` weights of greatest magnitude that each item speaks with."""
        ...

    @property
    def baseline(self) -> Baseline | None:
        """What weights are relative to; None: they are absolute."""
        ...


class DenseWeights:
    """Weights of a regression, never made as a whole."""

    baseline: Baseline | None = None

    def __init__(self, inverse: Inverse) -> None:
        self._inverse = inverse

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        """See Fit."""
        return predictions(self._inverse, histories)

    def strongest(self, scale: Floats, *, keep: int) -> Neighbours:
        """See Weights."""
        return neighbours(self._inverse, scale, keep=keep)


class SparseWeights:
    """Weights of which only the greater ones were made."""

    def __init__(self, weights: sparse.csr_matrix, baseline: Baseline | None = None) -> None:
        """weights [n, n]: row i is what item i says about others."""
        self.weights = weights
        self.baseline = baseline

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        """See Fit."""
        return against(self.baseline, histories, self.weights)

    def strongest(self, scale: Floats, *, keep: int) -> Neighbours:
        """Return what models.cf.model.neighbours would, without a dense row."""
        weights = self.weights
        n = weights.shape[0]
        speaker = np.repeat(np.arange(n, dtype=np.int64), np.diff(weights.indptr))
        order = np.lexsort((-np.abs(weights.data), speaker))
        rank = np.arange(len(order)) - weights.indptr[speaker]
        near = rank < keep
        speaker, rank, order = speaker[near], rank[near], order[near]
        items, values = np.zeros((n, keep), np.int32), np.zeros((n, keep), np.float32)
        items[speaker, rank] = weights.indices[order]
        values[speaker, rank] = weights.data[order] * scale[weights.indices[order]]
        return Neighbours(items, values)


def against(
    baseline: Baseline | None, histories: sparse.csr_matrix, weights: sparse.csr_matrix
) -> Floats:
    """Return what weights say of histories, those taken relative to the baseline [V, n].

    b_i + sum_j w_ji (r_j - b_j - b_u - mean) (Koren, KDD 2008, equation 3). Left out is
    mean + b_u, the same for all of a user's items; b_i stands where a neighbour speaks.
    """
    if baseline is None:
        return np.asarray((histories @ weights).toarray(), np.float32)
    totals = np.asarray(histories.sum(axis=1), np.float32).ravel()
    expected = (baseline.of_users(totals) + np.float32(baseline.mean)).astype(np.float32)
    relative = histories.tocsr(copy=True)
    per_user = np.repeat(expected, np.diff(relative.indptr))
    relative.data = relative.data - baseline.item[relative.indices] - per_user
    found = np.asarray((relative @ weights).toarray(), np.float32)
    return np.where(found == 0, found, found + baseline.item).astype(np.float32)
