"""Where a state file stands in a journal; kept in the file itself, with what was taken in.

A position is committed together with the entry it belongs to, so that none is taken in
twice and none left out, however the process ends.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from gateway import schema

_ID, _POSITION, _GAP = "journal.id", "journal.position", "journal.gap"
_PUT = "INSERT OR REPLACE INTO progress VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Place:
    """What a state file knows of its journal."""

    # Of the journal that the file belongs to; None: of none.
    journal: int | None = None
    # Of the last entry that it holds; 0: the journal's begin.
    position: int = 0
    # Whether entries before it may be missing.
    gap: bool = False
    # Whether there is nothing in it that could be lost.
    empty: bool = True


def read_place(path: Path) -> Place:
    """Read where a file that nobody uses stands; an absent one is empty.

    Raises a StoreError, or sqlite3.Error, where it cannot be read.
    """
    if not path.exists():
        return Place()
    # As the store will: on a full disk what is put aside for that is given back.
    with closing(schema.open_state(path, strict=False)) as connection:
        return replace(place_of(connection), empty=not _holds_anything(connection))


def place_of(connection: sqlite3.Connection) -> Place:
    """Read where an open file stands, not whether it is empty; raises sqlite3.Error."""
    known = dict(connection.execute("SELECT name, value FROM progress").fetchall())
    return Place(known.get(_ID), known.get(_POSITION, 0), bool(known.get(_GAP)), empty=False)


def _holds_anything(connection: sqlite3.Connection) -> bool:
    (full,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM items)"
    ).fetchone()
    return bool(full)


def write_place(path: Path, place: Place) -> None:
    """Write where a file that nobody uses stands, synced; raises as `read_place` does."""
    with closing(schema.open_state(path)) as connection:
        put_place(connection, place)


def put_place(connection: sqlite3.Connection, place: Place) -> None:
    """Write all of a place; that of no journal is forgotten."""
    if place.journal is None:
        connection.execute("DELETE FROM progress WHERE name IN (?, ?, ?)", (_ID, _POSITION, _GAP))
        return
    rows = ((_ID, place.journal), (_POSITION, place.position), (_GAP, int(place.gap)))
    connection.executemany(_PUT, rows)


def put_position(connection: sqlite3.Connection, position: int) -> None:
    """Write how far the file has come."""
    connection.execute(_PUT, (_POSITION, position))
