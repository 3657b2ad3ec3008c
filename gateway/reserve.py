"""Room put aside beside the state file, so that a gateway starts on a disk that is full.

SQLite makes its log and the index of it anew at each start, and a disk without room for
them would turn a gateway that ranks and refuses events into none at all.
"""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

# What they take while nothing is written, several times over.
_BYTES = 256 << 10
# Where there is less, what is left is for events.
_LEAST_LEFT = 4 * _BYTES
# How SQLite says that there was no room for the log, and for its index.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE)


def keep(path: Path) -> None:
    """Put room aside where it is not yet, and nothing where there is none."""
    place = _place(path)
    with contextlib.suppress(OSError):
        if place.exists() or shutil.disk_usage(path.parent).free < _LEAST_LEFT:
            return
        try:
            with place.open("wb") as file:
                file.write(os.urandom(_BYTES))  # some file systems keep no zeros
        except OSError:
            place.unlink(missing_ok=True)


def give_back(path: Path, error: sqlite3.Error) -> bool:
    """Give the room back if that is what was missing; say whether to try again."""
    if getattr(error, "sqlite_errorcode", None) not in _NO_ROOM:
        return False
    try:
        _place(path).unlink()
    except OSError:
        return False
    return True


def _place(path: Path) -> Path:
    return path.with_name(f".{path.name}.reserve")
