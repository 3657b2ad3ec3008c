"""Arrays that grow by appending, and the consistent snapshots cut from them.

Capacity is kept ahead of size, so adding an item writes one row instead of
copying the catalogue. A snapshot is a set of views that end at its size: rows
appended later lie beyond them, and a row that changes is changed in a copy, so
no request ever sees a half-changed catalogue. Vectors alone are set in place: at a
million items they are most of the memory, and an item is placed once.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from artifacts.ranker.shelf import strongest
from gateway.fusion.types import Columns, Floats, Ints, Rows
from gateway.types import Item

# Columns that an update of a known item changes; keys, popularity and vectors stay.
_CHANGING = ("domain", "category", "brand", "provider", "price", "available")


# The most popular items are known without looking at all of them.
_SELLERS = 2_048


class Names:
    """Names to indices in order of first appearance; "" is -1."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._index = {name: i for i, name in enumerate(dict.fromkeys(names))}
        self._all = tuple(self._index)

    def add(self, name: str) -> int:
        """Return the index of a name, a new one if need be; the first spelling counts."""
        if not name:
            return -1
        # A state file or an artifact from before may have names that are not composed.
        known = self.find(name)
        return known if known >= 0 else self._index.setdefault(name, len(self._index))

    def find(self, name: str) -> int:
        """Return the index of a name, -1 if it is unknown, however its accents are encoded."""
        if (index := self._index.get(name)) is not None:
            return index
        others = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        return next((self._index[other] for other in others if other in self._index), -1)

    @property
    def all(self) -> tuple[str, ...]:
        """Every name, by index."""
        if len(self._all) != len(self._index):
            self._all = tuple(self._index)
        return self._all


class GrowingColumns:
    """The catalogue's arrays with room to grow."""

    def __init__(self, width: int, domains: Iterable[str], capacity: int = 1_024) -> None:
        """`width`: length of an item vector; `domains`: names whose indices are given."""
        self.size = 0
        self.domains = Names(domains)
        self.categories = Names()
        self.brands = Names()
        self.providers = Names()
        self._sellers: Rows = np.zeros(0, np.int32)
        self._arrays: dict[str, np.ndarray[Any, Any]] = {
            "keys": np.zeros(capacity, np.int64),
            "domain": np.zeros(capacity, np.int32),
            "category": np.zeros(capacity, np.int32),
            "brand": np.zeros(capacity, np.int32),
            "provider": np.zeros(capacity, np.int32),
            "price": np.zeros(capacity, np.float32),
            "available": np.zeros(capacity, np.bool_),
            "popularity": np.zeros(capacity, np.float32),
            "vectors": np.zeros((capacity, width), np.float32),
        }

    def append(self, items: Sequence[Item]) -> Rows:
        """Add items behind the others and return their rows, int32 [len(items)]."""
        first, self.size = self.size, self.size + len(items)
        while self.size > len(self._arrays["keys"]):
            self._grow()
        new, arrays = slice(first, self.size), self._arrays
        arrays["keys"][new] = [item.key for item in items]
        arrays["domain"][new] = [self.domains.add(item.domain) for item in items]
        arrays["category"][new] = [self.categories.add(item.category) for item in items]
        arrays["brand"][new] = [self.brands.add(item.brand) for item in items]
        arrays["provider"][new] = [self.providers.add(item.provider) for item in items]
        arrays["price"][new] = [np.nan if i.price is None else i.price for i in items]
        arrays["available"][new] = [item.available for item in items]
        return np.arange(first, self.size, dtype=np.int32)

    def write(self, row: int, item: Item) -> None:
        """Set what an update may change; on a row of a snapshot only after `detach`."""
        arrays = self._arrays
        arrays["domain"][row] = self.domains.add(item.domain)
        arrays["category"][row] = self.categories.add(item.category)
        arrays["brand"][row] = self.brands.add(item.brand)
        arrays["provider"][row] = self.providers.add(item.provider)
        arrays["price"][row] = np.nan if item.price is None else item.price
        arrays["available"][row] = item.available

    def hide(self, row: int) -> None:
        """Mark a deleted item's row; on a row of a snapshot only after `detach`."""
        self._arrays["available"][row] = False

    def keys(self, rows: Rows) -> Ints:
        """Return the item keys of rows [m]."""
        keys: Ints = self._arrays["keys"][rows]
        return keys

    def learned(self, rows: Rows, popularity: Floats, vectors: Floats) -> None:
        """Set what the fusion artifact knows of rows [m]: popularity [m], vectors [m, d]."""
        self._arrays["popularity"][rows] = popularity
        self._arrays["vectors"][rows] = vectors

    @property
    def capacity(self) -> int:
        """Rows there is room for."""
        return len(self._arrays["keys"])

    def relearn(self, popularity: Floats, vectors: Floats) -> None:
        """Replace what an artifact knows of all rows: popularity [c], vectors [c, d].

        Earlier snapshots keep what they have. Rows beyond c are left for `learned`.
        """
        missing = max(0, self.capacity - len(popularity))
        if missing:  # it has grown since they were made
            popularity = np.concatenate([popularity, np.zeros(missing, np.float32)])
            more = np.zeros((missing, vectors.shape[1]), np.float32)
            vectors = np.concatenate([vectors, more])
        self._arrays |= {"popularity": popularity, "vectors": vectors}

    def count_sellers(self) -> None:
        """Find the most popular rows anew, after `learned`."""
        popularity = self._arrays["popularity"][: self.size]
        self._sellers = strongest(popularity, _SELLERS, self._arrays["keys"])

    def set_vectors(self, rows: Rows, vectors: Floats) -> None:
        """Give rows [m] unit vectors [m, d], also in snapshots: a copy would be of all vectors."""
        self._arrays["vectors"][rows] = vectors

    def detach(self) -> None:
        """Copy what updates change, so that earlier snapshots keep what they have."""
        for name in _CHANGING:
            self._arrays[name] = self._arrays[name].copy()

    def snapshot(self) -> Columns:
        """Return the catalogue as it is now."""
        views = {name: array[: self.size] for name, array in self._arrays.items()}
        return Columns(
            **views,
            sellers=self._sellers,
            domain_names=self.domains.all,
            category_names=self.categories.all,
            brand_names=self.brands.all,
            provider_names=self.providers.all,
        )

    def _grow(self) -> None:
        for name, array in self._arrays.items():
            more = np.zeros((len(array) // 2 + 1_024, *array.shape[1:]), array.dtype)
            self._arrays[name] = np.concatenate([array, more])
