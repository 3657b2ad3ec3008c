"""Item keys to catalogue rows, for a catalogue that grows.

A table of keys, half empty, in which each key lies at the place its hash names or in
the first free one behind it (linear probing). A request looks up hundreds of keys; here
each costs a memory access or two, whatever the catalogue holds. 24 to 48 bytes an item.
"""

import numpy as np

from artifacts.compiled import INTS, NUMBER, ROWS, WRITTEN_INTS, WRITTEN_ROWS, compiled
from gateway.fusion.types import Ints, Rows

_SMALLEST = 1_024
# 2^64 / the golden ratio, odd: its products spread keys that follow each other (Knuth,
# The Art of Computer Programming 3, 6.4), and the shop's decimal ids are such keys.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class RowIndex:
    """Maps int64 keys to int32 rows; -1 where a key is unknown (0 always is)."""

    def __init__(self, keys: Ints) -> None:
        """Row i is the row of `keys`[i], each key once."""
        self._size = 0
        self._keys, self._rows = _table(_SMALLEST)
        self.add(keys, np.arange(len(keys), dtype=np.int32))

    def add(self, keys: Ints, rows: Rows) -> None:
        """Add keys that are not there yet."""
        self._size += len(keys)
        if 2 * self._size > len(self._keys):
            old_keys, old_rows = self._keys, self._rows
            there = np.flatnonzero(old_keys)
            self._keys, self._rows = _table(1 << (2 * self._size).bit_length())
            _insert(self._keys, self._rows, old_keys[there], old_rows[there])
        _insert(self._keys, self._rows, np.ascontiguousarray(keys), np.ascontiguousarray(rows))

    def rows(self, keys: Ints) -> Rows:
        """Return the row of each key, int32 [len(keys)], -1 where unknown."""
        found: Rows = _find(self._keys, self._rows, np.ascontiguousarray(keys))
        return found


def _table(places: int) -> tuple[Ints, Rows]:
    """Return an empty table; `places` is a power of two, and key 0 marks a free one."""
    return np.zeros(places, np.int64), np.zeros(places, np.int32)


@compiled(INTS, NUMBER)
def _home(keys: Ints, key: int) -> np.int64:
    """Return where the search for a key begins."""
    mixed = np.uint64(key) * _SPREAD
    return np.int64((mixed >> np.uint64(32)) & np.uint64(len(keys) - 1))


@compiled(WRITTEN_INTS, WRITTEN_ROWS, INTS, ROWS)
def _insert(keys: Ints, rows: Rows, new: Ints, new_rows: Rows) -> None:
    last = len(keys) - 1
    for i in range(len(new)):
        at = _home(keys, new[i])
        while keys[at] != 0 and keys[at] != new[i]:
            at = (at + 1) & last
        keys[at], rows[at] = new[i], new_rows[i]


@compiled(INTS, ROWS, INTS)
def _find(keys: Ints, rows: Rows, wanted: Ints) -> Rows:
    last = len(keys) - 1
    found = np.full(len(wanted), -1, np.int32)
    for i in range(len(wanted)):
        if wanted[i] == 0:
            continue
        at = _home(keys, wanted[i])
        while keys[at] != 0:
            if keys[at] == wanted[i]:
                found[i] = rows[at]
                break
            at = (at + 1) & last
    return found
