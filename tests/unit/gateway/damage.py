"""Damage as disks do it: pages of a state file overwritten with noise."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

PAGE = 4096


def spoil(path: Path, numbers: list[int]) -> None:
    """Overwrite these pages, counted from 1."""
    noise = random.Random(0)
    raw = bytearray(path.read_bytes())
    for number in numbers:
        raw[(number - 1) * PAGE : number * PAGE] = noise.randbytes(PAGE)
    path.write_bytes(raw)


def pages_of(path: Path, name: str) -> list[int]:
    """Return the pages of a table or index, its root first."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            query = "SELECT pageno FROM dbstat WHERE name = ? ORDER BY path"
            return [row[0] for row in connection.execute(query, (name,))]
        except sqlite3.OperationalError:  # this SQLite was built without dbstat
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            return [row[0] for row in connection.execute(query, (name,))]
