"""Neighbourhoods: an item is predicted from the items most like it that a user had.

The classical formula (Koren, KDD 2008, equation 3; Cremonesi et al., RecSys 2010) on
what was taken, with 0 for what was not:

    r_ui = mean + b_u + b_i + sum_j s_ij (r_uj - mean - b_u - b_j) / (sum_j s_ij)^q

The one idea: the sum that normalises runs over all of an item's neighbours, had or
not. What a user lacks is a 0 here, not a rating unknown, and so the divisor belongs to
the item and the whole formula is a table of weights.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.cf.local import companions
from models.cf.model import Floats
from models.cf.weights import Baseline, SparseWeights
from models.progress import Progress, silent

# Users and items count as if they had this many zeros more, when biases are taken.
_BIAS_SHRINKAGE = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class Similar:
    """The nearest items of each, nearest first."""

    items: sparse.csr_matrix  # [n, n]: row i holds the similarities s_ij, of `most` items j
    baseline: Baseline


def similar(
    x: sparse.csr_matrix, *, most: int, shrinkage: float, progress: Progress = silent
) -> Similar:
    """Return similarities of x [U, n]: cosines, shrunk where few had both."""
    found = companions(x, most=most, progress=progress)
    n, kept = found.items.shape
    real = found.items < n
    row, column = np.repeat(np.arange(n), kept)[real.ravel()], found.items[real]
    counts = found.counts[real]
    length = np.sqrt(found.own[row] * found.own[column]) + np.float32(shrinkage)
    items = sparse.csr_matrix(((counts / length).astype(np.float32), (row, column)), (n, n))
    return Similar(items, biases(x))


def biases(x: sparse.csr_matrix) -> Baseline:
    """Return the mean of all cells of x [U, n], absent ones as 0, and the items' deviations."""
    users, n = x.shape
    mean = float(x.sum()) / (users * n)
    column = np.asarray(x.sum(axis=0)).ravel()
    item: Floats = ((column - users * mean) / (users + _BIAS_SHRINKAGE)).astype(np.float32)
    return Baseline(mean, item, item, _BIAS_SHRINKAGE)


def neighbourhoods(found: Similar, *, most: int, normalisation: float) -> SparseWeights:
    """Return the weights of each item's `most` nearest, normalised to the power given."""
    n = found.items.shape[0]
    target = np.repeat(np.arange(n), np.diff(found.items.indptr))
    order = np.lexsort((-found.items.data, target))
    near = np.arange(len(order)) - found.items.indptr[target] < most
    target, order = target[near], order[near]
    value, speaker = found.items.data[order], found.items.indices[order]
    sums = np.maximum(np.bincount(target, value, n), 1e-12)
    weight = (value / sums[target] ** normalisation).astype(np.float32)
    return SparseWeights(sparse.csr_matrix((weight, (speaker, target)), (n, n)), found.baseline)
