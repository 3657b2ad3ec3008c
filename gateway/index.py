"""Item keys to catalogue rows, for a catalogue that grows.

Two sorted arrays: a large one that is searched often and rebuilt rarely, and a
small one that takes what was added since. Adding costs what the small one
holds, not what the catalogue holds.
"""

import numpy as np

from artifacts.compiled import INTS, ROWS, WRITTEN_ROWS, compiled
from gateway.fusion.types import Ints, Rows

# The small array is merged into the large one beyond this size.
_LARGEST_TAIL = 2_048


class RowIndex:
    """Maps int64 keys to int32 rows; -1 where a key is unknown (0 always is)."""

    def __init__(self, keys: Ints) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._rows = order.astype(np.int32)
        self._tail_keys = np.zeros(0, np.int64)
        self._tail_rows = np.zeros(0, np.int32)

    def add(self, keys: Ints, rows: Rows) -> None:
        """Add keys that are not there yet."""
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(self._tail_keys, keys[order])
        self._tail_keys = np.insert(self._tail_keys, at, keys[order])
        self._tail_rows = np.insert(self._tail_rows, at, rows[order])
        if len(self._tail_keys) > _LARGEST_TAIL:
            at = np.searchsorted(self._keys, self._tail_keys)
            self._keys = np.insert(self._keys, at, self._tail_keys)
            self._rows = np.insert(self._rows, at, self._tail_rows)
            self._tail_keys, self._tail_rows = self._tail_keys[:0], self._tail_rows[:0]

    def rows(self, keys: Ints) -> Rows:
        """Return the row of each key, int32 [len(keys)], -1 where unknown."""
        if not len(keys):
            return np.zeros(0, np.int32)
        wanted = np.ascontiguousarray(keys)
        found = np.full(len(wanted), -1, np.int32)
        _find(self._keys, self._rows, wanted, found)
        if len(self._tail_keys):
            _find(self._tail_keys, self._tail_rows, wanted, found)
        return found


@compiled(INTS, ROWS, INTS, WRITTEN_ROWS)
def _find(have: Ints, rows: Rows, wanted: Ints, found: Rows) -> None:
    """Write the row of each wanted key that is there."""
    for i in range(len(wanted)):
        low, high = 0, len(have)
        while low < high:
            middle = (low + high) // 2
            if have[middle] < wanted[i]:
                low = middle + 1
            else:
                high = middle
        if low < len(have) and have[low] == wanted[i]:
            found[i] = rows[low]
