"""The catalogue in memory: what the shop sells, as arrays by row.

Rows are given once and kept: a deleted item leaves its row empty until the next
start, so that a row in a history or a ranking never means another item. Changes
come here only after they are on disk.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from artifacts.fusion import FusionArtifact
from artifacts.keys import composed, item_key
from gateway.columns import GrowingColumns
from gateway.fusion.types import Bools, Columns, Floats, Ints, Rows
from gateway.index import RowIndex
from gateway.learned import Learned
from gateway.shelf import Shelf
from gateway.types import Item
from gateway.words import Words

# Whose vectors the fusion artifact holds.
_VECTOR_SOURCE = "content"


class Catalogue:
    """Items by row, key, id and word. All methods belong to the event loop."""

    def __init__(self, fusion: FusionArtifact, items: Iterable[Item]) -> None:
        """Build from the stored items; the artifact adds vectors, popularity and domains.

        `items` are read once and not kept.
        """
        self._trained = RowIndex(fusion.item_keys)
        self._late, self._fusion = self._trained, fusion
        # Grows with every change.
        self.changes = 0
        # Items that models know and no row is of; see `sold_out`.
        self._missing = 0
        self._sold_out: tuple[int, float] = -1, 0.0
        self._shelf = Shelf()
        # Which rows were deleted, with room to grow.
        self._gone: Bools = np.zeros(0, np.bool_)
        self.deleted_rows: Rows = np.zeros(0, np.int32)
        self._words = Words()
        width = fusion.vectors.shape[1] if fusion.vectors.ndim == 2 else 0
        expected = len(fusion.item_keys) + 1_024
        self._columns = GrowingColumns(width, fusion.domain_names, expected)
        self._index = RowIndex(np.zeros(0, np.int64))
        for block in self._shelf.pack(items):
            self._take_in(block)
        self._columns.count_sellers()
        # What is here has its vectors in the columns; the rest waits for its item.
        self._fusion = fusion.only(self._index.rows(fusion.item_keys) < 0)
        self._late = RowIndex(self._fusion.item_keys)
        self._missing = len(self._fusion.item_keys)
        self._snapshot()

    def _snapshot(self) -> None:
        self.changes += 1
        self.columns: Columns = self._columns.snapshot()
        if self.columns.domain_names != getattr(self, "_domains_known", None):
            self._relate()
        more = self._columns.capacity - len(self._gone)
        if more:
            self._gone = np.concatenate([self._gone, np.zeros(more, np.bool_)])

    def _relate(self) -> None:
        # log P(t | r) / P(t) in the order of columns.domain_names.
        self._domains_known = self.columns.domain_names
        self.transition = self._fusion.transition_for(self._domains_known)

    def __len__(self) -> int:
        return len(self._shelf) - len(self.deleted_rows)

    @property
    def capacity(self) -> int:
        """Rows there is room for, as `learn` wants them."""
        return self._columns.capacity

    def learn(self, learned: Learned) -> None:
        """Take another fusion artifact; rows stay what they are."""
        self._fusion, self._late, self._trained = learned.fusion, learned.late, learned.trained
        for name in learned.fusion.domain_names:
            self._columns.domains.add(name)
        self._columns.relearn(learned.popularity, learned.vectors)
        self._missing = len(learned.fusion.item_keys)
        self._know(np.arange(learned.rows, self._columns.size, dtype=np.int32))
        self._columns.count_sellers()
        self._snapshot()
        self._relate()

    def are_new(self, keys: Ints) -> Bools:
        """Say which of the items no model was trained on [m]."""
        new: Bools = self._trained.rows(keys) < 0
        return new

    def is_new(self, key: int) -> bool:
        """Say whether no model was trained on this item."""
        return bool(self.are_new(np.array([key], np.int64))[0])

    def rows(self, keys: Ints) -> Rows:
        """Return the row of each key, -1 where the catalogue lacks it."""
        rows = self._index.rows(keys)
        if len(self.deleted_rows):
            rows = np.where(self._gone[rows], np.int32(-1), rows)
        return rows

    def knows_any(self, keys: Ints) -> bool:
        """Say whether at least one of these items is, or was, in the catalogue.

        An empty catalogue tells nothing about keys, so it knows them all.
        """
        return not len(self._shelf) or bool((self._index.rows(keys) >= 0).any())

    def row_of(self, item_id: str) -> int:
        """Return the row of an item id, -1 where the catalogue lacks it."""
        row = int(self.rows(np.array([item_key(item_id)], np.int64))[0])
        if row < 0 or composed(self.item(row).item_id) != composed(item_id):
            return -1
        return row

    def id_of(self, key: int) -> str:
        """Return the id of the item with this key, "" if there is none."""
        row = int(self.rows(np.array([key], np.int64))[0])
        return self.item(row).item_id if row >= 0 else ""

    def rows_of(self, item_ids: Iterable[str]) -> Rows:
        """Return the row of each item id, int32 [n], -1 where the catalogue lacks it."""
        return np.fromiter((self.row_of(i) for i in item_ids), np.int32)

    def item(self, row: int) -> Item:
        """Return the item of a row; raises KeyError where it was deleted."""
        item = self._shelf.get(row)
        if item is None:
            raise KeyError(row)
        return item

    def has(self, row: int) -> bool:
        """Say whether a row holds an item that was not deleted."""
        return self._shelf.has(row)

    def on_sale(self, row: int) -> bool:
        """Say whether a row's item is available."""
        return bool(self.columns.available[row])

    @property
    def sold_out(self) -> float:
        """Which part of what models may name is not for sale: unavailable, deleted or not here."""
        changes, part = self._sold_out
        if changes != self.changes:
            there, known = np.count_nonzero(self.columns.available), len(self.columns.keys)
            part = 1 - there / max(known + self._missing, 1)
            self._sold_out = self.changes, part
        return part

    @property
    def pictured(self) -> Rows:
        """The rows of items that came with an image, int32 [m]."""
        return self._shelf.pictured()

    def find_words(self, query: str) -> tuple[Rows, Floats]:
        """Return rows that hold a word of the query, and the part of the query they hold."""
        return self._words.find(query)

    def holding(self, query: str) -> Rows:
        """Return the rows of the items that hold every word of a query of several, ascending."""
        return self._words.holding(query)

    def category(self, name: str) -> int:
        """Return the index of a category, -1 if no item has it."""
        return self._columns.categories.find(name)

    def domain(self, name: str) -> int:
        """Return the index of a domain, -1 if no item has it."""
        return self._columns.domains.find(name)

    def brand(self, name: str) -> int:
        """Return the index of a brand, -1 if no item has it."""
        return self._columns.brands.find(name)

    def upsert(self, items: Sequence[Item]) -> tuple[int, int]:
        """Add or replace items; return how many were created and updated."""
        latest = {item.key: item for item in items}
        keys = np.fromiter(latest, np.int64)
        rows = self._index.rows(keys)
        known = [(int(r), latest[int(k)]) for r, k in zip(rows, keys, strict=True) if r >= 0]
        new = [latest[int(k)] for r, k in zip(rows, keys, strict=True) if r < 0]
        back = self._replace(known)
        self._append(new)
        self._snapshot()
        return len(new) + back, len(known) - back

    def delete(self, keys: Iterable[int]) -> None:
        """Take items out; their rows stay empty. Unknown keys are ignored."""
        rows = self.rows(np.fromiter(keys, np.int64))
        self._columns.detach()
        for row in {int(r) for r in rows if r >= 0}:
            self._words.remove(row, _searched(self.item(row)))
            self._columns.hide(row)
            self._shelf.put(row, None)
            self._gone[row] = True
        self._count_deleted()
        self._snapshot()

    def _count_deleted(self) -> None:
        self.deleted_rows = np.flatnonzero(self._gone).astype(np.int32)

    def place(self, source: str, version: str, keys: Ints, vectors: Floats) -> None:
        """Give new items [m] their place among the item vectors, if theirs [m, d] belong there.

        The fusion's item vectors are the content model's, of one version; only vectors
        of the same are comparable.
        """
        tuned_on = str(self._fusion.tuned_on.get(_VECTOR_SOURCE, ""))
        if (source, version) != (_VECTOR_SOURCE, tuned_on):
            return
        if vectors.shape[1:] != self.columns.vectors.shape[1:]:
            return
        rows = self.rows(keys)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        # A vector of zeros says nothing of the item any more: what was there is out of date.
        unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        self._columns.set_vectors(rows[rows >= 0], unit[rows >= 0])
        self._snapshot()

    def _replace(self, known: Sequence[tuple[int, Item]]) -> int:
        """Write items over the rows they had; return how many of these had been deleted."""
        if not known:
            return 0
        self._columns.detach()
        back = 0
        for row, item in known:
            old = self._shelf.get(row)
            before = () if old is None else _searched(old)
            if before != _searched(item):  # most updates are of price and stock
                if old is not None:
                    self._words.remove(row, before)
                self._words.add(row, _searched(item))
            back += old is None
            self._gone[row] = False
            self._shelf.put(row, item)
            self._columns.write(row, item)
        if back:
            self._count_deleted()
        return back

    def _append(self, items: Sequence[Item]) -> None:
        if not items:
            return
        for item in items:
            self._shelf.append(item)
        if self._take_in(items):
            self._columns.count_sellers()

    def _take_in(self, items: Sequence[Item]) -> bool:
        """Write the columns of items that the shelf has; say whether any was trained on."""
        rows = self._columns.append(items)
        keys = np.array([item.key for item in items], np.int64)
        for row, item in zip(rows.tolist(), items, strict=True):
            self._words.add(row, _searched(item))
        self._index.add(keys, rows)
        return self._know(rows)

    def _know(self, rows: Rows) -> bool:
        """Set what the artifact knows of rows that no snapshot shows yet; say if that is any."""
        trained = self._late.rows(self._columns.keys(rows))
        known = trained >= 0
        self._columns.learned(
            rows[known],
            self._fusion.popularity[trained[known]],
            self._fusion.vectors[trained[known]],
        )
        self._missing -= int(np.count_nonzero(known))
        return bool(known.any())


def _searched(item: Item) -> tuple[str, ...]:
    """What of an item the word search reads; long texts would only make everything match."""
    return (item.title, item.brand, item.category, item.domain)
