"""Item-item weights for catalogues whose n x n regression cannot be made.

Every item is predicted from the items that are bought with it most, by the same
ridge regression as in models/cf/model.py, restricted to them (feature selection for
SLIM: Ning & Karypis, ICDM 2011; the closed form: Steck, WWW 2019):

    w_j = (G_SS + lambda I)^-1 g_Sj,   S = the companions of j,   G = X'X

The one idea: G is only ever kept as each item's nearest companions, so memory is
n x companions and time n small solves, a million items in minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.cf.model import Floats, Indices
from models.cf.weights import SparseWeights
from models.progress import Progress, silent

# Companions kept of each item. G between two of them counts where either names the other;
# more are more exact and take 8 bytes each.
MOST = 128
# Companions in a regression. With more, what is missing of G outweighs what they add.
FEATURES = 32
# Entries of G that are in memory at once.
_ENTRIES = 20_000_000
# Regressions solved in one call.
_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Companions:
    """The items met most with each item, nearest first, and how often: G, cut."""

    items: Indices  # int32 [n, M]; n where an item has fewer
    counts: Floats  # entries of G [n, M], 0 where an item has fewer
    own: Floats  # the diagonal of G [n]


def companions(
    x: sparse.csr_matrix, *, most: int = MOST, progress: Progress = silent
) -> Companions:
    """Return the `most` items of greatest cosine with each item; x is [U, n]."""
    n = x.shape[1]
    most = max(1, min(most, n - 1))
    rows = x.T.tocsr()
    own: Floats = np.asarray(x.multiply(x).sum(axis=0), np.float32).ravel()
    length = np.sqrt(np.maximum(own, 1e-12))
    items, counts = np.full((n, most), n, np.int32), np.zeros((n, most), np.float32)
    for start, stop in _blocks(x):
        gram = (rows[start:stop] @ x).tocsr()
        for row in range(start, stop):
            entries = slice(gram.indptr[row - start], gram.indptr[row - start + 1])
            met, count = gram.indices[entries], gram.data[entries]
            near = count / length[met]
            near[met == row] = 0
            kept = np.flatnonzero(near > 0)
            if len(kept) > most:
                kept = np.argpartition(-near, most - 1)[:most]
            kept = kept[np.argsort(-near[kept], kind="stable")]
            items[row, : len(kept)], counts[row, : len(kept)] = met[kept], count[kept]
        progress(stop, n, "items bought together")
    return Companions(items, counts, own)


def local_weights(
    found: Companions,
    regularisation: float,
    *,
    features: int = FEATURES,
    progress: Progress = silent,
) -> SparseWeights:
    """Return the weights of every item's regression on its `features` nearest companions."""
    n = len(found.own)
    features = min(features, found.items.shape[1])
    weights = np.zeros((n, features), np.float32)
    place = np.full(n + 1, -1, np.int32)
    own = np.append(found.own, np.float32(1))
    diagonal = np.arange(features)
    for start in range(0, n, _BATCH):
        stop = min(start + _BATCH, n)
        chosen = found.items[start:stop, :features]
        gram = np.zeros((stop - start, features, features), np.float32)
        for at in range(stop - start):
            _fill(gram[at], found, chosen[at], place)
        # An empty place has no counts, so its weight is 0.
        gram[:, diagonal, diagonal] = own[chosen] + np.float32(regularisation)
        wanted = found.counts[start:stop, :features, None]
        weights[start:stop] = np.linalg.solve(gram, wanted)[:, :, 0]
        progress(stop, n, "regressions")
    speaker, target = found.items[:, :features].ravel(), np.repeat(np.arange(n), features)
    real = speaker < n
    where = (speaker[real], target[real])
    return SparseWeights(sparse.csr_matrix((weights.ravel()[real], where), (n, n)))


def _fill(gram: Floats, found: Companions, chosen: Indices, place: Indices) -> None:
    """Write G between the chosen items into `gram` [m, m]; what neither's list holds stays 0.

    `place` is scratch: -1 everywhere before and after, n + 1 long.
    """
    n = len(found.own)
    there = chosen < n
    place[chosen[there]] = np.flatnonzero(there)
    rows = np.where(there, chosen, 0)
    at = place[found.items[rows]]  # [m, M]
    at[~there] = -1
    row, column = np.nonzero(at >= 0)
    other = at[row, column]
    counts = found.counts[rows[row], column]
    gram[row, other] = counts
    gram[other, row] = counts
    place[chosen[there]] = -1


def _blocks(x: sparse.csr_matrix) -> Iterator[tuple[int, int]]:
    """Yield ranges of items whose rows of G have at most about `_ENTRIES` entries."""
    lengths = np.diff(x.indptr).astype(np.float64)
    met = sparse.csr_matrix((np.ones_like(x.data), x.indices, x.indptr), x.shape)
    work = np.cumsum(met.T @ lengths)
    start = 0
    while start < x.shape[1]:
        done = work[start - 1] if start else 0.0
        stop = int(np.searchsorted(work, done + _ENTRIES, side="right"))
        stop = max(stop, start + 1)
        yield start, min(stop, x.shape[1])
        start = stop
