"""Finding the items whose vectors point most where a user's does, by a rough look at all.

Scoring every item for one user is bound by memory: each number of the table is read for
one product. In 8 bits the table is a quarter, whole numbers multiply several times as
fast, and what is lost is rounding, whose spread is known. So the items that could be
among the best are known too, and only these are scored from the table itself. The
answer is that of exact scoring: an item is missed where its error and that of the k-th
lie six times their spread apart.

The graph `scan.onnx` is one product: codes UINT8 [B, d] -> products INT32 [B, m].
"""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from artifacts.compiled import (
    FLOATS,
    INT_TABLE,
    NUMBER,
    REAL,
    ROWS,
    TABLE,
    WRITTEN,
    WRITTEN_CODES,
    WRITTEN_INTS,
    WRITTEN_KEYS,
    WRITTEN_ROWS,
    WRITTEN_TABLE,
    compiled,
)
from artifacts.engine import Scores
from artifacts.engines.nearest import TABLE as VECTORS
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import Keys
from artifacts.session import open_session

Int32s = npt.NDArray[np.int32]
SCAN = "scan.onnx"
BALANCE = "scan.npz"
CODES_IN, PRODUCTS_OUT = "codes", "products"
# Codes of users are within 63 of this: processors without instructions for 8-bit products
# add two of them in 16 bits, and 2 * 127 * 127 is as much as fits.
ZERO = 64
STEPS = 63
# Items' own codes are within this.
ITEM_STEPS = 127
# An item is looked at again where rounding by so many standard deviations would make it one
# of the best.
_SIGMAS = 6.0
# Users at once, and products: what is chosen from is still in the cache.
_USERS, _PRODUCTS = 16, 4_000_000
# Items of which only the greatest counts at first.
_STRIP = 32


class ScanSearch:
    """Searches one table. One thread at a time: it keeps scratch arrays."""

    def __init__(self, directory: Path) -> None:
        """Open the graph and map the table; raises ArtifactCorrupt naming the file."""
        try:
            table: Scores = np.load(directory / VECTORS, mmap_mode="r", allow_pickle=False)
            with np.load(directory / BALANCE, allow_pickle=False) as stored:
                balance: Scores = stored["balance"]
                reach = float(stored["reach"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArtifactCorrupt(
                f"{directory}: {VECTORS} or {BALANCE} cannot be read ({type(error).__name__}: "
                f"{error}); copy or train the version anew"
            ) from None
        # Only the CPU's kernels know how to multiply whole numbers.
        self._session = open_session(directory / SCAN, providers=())
        (products,) = self._session.get_outputs()
        if table.ndim != 2 or (table.shape[1:], products.shape[1]) != (balance.shape, len(table)):
            raise ArtifactCorrupt(
                f"{directory / SCAN}: {products.shape[1]} items, but {VECTORS} has "
                f"{table.shape} and {BALANCE} {balance.shape}; train the version anew"
            )
        self._table: Scores = np.asarray(table)  # a plain array over the same memory
        self._balance = balance
        self._reach = reach
        self._users = max(1, min(_USERS, _PRODUCTS // max(len(table), 1)))
        self._found, self._scratch = np.empty((2, len(table)), np.int32)
        self._exact = np.empty(len(table), np.float32)
        self._order = np.empty(len(table), np.int64)

    def search(self, vectors: Scores, k: int) -> tuple[Keys, Scores]:
        """Return the best rows int64 [B, k] of each vector [B, d] and their products.

        Best first, of equals the first row; 0 and -inf behind the last, and for a vector
        of zeros.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        rows = np.zeros((len(vectors), k), np.int64)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        for start in range(0, len(vectors) if k else 0, self._users):
            some = slice(start, start + self._users)
            codes, margins = self.codes(vectors[some])
            (products,) = self._session.run([PRODUCTS_OUT], {CODES_IN: codes})
            kept = self._found, self._scratch, self._exact, self._order
            _best(products, self._table, vectors[some], margins, rows[some], scores[some], *kept)
        return rows, scores

    def codes(self, vectors: Scores) -> tuple[npt.NDArray[np.uint8], Int32s]:
        """Return users' codes uint8 [B, d], and how far two of their products may lie apart.

        int32 [B]: products further apart than this have the order of the scores; -1 where
        a vector is all zeros.
        """
        codes = np.empty(vectors.shape, np.uint8)
        margins = np.empty(len(vectors), np.int32)
        _coded(vectors, self._balance, self._reach, codes, margins)
        return codes, margins


@compiled(TABLE, FLOATS, REAL, WRITTEN_CODES, WRITTEN_ROWS)
def _coded(
    vectors: Scores,
    balance: Scores,
    reach: float,
    codes: npt.NDArray[np.uint8],
    margins: Int32s,
) -> None:
    """Round vectors [B, d] to codes; see ScanSearch.codes.

    A product of rounded numbers misses by a sum over the coordinates: what rounding took
    from one, which is spread evenly over a step and so has a variance of 1/12, times the
    other, both ways.
    """
    users, width = vectors.shape
    for user in range(users):
        greatest = np.float32(0)
        for at in range(width):
            greatest = max(greatest, abs(vectors[user, at] * balance[at]))
        if not greatest > 0:
            codes[user] = ZERO
            margins[user] = -1
            continue
        step = np.float32(STEPS) / greatest
        squares = np.float32(0)
        for at in range(width):
            value = vectors[user, at] * balance[at] * step
            squares += value * value
            codes[user, at] = np.uint8(np.rint(value) + np.float32(ZERO))
        margins[user] = np.int32(np.ceil(_SIGMAS * np.sqrt((reach + squares) / 12)))


@compiled(ROWS, WRITTEN_ROWS, alone=True)
def _strips(row: Int32s, greatest: Int32s) -> None:
    """Set greatest[c] to the greatest of row[c], row[c + strips], row[c + 2 * strips] ..."""
    strips = len(greatest)
    for strip in range(strips):
        greatest[strip] = row[strip]
    start = strips
    while start + strips <= len(row):
        for strip in range(strips):
            greatest[strip] = max(greatest[strip], row[start + strip])
        start += strips
    for strip in range(len(row) - start):
        greatest[strip] = max(greatest[strip], row[start + strip])


@compiled(WRITTEN_ROWS, NUMBER, NUMBER, alone=True)
def _greatest(values: Int32s, many: int, k: int) -> int:
    """Return the k-th greatest, k from 1, of so many values, which change places.

    Quickselect (Hoare 1961).
    """
    low, high, wanted = 0, many - 1, k - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return int(values[wanted])


@compiled(ROWS, NUMBER, NUMBER, WRITTEN_ROWS, WRITTEN_ROWS, alone=True)
def _hopeful(
    row: Int32s,
    k: int,
    margin: int,
    found: Int32s,
    scratch: Int32s,
) -> int:
    """Write to `found` the places within the margin of the k-th greatest; return how many.

    k strips whose greatest reach some value hold k items that do: what is below is not
    looked at one by one.
    """
    strips = min(len(row), max(2 * k, len(row) // _STRIP))
    greatest = np.empty(strips, np.int32)
    _strips(row, greatest)
    for strip in range(strips):
        scratch[strip] = greatest[strip]
    least = _greatest(scratch, strips, k) - margin
    many = 0
    for strip in range(strips):
        if greatest[strip] >= least:
            for at in range(strip, len(row), strips):
                if row[at] >= least:
                    found[many] = at
                    scratch[many] = row[at]
                    many += 1
    least = _greatest(scratch, many, k) - margin
    kept = 0
    for at in range(many):
        if row[found[at]] >= least:
            found[kept] = found[at]
            kept += 1
    return kept


@compiled(WRITTEN_INTS, NUMBER, alone=True)
def _sort(values: Keys, many: int) -> None:
    """Put the first so many values in order; numba's own sort takes seconds to compile.

    Shell's method with the gaps of Ciura (2001).
    """
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for at in range(gap, many):
            value, place = values[at], at
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value


@compiled(TABLE, FLOATS, ROWS, NUMBER, WRITTEN, reorder=True, alone=True)
def _scored(table: Scores, vector: Scores, found: Int32s, many: int, scores: Scores) -> None:
    """Write the products of a vector [d] with the first rows that were found."""
    for at in range(many):
        row = found[at]
        total = np.float32(0)
        for place in range(len(vector)):
            total += table[row, place] * vector[place]
        scores[at] = total


@compiled(
    INT_TABLE, TABLE, TABLE, ROWS, WRITTEN_KEYS, WRITTEN_TABLE,
    WRITTEN_ROWS, WRITTEN_ROWS, WRITTEN, WRITTEN_INTS, alone=True,
)  # fmt: skip
def _best(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    products: Int32s, table: Scores, vectors: Scores, margins: Int32s, rows: Keys, scores: Scores,
    found: Int32s, scratch: Int32s, exact: Scores, order: Keys,
) -> None:  # fmt: skip
    """Write the best rows [B, k], from 1, and their scores, best first; see ScanSearch.search.

    The last four, [m] each, are for scratch.
    """
    users, size = products.shape
    k = min(rows.shape[1], size)
    bits = exact.view(np.int32)
    for user in range(users):
        if margins[user] < 0 or k < 1:
            continue
        many = _hopeful(products[user], k, margins[user], found, scratch)
        _scored(table, vectors[user], found, many, exact)
        # One number to sort by, score before row: the bits of a float have its order, but
        # for those of negative ones, which are turned.
        for at in range(many):
            rank = np.int64(bits[at] if bits[at] >= 0 else bits[at] ^ 0x7FFFFFFF)
            order[at] = (~rank << 32) | np.int64(found[at])
        _sort(order, many)
        for at in range(min(k, many)):
            rank = ~(order[at] >> 32)
            rows[user, at] = (order[at] & 0xFFFFFFFF) + 1
            bits[at] = np.int32(rank if rank >= 0 else rank ^ 0x7FFFFFFF)
            scores[user, at] = exact[at]
