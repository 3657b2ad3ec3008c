"""Item keys: the stable positive int64 that stands for an item everywhere.

A key is a pure function of the shop's own item id, so storefront, gateway,
training and every model version agree on it without asking each other. 0 means
"no item" and pads arrays.
"""

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]

NO_ITEM = 0
# Decimal ids below this are their own key; above it lie the hashes, so the two
# kinds cannot meet.
_FIRST_HASHED_KEY = 1 << 53


def item_key(item_id: str) -> int:
    """Return the key of a shop's item id, in 1 .. 2**63 - 1.

    A canonical decimal id below 2**53 ("1095275", not "007") is its own key;
    any other id is hashed (BLAKE2b, 63 bits: one expected collision in about
    four billion ids; importers check). How a letter's accent is encoded, with it or after it,
    makes no other id.
    """
    if item_id.isascii() and item_id.isdecimal() and not item_id.startswith("0"):
        number = int(item_id)
        if number < _FIRST_HASHED_KEY:
            return number
    digest = hashlib.blake2b(composed(item_id).encode(), digest_size=8).digest()
    return _FIRST_HASHED_KEY + int.from_bytes(digest, "little") % (2**63 - _FIRST_HASHED_KEY)


def composed(text: str) -> str:
    """Return a text with each accent in the letter that has it (NFC), as most are typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def item_keys(item_ids: Iterable[str]) -> Keys:
    """Return the keys of many item ids, int64 [n]."""
    return np.fromiter((item_key(i) for i in item_ids), dtype=np.int64)


def catalogue_hash(keys: Keys) -> str:
    """Return the SHA-256 (hex) of a set of item keys, whatever their order."""
    return hashlib.sha256(np.sort(keys.astype("<i8")).tobytes()).hexdigest()


class KeyIndex:
    """Item keys to row numbers, vectorised: rows are 1 .. n, 0 means unknown.

    Row 0 is the padding row of every model, so the result can be fed to a graph
    as it is.
    """

    def __init__(self, keys: Keys) -> None:
        order = np.argsort(keys, kind="stable")
        self._sorted = keys[order]
        self._rows = (order + 1).astype(np.int64)
        # keys_by_row[row] is the key; row 0 is "no item".
        self.keys_by_row: Keys = np.concatenate([np.zeros(1, np.int64), keys.astype(np.int64)])

    def __len__(self) -> int:
        return len(self._sorted)

    def rows(self, keys: Keys) -> Keys:
        """Map keys of any shape to rows of the same shape; unknown and 0 become 0."""
        if not len(self._sorted):
            return np.zeros_like(keys)
        at = np.searchsorted(self._sorted, keys)
        np.minimum(at, len(self._sorted) - 1, out=at)
        return np.where(self._sorted[at] == keys, self._rows[at], 0)
