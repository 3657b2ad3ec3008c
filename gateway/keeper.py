"""Keeping the catalogue: on disk first, then in memory, then acknowledged."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from artifacts.keys import item_key
from gateway.catalogue import Catalogue
from gateway.embedder import Embedder
from gateway.errors import StoreFailed
from gateway.journal.entries import Deletions, Items
from gateway.journal.shared import Shared
from gateway.new_items import NewItems
from gateway.store import Store
from gateway.trends import Trends
from gateway.types import IMAGE_BYTES, Item
from services.runtime.errors import InvalidArgument, NotFound
from services.runtime.metrics import CATALOGUE_ITEMS, EMBEDDED_ITEMS

_log = logging.getLogger(__name__)
# Items written at a time after a repair; events of shoppers are not to wait long behind them.
_BLOCK = 500
# Seconds that changes which are on their way get before `restore` looks at them again.
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of upserted items."""

    created: int
    updated: int
    embedded: int  # created ones that no model knows, now placed by their text


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of items in this gateway."""

    created: int
    updated: int
    unseen: Sequence[int]  # keys of created ones that no model knows
    reworded: Sequence[int]  # keys of those that models are to place


class CatalogueKeeper:
    """Upserts, deletes and reads items. Belongs to the event loop."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        new_items: NewItems,
        trends: Trends,
        embedder: Embedder,
        *,
        embed_seconds: float,
    ) -> None:
        """`embed_seconds`: longest an upsert waits for the models to place its new items."""
        self._store = store
        self._catalogue = catalogue
        self._new_items = new_items
        self._trends = trends
        self._embedder = embedder
        self._embed_seconds = embed_seconds
        self._shared: Shared | None = None

    def share(self, shared: Shared) -> None:
        """Write through a journal from now on, which gives everything to `take` and `drop`."""
        self._shared = shared

    async def upsert(self, items: Sequence[Item], remaining: float | None) -> Upserted:
        """Add or replace items, all or none; `remaining`: seconds the client leaves.

        Raises InvalidArgument where an id shares another item's key or an image is of another
        length than models read, Unavailable where the disk, or the journal that gateways
        share, does not take them.
        """
        self._check_keys(items)
        await self._check_images(items)
        try:
            if self._shared is None:
                taken = await self.take(items)
            else:
                taken = await self._shared.write(Items(tuple(items)))
        except StoreFailed as error:
            raise self._store.condition.refusal("no item was stored", error.told) from None
        embedded = 0
        if taken.reworded:
            # Part of the client's time is for the answer to reach it.
            most = self._embed_seconds if remaining is None else 0.8 * remaining
            await self._embedder.settle(taken.reworded, min(most, self._embed_seconds))
            embedded = self._new_items.embedded(taken.unseen)
        return Upserted(taken.created, taken.updated, embedded)

    async def take(self, items: Sequence[Item], position: int | None = None) -> Taken:
        """Store items and show them; `position`: theirs in the journal. Raises StoreFailed."""
        new = [item for item in items if self._catalogue.is_new(item.key)]
        unseen = [item.key for item in new if self._catalogue.row_of(item.item_id) < 0]
        reworded = [item.key for item in new if self._new_items.must_place(item)]
        counts = (0, 0)

        def then(_: None) -> None:
            nonlocal counts
            counts = self._catalogue.upsert(items)
            keys = np.array([item.key for item in items], np.int64)
            self._trends.take_back(self._catalogue.rows(keys))
            for item in items:
                if self._catalogue.is_new(item.key):  # by the artifact that serves by now
                    self._new_items.put(item)
            self.count()

        with self._changing([item.key for item in items]):
            await self._store.upsert_items(items, reworded, then, position)
        if reworded:  # nobody waits for those of another gateway, but shoppers are to find them
            self._embedder.poke()
        return Taken(*counts, unseen, reworded)

    async def delete(self, item_ids: Sequence[str]) -> tuple[int, int]:
        """Remove items, all or none; return how many there were and how many not.

        Raises Unavailable where the disk, or the journal that gateways share, does not take it.
        """
        keys = [item_key(i) for i in item_ids if self._catalogue.row_of(i) >= 0]
        try:
            if self._shared is None:
                await self.drop(keys)
            elif keys:
                await self._shared.write(Deletions(tuple(keys)))
        except StoreFailed as error:
            raise self._store.condition.refusal("no item was deleted", error.told) from None
        return len(keys), len(item_ids) - len(keys)

    async def drop(self, keys: Sequence[int], position: int | None = None) -> None:
        """Remove items for good; `position`: theirs in the journal. Raises StoreFailed."""

        def then(_: None) -> None:
            rows = self._catalogue.rows(np.array(keys, np.int64))
            self._catalogue.delete(keys)
            self._trends.leave_out(rows[rows >= 0], self._catalogue.deleted_rows)
            for key in keys:
                self._new_items.remove(key)
            self.count()

        with self._changing(keys):
            await self._store.delete_items(keys, then, position)

    async def restore(self) -> int:
        """Write the items that memory holds and the file has lost, whole or their image.

        After a repair; returns how many.

        Raises StoreError where the file does not take it.
        """
        written, complete = 0, False
        while not complete:
            complete = True
            stored, seen = await self._store.item_keys()
            keys, pictured = self._catalogue.columns.keys, self._catalogue.pictured
            unseen = pictured[~np.isin(keys[pictured], seen)]
            lost = np.union1d(np.flatnonzero(~np.isin(keys, stored)), unseen)
            for start in range(0, len(lost), _BLOCK):
                rows = lost[start : start + _BLOCK].tolist()
                # Looked at late: what was deleted meanwhile stays deleted.
                there = [self._catalogue.item(row) for row in rows if self._catalogue.has(row)]
                # What memory has would be written over what it will have in a moment.
                items = [item for item in there if not self._new_items.on_the_way[item.key]]
                complete = complete and len(items) == len(there)
                await self._store.upsert_items(items, (), lambda _: None)
                written += len(items)
            if not complete:
                await asyncio.sleep(_PAUSE)
        if written:
            _log.warning("items that the repaired file lacked are stored again: %d", written)
        return written

    @contextmanager
    def _changing(self, keys: Sequence[int]) -> Iterator[None]:
        """Note that changes of these items are on their way, for the length of the block."""
        on_the_way = self._new_items.on_the_way
        on_the_way.update(keys)
        try:
            yield
        finally:
            on_the_way.subtract(keys)
            for key in keys:
                if not on_the_way[key]:
                    del on_the_way[key]

    def get(self, item_id: str) -> Item:
        """Return an item; raises NotFound."""
        row = self._catalogue.row_of(item_id)
        if row < 0:
            raise NotFound(f"item_id: the catalogue has no item '{item_id}'")
        return self._catalogue.item(row)

    def count(self) -> None:
        """Bring the gauges of the catalogue up to date."""
        CATALOGUE_ITEMS.set(len(self._catalogue))
        EMBEDDED_ITEMS.set(self._new_items.placed())

    async def _check_images(self, items: Sequence[Item]) -> None:
        if not any(item.image for item in items):
            return
        widths = await self._embedder.image_widths()
        for number, item in enumerate(items):
            count = len(item.image) // IMAGE_BYTES
            if count and widths and count not in widths:
                raise InvalidArgument(
                    f"items[{number}].image_vector",
                    f"{count} numbers, the model was trained with {min(widths)}",
                )

    def _check_keys(self, items: Sequence[Item]) -> None:
        for number, item in enumerate(items):
            other = self._catalogue.id_of(item.key)
            if other not in ("", item.item_id):
                raise InvalidArgument(
                    f"items[{number}].item_id",
                    f"'{item.item_id}' hashes to the same key as '{other}'; rename one of them",
                )
