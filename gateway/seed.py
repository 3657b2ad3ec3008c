"""Fills a new state file in bulk: `plait seed` before the gateway's first start.

The file is written beside its place without syncing, indexed, synced once and
renamed: a crash leaves the old file, never half a one.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gateway import schema
from gateway.errors import StoreError
from gateway.rows import PUT_VECTOR, UPSERT_ITEM, image_rows, item_row
from gateway.types import EventType, Item

_INSERT = (
    "INSERT INTO events (user_id, item_key, type, time_ms, quantity, price, market, query) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# Items in memory at once.
_ITEMS = 4_096
_TYPES = {t.name.lower(): int(t) for t in EventType}


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Columns of E events; lists of plain Python values (as polars' `to_list()` gives)."""

    user_ids: Sequence[str]
    item_keys: Sequence[int]
    types: Sequence[str]  # "view", "click", "cart", "purchase", "like", "dislike"
    times_ms: Sequence[int]  # milliseconds since 1970; the caller has shifted them if need be
    quantities: Sequence[float]
    prices: Sequence[float | None]
    markets: Sequence[str]
    queries: Sequence[str | None]


class SeedError(StoreError):
    """The state file cannot be seeded; the message says why and what to do."""


def seed(
    path: Path,
    items: Iterable[Item],
    events: Iterable[EventBatch],
    *,
    replace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a new state file with these items and events; takes seconds per million events.

    Events in (user, time) order load fastest. `progress` gets the number of
    events written so far after each batch. Raises SeedError if the file exists
    and `replace` is not set, StoreInUse while a gateway runs on it, and StoreFailed
    where that cannot be told.
    """
    path = path.resolve()  # what a link leads to, as the store does
    holder = _take(path, replace=replace)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        draft = Path(name)
        try:
            _fill(draft, items, events, progress)
            draft.chmod(0o644)  # mkstemp's 0600 would shut a service user out
            schema.put_in_place(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise SeedError(f"{path}: cannot be written ({error.strerror})") from None
    except sqlite3.OperationalError as error:  # the disk's fault, not that of a row
        raise SeedError(f"{path}: cannot be written ({error}); is there room?") from None
    finally:
        os.close(holder)


def check(path: Path, *, replace: bool) -> None:
    """Raise what `seed` would before it writes: to be known before a dataset is read."""
    path = path.resolve()
    if path.exists():
        os.close(_take(path, replace=replace))


def _take(path: Path, *, replace: bool) -> int:
    """Hold a state file that may be written; return what lets go of it when it is closed."""
    if path.is_dir():
        raise SeedError(f"{path}: is a directory; name a file with --state")
    holder = schema.lock(path)
    if path.exists() and not replace:
        os.close(holder)
        raise SeedError(
            f"{path}: exists; seed with --replace to replace everything in it, or name another "
            "file with --state"
        )
    return holder


def _fill(
    draft: Path,
    items: Iterable[Item],
    events: Iterable[EventBatch],
    progress: Callable[[int], None] | None,
) -> None:
    with closing(schema.create(draft)) as connection:
        # Nobody reads the draft, so nothing needs to survive a crash before the rename.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        connection.execute("BEGIN")
        try:
            rest = iter(items)
            while some := list(islice(rest, _ITEMS)):
                connection.executemany(UPSERT_ITEM, (item_row(i, 0) for i in some))
                connection.executemany(PUT_VECTOR, image_rows(some))
            done = 0
            for batch in events:
                connection.executemany(_INSERT, _rows(batch))
                done += len(batch.user_ids)
                if progress is not None:
                    progress(done)
            connection.execute("COMMIT")
            connection.executescript(f"{schema.INDEXES} PRAGMA optimize;")
        except sqlite3.OperationalError:
            raise
        except (sqlite3.Error, OverflowError, ValueError) as error:
            raise SeedError(f"a row cannot be stored ({error}); check the data") from None
    with draft.open("rb") as written:
        os.fsync(written.fileno())


def _rows(batch: EventBatch) -> Iterator[tuple[Any, ...]]:
    try:
        types = [_TYPES[t] for t in batch.types]
    except KeyError as error:
        raise SeedError(f"event type {error} is not one of {', '.join(_TYPES)}") from None
    return zip(
        batch.user_ids, batch.item_keys, types, batch.times_ms,
        batch.quantities, batch.prices, batch.markets, batch.queries, strict=True,
    )  # fmt: skip
