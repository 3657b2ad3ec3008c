"""The embedded store: the only part of the gateway that meets the disk.

While running, writes go through the group commit and reads of one shopper run
in a reader thread, so the event loop never waits for the disk. What a write
returns survives the end of this process, however it ends. A file that turns out to
be damaged is replaced by what can be saved of it while rankings go on. The interface
is small on purpose: a shared store for several gateways would stand beside this one.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway import reads, schema
from gateway.condition import REASONS, Condition, State
from gateway.errors import StoreDamaged, StoreFailed
from gateway.fusion.types import Floats, Ints
from gateway.journal.place import Place, place_of, put_place, put_position
from gateway.opened import Opened
from gateway.reads import AdaptedRow, MarketEvents, MarketTrend, StoredEvent
from gateway.repair import repaired
from gateway.rows import (
    IMAGE,
    PUT_VECTOR,
    RECORD_EVENT,
    UPSERT_ITEM,
    delete_events_of,
    event_row,
    image_rows,
    item_row,
)
from gateway.schema import ADAPTED
from gateway.types import Event, Item, Trail
from gateway.upkeep import Upkeep

T = TypeVar("T")
# Events of a shopper who is forgotten that go in one commit: others wait behind it.
_MOST_FORGOTTEN = 2_000


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How a store is kept; see GatewayConfig for what each value trades."""

    history_length: int
    sync_ms: float = 100.0
    keep_days: float = 0.0


class Store:
    """Events, items, vectors of new items and trend snapshots in one SQLite file."""

    def __init__(
        self,
        path: Path,
        settings: StoreSettings,
        *,
        observe: Callable[[float], None] | None = None,
        tell: Callable[[State], None] | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        """`observe` gets the seconds of every commit, `tell` every change of condition.

        A repair under way is given up once `stopping` is set, which `stop` does too.
        """
        # SQLite keeps its log beside the file that a link leads to, and that file is the one
        # to be locked and replaced.
        self._path = path = path.resolve()
        self._settings = settings
        self._observe = observe
        self._lock: int | None = None
        self._opened: Opened | None = None
        self._retired: Opened | None = None
        self._repairing = threading.Lock()
        self._stopping = stopping or threading.Event()
        self.condition = Condition(tell)
        self._upkeep = Upkeep(
            path, self.condition, lambda: self._opened, self.repair, settings.keep_days
        )

    def start(self) -> None:
        """Lock and open the file, repaired if it is damaged.

        Raises a StoreError naming it and what to do.
        """
        self._lock = schema.lock(self._path)
        try:
            try:
                self._open()
            except StoreDamaged as error:
                self.condition.ill(error)
                self.repair()
        except BaseException:
            os.close(self._lock)
            self._lock = None
            raise
        self._upkeep.start()

    def stop(self) -> None:
        """Finish queued writes and let go of the file; blocks for at most some commits."""
        self._stopping.set()
        if self._lock is None:
            return
        self._upkeep.stop()
        self._retire()
        if self._retired is not None:
            self._retired.close()
        os.close(self._lock)
        self._lock = None

    def repair(self) -> None:
        """Set the file aside if it was found damaged, and go on with what can be read of it.

        Blocks for about 15 s per million events; meanwhile writes are refused and
        shoppers who are not in memory have no history. Raises a StoreError where it
        could not be done; the file is then as it was.
        """
        with self._repairing:
            if self.condition.state is not State.DAMAGED:
                return  # another thread has done it
            self._retire()
            with repaired(self._path, self._stopping):
                if self._retired is not None:
                    self._retired.close()
                    self._retired = None
            self._open()
            self.condition.repaired()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep the file from being replaced for the length of the block; any thread.

        For the reads at start: a repair would close what they read from.
        """
        with self._repairing:
            yield

    def _open(self) -> None:
        self._opened = Opened(
            self._path, self.condition, sync_ms=self._settings.sync_ms, observe=self._observe
        )

    def _retire(self) -> None:
        """Stop using the file; what comes from here on is refused."""
        if self._opened is not None:
            self._retired, self._opened = self._opened, None
            self._retired.quiet()

    def _use(self) -> Opened:
        opened = self._opened
        if opened is None:
            raise StoreFailed(REASONS[State.DAMAGED])
        return opened

    # Reads at start; each raises StoreDamaged, or StoreFailed where the disk does not answer.

    def items(self) -> Iterator[Item]:
        """Yield every item: what was seeded, then what came through the API."""
        with self._damage_explained():
            yield from reads.items(self._use().reader)

    def embeddings(self, source: str) -> dict[int, tuple[str, Floats]]:
        """Return the vectors of new items: key -> (model version, float32 [d])."""
        with self._damage_explained():
            return reads.embeddings(self._use().reader, source)

    def trends(self) -> tuple[dict[str, MarketTrend], int]:
        """Return the snapshot of each market, and the last event the snapshots include."""
        with self._damage_explained():
            return reads.trends(self._use().reader)

    def middle_ms(self) -> int | None:
        """Return when the event in the middle of all happened; None where there is none."""
        with self._damage_explained():
            return reads.middle_ms(self._use().reader)

    def events_after(self, seq: int, since_ms: int) -> MarketEvents:
        """Return the events that arrived after `seq` and happened since `since_ms`."""
        with self._damage_explained():
            return reads.events_after(self._use().reader, seq, since_ms)

    def adapted(self) -> list[AdaptedRow]:
        """Return the adapted weights of every surface and version."""
        with self._damage_explained():
            return reads.adapted(self._use().reader)

    def place(self) -> Place:
        """Return which journal the file belongs to, and where in it it stands."""
        with self._damage_explained():
            return place_of(self._use().reader)

    # While running. Each `then` runs in the event loop as soon as the write is durable,
    # before the caller goes on and even if the caller has gone.

    async def trail(self, user_id: str) -> Trail:
        """Read a shopper's newest events; raises StoreError."""
        opened, length = self._use(), self._settings.history_length

        def read() -> Trail:
            return reads.trail(opened.reader, user_id, length)

        return await self._read(opened, read)

    async def events_of(self, user_id: str, most: int) -> list[StoredEvent]:
        """Read a shopper's newest events, at most `most`, oldest first; raises StoreError."""
        opened = self._use()
        return await self._read(opened, lambda: reads.events_of(opened.reader, user_id, most))

    async def item_keys(self) -> tuple[Ints, Ints]:
        """Read the keys of all items, and of those with an image, int64 [n]; raises StoreError."""
        opened = self._use()

        def read() -> tuple[Ints, Ints]:
            return reads.item_keys(opened.reader), reads.image_keys(opened.reader)

        return await self._read(opened, read)

    async def stored_keys(self, keys: Ints) -> Ints:
        """Read which of these items there are, the latest last, as `items` has them.

        Raises StoreError.
        """
        opened = self._use()
        return await self._read(opened, lambda: reads.stored_keys(opened.reader, keys))

    async def _read(self, opened: Opened, read: Callable[[], T]) -> T:
        def explained() -> T:
            with self._damage_explained():
                return read()

        try:
            return await asyncio.get_running_loop().run_in_executor(opened.readers, explained)
        except RuntimeError:  # the file is being replaced
            raise StoreFailed(REASONS[State.DAMAGED]) from None

    async def record(
        self,
        events: Sequence[Event],
        then: Callable[[list[int]], None],
        position: int | None = None,
    ) -> list[int]:
        """Store events, all or none; return each one's number, 0 for a known event_id.

        `position` in the journal is kept with them, here and below. Raises StoreFailed, as
        all writes do, where nothing was stored.
        """
        rows = [event_row(e) for e in events]

        def work(connection: sqlite3.Connection) -> list[int]:
            _keep(connection, position)
            cursors = (connection.execute(RECORD_EVENT, row) for row in rows)
            return [(c.lastrowid or 0) if c.rowcount == 1 else 0 for c in cursors]

        return await self._use().writer.submit(work, then)

    async def upsert_items(
        self,
        items: Sequence[Item],
        reworded: Sequence[int],
        then: Callable[[None], None],
        position: int | None = None,
    ) -> None:
        """Store items, all or none, each as it is now.

        The vectors of the keys `reworded` are forgotten: they were made of other text.
        """
        rows = [item_row(item, int(time.time() * 1000)) for item in items]
        stale = [(key,) for key in reworded]
        images, blind = image_rows(items), [(IMAGE, item.key) for item in items if not item.image]

        def work(connection: sqlite3.Connection) -> None:
            _keep(connection, position)
            connection.executemany(UPSERT_ITEM, rows)
            connection.executemany("DELETE FROM embeddings WHERE item_key = ?", stale)
            connection.executemany(
                "DELETE FROM embeddings WHERE source = ? AND item_key = ?", blind
            )
            connection.executemany(PUT_VECTOR, images)

        await self._use().writer.submit(work, then)

    async def delete_items(
        self, keys: Sequence[int], then: Callable[[None], None], position: int | None = None
    ) -> None:
        """Remove items and their vectors, all or none."""
        wanted = [(key,) for key in keys]

        def work(connection: sqlite3.Connection) -> None:
            _keep(connection, position)
            connection.executemany("DELETE FROM items WHERE item_key = ?", wanted)
            connection.executemany("DELETE FROM embeddings WHERE item_key = ?", wanted)

        await self._use().writer.submit(work, then)

    async def forget(
        self, user_id: str, then: Callable[[int], None], position: int | None = None
    ) -> int:
        """Delete a shopper's events for good; return how many there were.

        `then` runs after each of the commits that it takes.
        """

        def work(connection: sqlite3.Connection) -> int:
            count = delete_events_of(connection, user_id, _MOST_FORGOTTEN)
            if count < _MOST_FORGOTTEN:  # the last: an end that comes before it is gone on from
                _keep(connection, position)
            return count

        opened = self._use()

        def gone(count: int) -> None:
            opened.telling.set()  # the log has them until it is emptied
            then(count)

        total, count = 0, _MOST_FORGOTTEN
        while count == _MOST_FORGOTTEN:
            count = await opened.writer.submit(work, gone)
            total += count
        return total

    async def put_place(self, place: Place) -> None:
        """Keep which journal the file belongs to and where in it it stands."""
        await self._use().writer.submit(partial(put_place, place=place))

    async def put_embeddings(
        self, source: str, version: str, keys: Sequence[int], vectors: Floats
    ) -> None:
        """Store the vectors, float32 [m, d], that `version` of `source` made for items."""
        rows = [
            (source, key, version, vector.astype("<f4").tobytes())
            for key, vector in zip(keys, vectors, strict=True)
        ]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(PUT_VECTOR, rows)

        await self._use().writer.submit(work)

    async def put_trends(self, markets: Mapping[str, MarketTrend], last_seq: int) -> None:
        """Replace the snapshots; they include every event up to `last_seq`."""
        rows = [trend.row(name) for name, trend in markets.items()]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM trends")
            connection.executemany("INSERT INTO trends VALUES (?, ?, ?, ?)", rows)
            connection.execute("INSERT OR REPLACE INTO progress VALUES ('trends', ?)", (last_seq,))

        await self._use().writer.submit(work)

    async def put_adapted(self, rows: Sequence[AdaptedRow]) -> None:
        """Keep adapted weights, each in the place of its version's and surface's."""
        values = [row.row() for row in rows]

        def work(connection: sqlite3.Connection) -> None:
            # Made when first needed: a file without it is as good.
            connection.execute(ADAPTED)
            connection.executemany(
                "INSERT OR REPLACE INTO adapted_weights VALUES (?, ?, ?, ?, ?)", values
            )

        await self._use().writer.submit(work)

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError) as error:
            if self.condition.ill(error) is State.DAMAGED:
                raise StoreDamaged(f"{self._path}: damaged ({error})") from None
            raise StoreFailed(f"{self._path}: cannot be read ({error})") from None


def _keep(connection: sqlite3.Connection, position: int | None) -> None:
    if position is not None:
        put_position(connection, position)
