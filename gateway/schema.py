"""The state file: its tables, its version, and opening it safely.

SQLite in WAL mode: readers never wait for the writer. A commit is in the write-ahead
log when it returns, which a killed process survives; a power cut it survives once
the log is synced: within the commit (`strict`), or soon after by upkeep.py. The log
is written back into the file by upkeep.py too, never in the way of a commit.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from gateway import reserve
from gateway.errors import StoreCorrupt, StoreDamaged, StoreFailed, StoreInUse

SCHEMA_VERSION = 1
# The log is used again from its start once it is written back: keeping this much of it
# spares the file system from growing it again.
WAL_BYTES = 64 << 20
# Stored in the file's header, so that another program's database is not taken for ours.
_APPLICATION_ID = 0x504C4149  # "PLAI"
# What SQLite keeps beside a file.
_BESIDE = ("-wal", "-shm")
# Longest that a checkpoint, for which writes wait, itself waits for readers.
_PATIENCE_MS = 100
# What any program writes into the header of a file of its own.
_NUMBERS = ("application_id", "user_version")

TABLES = """
CREATE TABLE items (
    item_key INTEGER PRIMARY KEY,
    item_id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    domain TEXT NOT NULL,
    category TEXT NOT NULL,
    brand TEXT NOT NULL,
    price REAL,
    available INTEGER NOT NULL,
    provider TEXT NOT NULL,
    attributes TEXT NOT NULL,      -- a JSON object of strings
    upserted_ms INTEGER NOT NULL   -- when it came through the API; 0: seeded
) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,       -- order of arrival
    event_id TEXT,                 -- NULL where the caller gave none
    user_id TEXT NOT NULL,
    item_key INTEGER NOT NULL,     -- 0: none (a search)
    type INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    quantity REAL NOT NULL,
    price REAL,
    market TEXT NOT NULL,
    query TEXT
) STRICT;
CREATE TABLE embeddings (
    source TEXT NOT NULL,
    item_key INTEGER NOT NULL,
    version TEXT NOT NULL,         -- of the model that made the vector
    vector BLOB NOT NULL,          -- float32, little endian
    PRIMARY KEY (source, item_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE trends (
    market TEXT PRIMARY KEY,
    keys BLOB NOT NULL,            -- item keys, int64
    weights BLOB NOT NULL,         -- float64, decayed to time_ms
    time_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE progress (
    name TEXT PRIMARY KEY,         -- "trends": events.seq the table trends includes
    value INTEGER NOT NULL
) STRICT;
"""
# Weights that follow clicks. Made by the first that are kept, so that a file of a gateway
# without any is what it always was; a repaired file begins without them.
ADAPTED = """
CREATE TABLE IF NOT EXISTS adapted_weights (
    version INTEGER NOT NULL,      -- of the fusion artifact
    surface TEXT NOT NULL,
    learned TEXT NOT NULL,         -- the artifact's weights, a JSON object by source
    strengths TEXT NOT NULL,       -- scale times weight, likewise
    updates INTEGER NOT NULL,
    PRIMARY KEY (version, surface)
) STRICT, WITHOUT ROWID;
"""
# Made after bulk loading. It holds all that a shopper's history needs, so reading that
# touches no other page; and it is the second copy that salvage.py turns to.
BY_USER = "CREATE INDEX events_by_user ON events (user_id, time_ms, seq, item_key, type, event_id);"
BY_ID = "CREATE UNIQUE INDEX events_by_id ON events (event_id) WHERE event_id IS NOT NULL;"
INDEXES = f"{BY_USER} {BY_ID}"


def create(path: Path) -> sqlite3.Connection:
    """Make a new state file without indexes and return a connection; for bulk loading."""
    with _connected(path) as connection:
        connection.executescript(
            f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            f"{TABLES}"
        )
    return connection


def open_state(path: Path, *, strict: bool = True) -> sqlite3.Connection:
    """Open the state file for writing; an absent one, or one without tables, is made.

    `strict`: a commit returns only once it is synced. Raises StoreCorrupt,
    StoreDamaged or StoreFailed naming the file and what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _connected(path) as connection:
            _prepare(path, connection, strict=strict)
    except sqlite3.DatabaseError as error:
        if not reserve.give_back(path, error):
            raise _explained(path, error) from None
        return open_state(path, strict=strict)
    except OSError as error:
        raise StoreFailed(f"{path}: cannot be opened ({error.strerror})") from None
    return connection


def _prepare(path: Path, connection: sqlite3.Connection, *, strict: bool) -> None:
    if _holds_nothing(connection):
        connection.executescript("PRAGMA journal_mode = WAL;")
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {_APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; {TABLES} {INDEXES} COMMIT;"
        )
    _check(path, connection)
    connection.executescript(
        f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {'FULL' if strict else 'NORMAL'};"
        f"PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {WAL_BYTES};"
    )
    connection.execute("SELECT * FROM progress").fetchall()  # makes the log, if it is new


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a further connection that only reads; sees every commit made before its query."""
    with _connected(path) as connection:
        connection.execute("PRAGMA query_only = ON")
    return connection


def write_back(path: Path) -> sqlite3.Connection:
    """Open a further connection for checkpoints: copying the log into the file.

    Where all others have to wait for one it gives up after a moment: a backup reads for long.
    """
    connection = _connect(path)
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    return connection


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the file's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def put_in_place(draft: Path, path: Path) -> None:
    """Have a finished file take the place of one that nobody uses, in one rename.

    Raises OSError.
    """
    for suffix in _BESIDE:  # of the file that goes: the new one must not take them for its own
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.rename(path)


def lock(path: Path) -> int:
    """Hold the state file for this process. Close the handle to let go.

    The kernel lets go when the process dies, however it dies. Raises StoreInUse, and
    StoreFailed where it cannot be told whether the file is held.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(handle)
            raise
    except BlockingIOError:
        raise StoreInUse(
            f"{path}: held by another gateway; stop it, or give this one its own state file"
        ) from None
    except OSError as error:
        raise StoreFailed(
            f"{beside}: cannot be locked ({error.strerror}); is the directory writable, and is "
            "there room?"
        ) from None
    return handle


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection, which stays open unless the block fails."""
    with ExitStack() as failed:
        yield failed.enter_context(closing(_connect(path)))
        failed.pop_all()


def _connect(path: Path) -> sqlite3.Connection:
    # Used by one thread at a time, which SQLite's own mutex need not know.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


def _holds_nothing(connection: sqlite3.Connection) -> bool:
    """Say whether nobody has written anything yet.

    A first start that was cut short, by a full disk or a kill, leaves a file that is not
    empty and has no tables: the next one must be able to go on.
    """
    numbers = [connection.execute(f"PRAGMA {n}").fetchone()[0] for n in _NUMBERS]
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not any((*numbers, tables))


def _check(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise StoreCorrupt(
            f"{path}: a SQLite file, but not a Plait state file; name another path, "
            "it was left as it is"
        )
    if version != SCHEMA_VERSION:
        raise StoreCorrupt(
            f"{path}: schema version {version}, this release reads {SCHEMA_VERSION}; "
            "start the release that wrote it, or seed a new file"
        )


def _explained(path: Path, error: sqlite3.DatabaseError) -> StoreDamaged | StoreFailed:
    if isinstance(error, sqlite3.OperationalError):
        return StoreFailed(
            f"{path}: cannot be opened ({error}); is the directory writable, and is there room?"
        )
    return StoreDamaged(f"{path}: damaged or not a state file ({error})")
