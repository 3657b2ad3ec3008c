"""Which rows share a vector: products have texts in common, and one search serves them all."""

from pathlib import Path

import numpy as np

from artifacts.engine import Scores
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import Keys

# Which distinct vector (from 0, in the order of the table) each row has, int32 [n].
WHERE = "where.npy"


class Distinct:
    """The rows of each distinct vector."""

    def __init__(self, path: Path, size: int) -> None:
        """Read which vector each of `size` rows has; raises ArtifactCorrupt."""
        try:
            where = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactCorrupt(f"{path}: cannot be read ({error})") from None
        if where.shape != (size,):
            raise ArtifactCorrupt(f"{path}: {where.shape} for {size} items; train the version anew")
        # The rows of each vector stand together.
        self._rows = np.argsort(where, kind="stable").astype(np.int64) + 1
        self._sizes = np.bincount(where)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def __len__(self) -> int:
        """Return how many distinct vectors there are."""
        return len(self._sizes)

    def rows(self, found: Keys, cosines: Scores, k: int) -> tuple[Keys, Scores]:
        """Return the best k rows of each question and their scores [B, k], 0 and -inf behind them.

        `found` names distinct vectors from 1, best first, int64 [B, K], 0 for none; `cosines`
        float32 [B, K] are theirs. The best k vectors have the best k rows, or all there are.
        """
        rows = np.zeros((len(found), k), np.int64)
        scores = np.full((len(found), k), -np.inf, np.float32)
        for at in range(len(found)):
            distinct = found[at][found[at] > 0] - 1
            ends = np.cumsum(self._sizes[distinct])
            # A text of thousands of items is no reason to write them all out.
            used = int(np.searchsorted(ends, k)) + 1
            distinct, ends = distinct[:used], ends[:used]
            sizes, firsts = self._sizes[distinct], self._starts[distinct]
            each = np.repeat(firsts + sizes - ends, sizes) + np.arange(sizes.sum())
            many = min(k, len(each))
            rows[at, :many] = self._rows[each[:many]]
            scores[at, :many] = np.repeat(cosines[at, : len(distinct)], sizes)[:many]
        return rows, scores
