"""Saving what can be read of a damaged state file into a new one.

Two readers. SQLite itself, in slices, is fast and fails where the damage is; for
what it cannot give, every page of the file is read alone (pages.py). An event is
stored twice over: in its table, and the greater part of it in the index by user, on
other pages. What the table has lost is taken from the index: who did what with which
item when, and the event_id, so that a retry is still known; only quantity, price,
market and search text are gone then. Trends, and vectors but images, are left out: the
gateway makes them anew.

Run in a process of its own (`python -m gateway.salvage DAMAGED NEW`), so that a
gateway that is serving keeps its time. Prints counts as JSON.
"""

# Statements are made of constants only.
# ruff: noqa: S608

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gateway import schema
from gateway.journal.place import place_of, put_place
from gateway.pages import INDEX_INNER, INDEX_LEAF, TABLE_LEAF, Pages, Row, rows
from gateway.rows import IMAGE, PUT_VECTOR
from gateway.types import EventType
from services.runtime.leash import die_with_parent

# A repair takes a core for seconds; shoppers come first.
_NICENESS = 10
_KINDS = frozenset(int(kind) for kind in EventType)
_INT, _REAL, _TEXT, _BLOB = int, (int, float), str, bytes
_MAYBE_TEXT, _MAYBE_REAL = (str, type(None)), (int, float, type(None))
# What the columns of each row hold; a row that differs is another table's, or damage.
_EVENT = (_INT, _MAYBE_TEXT, _TEXT, _INT, _INT, _INT, _REAL, _MAYBE_REAL, _TEXT, _MAYBE_TEXT)
_ITEM = (_INT, *(_TEXT,) * 6, _MAYBE_REAL, _INT, _TEXT, _TEXT, _INT)
# Of the vectors, images alone: the others are made again.
_VECTOR = (_TEXT, _INT, _TEXT, _BLOB)
# user_id, time_ms, seq, item_key, type, event_id, seq again.
_BY_USER = (_TEXT, _INT, _INT, _INT, _INT, _MAYBE_TEXT, _INT)
_PUT_EVENT = f"INSERT OR IGNORE INTO events VALUES ({', '.join('?' * 10)})"
_PUT_IMAGE = "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?, ?)"
_PUT_ITEM = f"INSERT OR REPLACE INTO items VALUES ({', '.join('?' * 12)})"
# Events that SQLite is asked for at once; where damage falls into a slice, it is asked again
# for its parts. What the last parts lack is looked for page by page, at several times the cost.
_SLICES = (10_000, 1_000, 100)


@dataclass(frozen=True, slots=True)
class Saved:
    """What came out of a damaged file."""

    items: int
    events: int
    from_index: int  # of these events, those that the table had lost


def salvage(damaged: Path, new: Path) -> Saved:
    """Write everything that can be read into a new state file, synced.

    Takes some 10 us an event, three times that where SQLite cannot open the file.
    Raises OSError or sqlite3.Error where the new one cannot be written.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(closing(schema.create(new)))
        connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {schema.BY_ID} BEGIN;"
        )
        old = stack.enter_context(closing(schema.open_reader(damaged)))
        have_items, have_images, wanted = _through_sqlite(old, connection)
        _keep_place(old, connection)
        file = stack.enter_context(damaged.open("rb"))
        log_path = schema.log_of(damaged)
        log = stack.enter_context(log_path.open("rb")) if log_path.exists() else None
        pages = Pages(file, log)
        if not have_items:
            connection.executemany(
                _PUT_ITEM, _items(rows(pages, (TABLE_LEAF,), columns=len(_ITEM)))
            )
        if not have_images:
            vectors = rows(pages, (INDEX_LEAF, INDEX_INNER), columns=len(_VECTOR))
            connection.executemany(_PUT_IMAGE, _images(vectors))
        connection.executemany(_PUT_EVENT, _events(rows(pages, (TABLE_LEAF,), wanted)))
        whole = _count(connection, "events")
        index = rows(pages, (INDEX_LEAF, INDEX_INNER), wanted)
        connection.executemany(_PUT_EVENT, _events_of_index(index))
        connection.execute("COMMIT")
        connection.executescript(schema.BY_USER)
        events = _count(connection, "events")
        saved = Saved(_count(connection, "items"), events, events - whole)
    with new.open("rb") as written:
        os.fsync(written.fileno())
    return saved


def _through_sqlite(
    old: sqlite3.Connection, new: sqlite3.Connection
) -> tuple[bool, bool, Callable[[int], bool]]:
    """Copy what SQLite can read.

    Return whether that were all items, whether all images, and what says if an event of a
    number is missing.
    """
    broken: set[int] = set()
    first, last = 0, -1

    def missing(seq: int) -> bool:
        return not first <= seq <= last or seq // _SLICES[-1] in broken

    def take(start: int, depth: int = 0) -> None:
        """Copy a slice; where it is damaged, as much of it as the parts yield."""
        size = _SLICES[depth]
        query = "SELECT * FROM events WHERE seq BETWEEN ? AND ?"
        if _copy(old.execute, (query, (start, start + size - 1)), new, _PUT_EVENT, _EVENT):
            return
        if size == _SLICES[-1]:
            broken.add(start // size)
            return
        for begin in range(start, start + size, _SLICES[depth + 1]):
            take(begin, depth + 1)

    try:
        # Asked for together they would be looked for in every row.
        (least,) = old.execute("SELECT min(seq) FROM events").fetchone()
        (most,) = old.execute("SELECT max(seq) FROM events").fetchone()
    except sqlite3.DatabaseError:
        return False, False, missing
    if least is not None:
        first, last = least, most
        for start in range(first - first % _SLICES[0], last + 1, _SLICES[0]):
            take(start)
    images = "SELECT * FROM embeddings WHERE source = ? ORDER BY item_key"
    have_images = _copy(old.execute, (images, (IMAGE,)), new, PUT_VECTOR, _VECTOR)
    if not have_images:  # and those behind the damage
        _copy(old.execute, (f"{images} DESC", (IMAGE,)), new, PUT_VECTOR, _VECTOR)
    have_items = _copy(old.execute, ("SELECT * FROM items",), new, _PUT_ITEM, _ITEM)
    return have_items, have_images, missing


def _keep_place(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Keep where the file stood in a journal, and that it may lack what came before."""
    try:
        place = place_of(old)
    except sqlite3.DatabaseError:
        return
    if place.journal is not None:
        put_place(new, replace(place, gap=True))


def _copy(
    read: Callable[..., Iterable[Row]],
    question: tuple[Any, ...],
    new: sqlite3.Connection,
    put: str,
    types: tuple[Any, ...],
) -> bool:
    """Copy the rows of a query as far as they can be read; return whether all could be."""
    broken = False

    def readable() -> Iterator[Row]:
        nonlocal broken
        try:
            for row in read(*question):
                if _fits(row, types):
                    yield row
                else:
                    broken = True
        except (sqlite3.DatabaseError, OverflowError):
            broken = True

    new.executemany(put, readable())
    return not broken


def _items(found: Iterable[tuple[int, Row]]) -> Iterator[Row]:
    # Pages that are free again may hold older versions of an item: the newest counts.
    newest: dict[int, Any] = {}
    for rowid, (_, *values) in found:
        row = (rowid, *values)
        if _fits(row, _ITEM) and newest.get(rowid, -1) <= row[11]:
            newest[rowid] = row[11]
            yield row


def _images(found: Iterable[tuple[int, Row]]) -> Iterator[Row]:
    return (values for _, values in found if _fits(values, _VECTOR) and values[0] == IMAGE)


def _events(found: Iterable[tuple[int, Row]]) -> Iterator[Row]:
    for seq, (_, *values) in found:
        row = (seq, *values)
        if _fits(row, _EVENT) and row[4] in _KINDS:
            yield row


def _events_of_index(found: Iterable[tuple[int, Row]]) -> Iterator[Row]:
    for seq, values in found:
        if _fits(values, _BY_USER) and values[2] == seq and values[4] in _KINDS:
            user, time_ms, _, key, kind, event_id, _ = values
            yield (seq, event_id, user, key, kind, time_ms, 1.0, None, "", None)


def _fits(values: Row, types: tuple[Any, ...]) -> bool:
    return len(values) == len(types) and all(map(isinstance, values, types))


def _count(connection: sqlite3.Connection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def main(damaged: str, new: str) -> None:
    """Salvage and print the counts, standing back for those who serve."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's: the gateway says when it ends
    os.nice(_NICENESS)
    sys.stdout.write(json.dumps(asdict(salvage(Path(damaged), Path(new)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
