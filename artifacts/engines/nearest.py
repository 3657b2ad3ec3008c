"""Finding the items whose vectors point most where a user's does, without looking at all.

An inverted file: items are sorted into lists of near ones, and a search reads the
few lists whose centres promise most. Two ideas. The lists are no copy: the table
of item vectors is itself in list order, so a list is a slice, the index costs a few
bytes an item, and scores are exact dot products. And centres are compared as if
every item had one more coordinate that makes all items equally long (Bachrach et
al., RecSys 2014): then the nearest are those with the greatest product.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from artifacts.engine import Scores
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import Keys

# float32 [m, d], by row - 1 and in list order; the graph maps it too (models/index.py).
TABLE = "item_vectors.npy"
LISTS = "lists.npz"
# Manifest.engine_parameters: lists read by a search.
PROBES = "probes"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """C lists of m vectors of width d."""

    starts: Ints  # list c holds rows starts[c] + 1 .. starts[c + 1], int64 [C + 1]
    centres: Scores  # mean vector of each list [C, d]
    # How much less than its product each centre promises a unit vector, float32 [C]: the
    # squared length of its mean, added coordinate and all, over four times the longest item's.
    reserve: Scores


class NearestSearch:
    """Searches one table; safe to call from several threads."""

    def __init__(self, table: Scores, lists: Lists, probes: int) -> None:
        """`table` [m, d] in list order; more `probes`: more of the best found, more time."""
        self._table = table
        self._starts = lists.starts
        self._bounds: list[int] = lists.starts.tolist()
        self._centres = np.ascontiguousarray(lists.centres.T)
        self._reserve = lists.reserve
        self._probes = min(max(1, probes), len(lists.centres))

    @classmethod
    def open(cls, directory: Path, probes: int) -> "NearestSearch":
        """Map the table and read the lists; raises ArtifactCorrupt naming the file."""
        try:
            table: Scores = np.load(directory / TABLE, mmap_mode="r", allow_pickle=False)
            with np.load(directory / LISTS, allow_pickle=False) as stored:
                lists = Lists(stored["starts"], stored["centres"], stored["reserve"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArtifactCorrupt(
                f"{directory}: {TABLE} or {LISTS} cannot be read ({type(error).__name__}: "
                f"{error}); copy or train the version anew"
            ) from None
        shapes = (lists.centres.shape[1:], lists.reserve.shape, int(lists.starts[-1]))
        if shapes != (table.shape[1:], lists.centres.shape[:1], len(table)):
            raise ArtifactCorrupt(
                f"{directory / LISTS}: {len(lists.centres)} lists of {int(lists.starts[-1])} "
                f"vectors do not fit {TABLE}, {table.shape}; train the version anew"
            )
        return cls(table, lists, probes)

    def search(self, vectors: Scores, k: int) -> tuple[Keys, Scores]:
        """Return the best rows int64 [B, k] of each vector [B, d] and their products.

        Best first; 0 and -inf behind the last, where the lists read hold fewer than k, and
        for a vector of zeros.
        """
        rows = np.zeros((len(vectors), k), np.int64)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        if not k:
            return rows, scores
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        promise = vectors @ self._centres - length * self._reserve  # [B, C]
        last = promise.shape[1] - self._probes
        chosen = np.argpartition(promise, last, axis=1)[:, last:] if last else None
        everything = np.arange(promise.shape[1])
        for at in np.flatnonzero(length).tolist():
            vector = vectors[at]
            lists = everything if chosen is None else chosen[at]
            found, values = self._within(vector, lists, k)
            rows[at, : len(found)], scores[at, : len(found)] = found, values
        return rows, scores

    def _within(self, vector: Scores, lists: Ints, k: int) -> tuple[Keys, Scores]:
        """Return the best k rows of some lists, best first."""
        firsts = self._starts[lists]
        ends = np.cumsum(self._starts[lists + 1] - firsts)
        values = np.empty(int(ends[-1]), np.float32)
        begin = 0
        for number, end in zip(lists.tolist(), ends.tolist(), strict=True):
            part = self._table[self._bounds[number] : self._bounds[number + 1]]
            np.dot(part, vector, out=values[begin:end])
            begin = end
        k = min(k, len(values))
        best = np.argpartition(values, len(values) - k)[len(values) - k :] if k else firsts[:0]
        best = best[np.argsort(-values[best], kind="stable")]
        of = np.searchsorted(ends, best, side="right")
        return best - ends[of] + self._starts[lists[of] + 1] + 1, values[best]
