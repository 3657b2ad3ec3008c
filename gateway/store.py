"""The embedded store: the only part of the gateway that meets the disk.

While running, writes go through the group commit and reads of one shopper run
in a reader thread, so the event loop never waits for the disk. What a write
returns is durable. The interface is small on purpose: a shared store for several
gateways would stand beside this one.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from gateway import reads, schema
from gateway.errors import StoreCorrupt
from gateway.fusion.types import Floats
from gateway.reads import MarketEvents, MarketTrend
from gateway.rows import RECORD_EVENT, UPSERT_ITEM, event_row, item_row
from gateway.types import Event, Item, Trail
from gateway.writer import GroupCommit


class Store:
    """Events, items, vectors of new items and trend snapshots in one SQLite file."""

    def __init__(
        self, path: Path, history_length: int, observe: Callable[[float], None] | None = None
    ) -> None:
        """`observe` gets the seconds of every commit."""
        self._path = path
        self._history_length = history_length
        self._observe = observe
        self._lock: int | None = None

    def start(self) -> None:
        """Lock and open the file; raises a StoreError naming it and what to do."""
        self._lock = schema.lock(self._path)
        try:
            self._connection = schema.open_state(self._path)
            self._reader = schema.open_reader(self._path)
        except BaseException:
            os.close(self._lock)
            self._lock = None
            raise
        self._readers = ThreadPoolExecutor(1, "store-reader")
        self._writer = GroupCommit(self._connection, self._observe)
        self._writer.start()

    def stop(self) -> None:
        """Finish queued writes and let go of the file; blocks for at most some commits."""
        if self._lock is None:
            return
        self._readers.shutdown(wait=True)
        self._writer.stop()
        self._reader.close()
        self._connection.close()
        os.close(self._lock)
        self._lock = None

    # Reads at start; each raises StoreCorrupt where the file is damaged.

    def items(self) -> list[tuple[Item, int]]:
        """Return every item, and when it came through the API (0: it was seeded)."""
        with self._damage_explained():
            return list(reads.items(self._reader))

    def embeddings(self, source: str) -> dict[int, tuple[str, Floats]]:
        """Return the vectors of new items: key -> (model version, float32 [d])."""
        with self._damage_explained():
            return reads.embeddings(self._reader, source)

    def trends(self) -> tuple[dict[str, MarketTrend], int]:
        """Return the snapshot of each market, and the last event the snapshots include."""
        with self._damage_explained():
            return reads.trends(self._reader)

    def events_after(self, seq: int, since_ms: int) -> MarketEvents:
        """Return the events that arrived after `seq` and happened since `since_ms`."""
        with self._damage_explained():
            return reads.events_after(self._reader, seq, since_ms)

    # While running. Each `then` runs in the event loop as soon as the write is durable,
    # before the caller goes on and even if the caller has gone.

    async def trail(self, user_id: str) -> Trail:
        """Read a shopper's newest events; raises StoreCorrupt."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read_trail, user_id)

    def _read_trail(self, user_id: str) -> Trail:
        with self._damage_explained():
            return reads.trail(self._reader, user_id, self._history_length)

    async def record(self, events: Sequence[Event], then: Callable[[list[int]], None]) -> list[int]:
        """Store events, all or none; return each one's number, 0 for a known event_id."""
        rows = [event_row(e) for e in events]

        def work(connection: sqlite3.Connection) -> list[int]:
            cursors = (connection.execute(RECORD_EVENT, row) for row in rows)
            return [(c.lastrowid or 0) if c.rowcount == 1 else 0 for c in cursors]

        return await self._writer.submit(work, then)

    async def upsert_items(
        self, items: Sequence[Item], reworded: Sequence[int], then: Callable[[None], None]
    ) -> None:
        """Store items, all or none, each as it is now.

        The vectors of the keys `reworded` are forgotten: they were made of other text.
        """
        rows = [item_row(item, int(time.time() * 1000)) for item in items]
        stale = [(key,) for key in reworded]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(UPSERT_ITEM, rows)
            connection.executemany("DELETE FROM embeddings WHERE item_key = ?", stale)

        await self._writer.submit(work, then)

    async def delete_items(self, keys: Sequence[int], then: Callable[[None], None]) -> None:
        """Remove items and their vectors, all or none."""
        wanted = [(key,) for key in keys]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM items WHERE item_key = ?", wanted)
            connection.executemany("DELETE FROM embeddings WHERE item_key = ?", wanted)

        await self._writer.submit(work, then)

    async def put_embeddings(
        self, source: str, version: str, keys: Sequence[int], vectors: Floats
    ) -> None:
        """Store the vectors, float32 [m, d], that `version` of `source` made for items."""
        rows = [
            (source, key, version, vector.astype("<f4").tobytes())
            for key, vector in zip(keys, vectors, strict=True)
        ]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)", rows)

        await self._writer.submit(work)

    async def put_trends(self, markets: Mapping[str, MarketTrend], last_seq: int) -> None:
        """Replace the snapshots; they include every event up to `last_seq`."""
        rows = [
            (name, t.keys.astype("<i8").tobytes(), t.weights.astype("<f8").tobytes(), t.time_ms)
            for name, t in markets.items()
        ]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM trends")
            connection.executemany("INSERT INTO trends VALUES (?, ?, ?, ?)", rows)
            connection.execute("INSERT OR REPLACE INTO progress VALUES ('trends', ?)", (last_seq,))

        await self._writer.submit(work)

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, ValueError) as error:
            raise StoreCorrupt(
                f"{self._path}: damaged ({error}); restore a copy, or move it away and run "
                "`plait seed`"
            ) from None
