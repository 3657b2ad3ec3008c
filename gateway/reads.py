"""What is read from the state file: plain functions over one connection.

At start they run before anything is served; the history of a shopper who is not
in memory is read in the store's reader thread.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.fusion.types import Floats, Ints
from gateway.rows import IMAGE, ITEM_COLUMNS, read_item
from gateway.types import EventType, Item, Times, Trail, Types

Doubles = npt.NDArray[np.float64]
# Bounds what one shopper may hold in memory: items bought, and items disliked, the latest.
MOST_KEYS = 5_000
# And of which there is an opinion, of either kind.
MOST_JUDGED = 2 * MOST_KEYS
_PURCHASED = (
    "SELECT item_key FROM events WHERE user_id = ? AND type = ? GROUP BY item_key "
    "ORDER BY max(time_ms) DESC LIMIT ?"
)
# The newest like or dislike of an item decides, of the same moment the last to come.
_JUDGED = (
    "SELECT item_key, time_ms, type FROM (SELECT item_key, type, time_ms, row_number() OVER ("
    "PARTITION BY item_key ORDER BY time_ms DESC, seq DESC) AS place FROM events "
    "WHERE user_id = ? AND type IN (?, ?)) WHERE place = 1 ORDER BY time_ms DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class MarketEvents:
    """Columns of E events, as trends read them."""

    markets: list[str]  # [E]
    keys: Ints  # [E]
    types: Types  # [E]
    times: Times  # [E]
    quantities: Floats  # [E]
    last_seq: int  # of the newest event in the file


@dataclass(frozen=True, slots=True)
class MarketTrend:
    """Decayed popularity of m items in one market, as of one moment."""

    keys: Ints  # [m]
    weights: Doubles  # [m]
    time_ms: int

    def row(self, market: str) -> tuple[str, bytes, bytes, int]:
        """Return it as the table trends keeps it."""
        keys, weights = self.keys.astype("<i8"), self.weights.astype("<f8")
        return market, keys.tobytes(), weights.tobytes(), self.time_ms


class StoredEvent(NamedTuple):
    """One event as it was recorded; `key` 0: it names no item, `price` None: unknown."""

    key: int
    type: int
    time_ms: int
    event_id: str | None
    price: float | None


@dataclass(frozen=True, slots=True)
class AdaptedRow:
    """The weights of a surface as they were adapted, by source."""

    version: int  # of the fusion artifact
    surface: str
    learned: dict[str, float]  # the artifact's
    strengths: dict[str, float]
    updates: int

    def row(self) -> tuple[int, str, str, str, int]:
        """Return it as the table adapted_weights keeps it."""
        learned, strengths = json.dumps(self.learned), json.dumps(self.strengths)
        return self.version, self.surface, learned, strengths, self.updates


def adapted(connection: sqlite3.Connection) -> list[AdaptedRow]:
    """Return all that is kept; a row that makes no sense is left out, it is learned again."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'adapted_weights'"
    if connection.execute(known).fetchone() is None:
        return []
    found = []
    for version, surface, learned, strengths, updates in connection.execute(
        "SELECT version, surface, learned, strengths, updates FROM adapted_weights"
    ):
        row = AdaptedRow(version, surface, json.loads(learned), json.loads(strengths), updates)
        values = [*row.strengths.values(), *row.learned.values()]
        if row.learned.keys() == row.strengths.keys() and all(0 <= v < 1e3 for v in values):
            found.append(row)
    return found


def items(connection: sqlite3.Connection) -> Iterator[Item]:
    """Yield every item, oldest first: what was seeded, then what came through the API."""
    select = f"SELECT {ITEM_COLUMNS} FROM items"  # noqa: S608 -- constants only
    seen = connection.execute("SELECT item_key, vector FROM embeddings WHERE source = ?", (IMAGE,))
    images: dict[int, bytes] = dict(seen.fetchall())
    # Two scans, so that a million seeded items are not sorted.
    for which in ("WHERE upserted_ms = 0", "WHERE upserted_ms != 0 ORDER BY upserted_ms, rowid"):
        for row in connection.execute(f"{select} {which}"):
            item = read_item(row)
            image = images.get(item.key)
            yield replace(item, image=image) if image else item


def item_keys(connection: sqlite3.Connection) -> Ints:
    """Return the key of every item, int64 [n]."""
    rows = connection.execute("SELECT item_key FROM items")
    return np.fromiter((key for (key,) in rows), np.int64)


def stored_keys(connection: sqlite3.Connection, keys: Ints) -> Ints:
    """Return which of these items there are: seeded ones, then the others, the latest last."""
    rows = connection.execute(
        "SELECT item_key FROM items WHERE item_key IN (SELECT value FROM json_each(?)) "
        "ORDER BY upserted_ms, rowid",
        (json.dumps(keys.tolist()),),
    )
    return np.fromiter((key for (key,) in rows), np.int64)


def image_keys(connection: sqlite3.Connection) -> Ints:
    """Return the key of every item of which there is an image, int64 [n]."""
    rows = connection.execute("SELECT item_key FROM embeddings WHERE source = ?", (IMAGE,))
    return np.fromiter((key for (key,) in rows), np.int64)


def embeddings(connection: sqlite3.Connection, source: str) -> dict[int, tuple[str, Floats]]:
    """Return the vectors of new items: key -> (model version, float32 [d])."""
    rows = connection.execute(
        "SELECT item_key, version, vector FROM embeddings WHERE source = ?", (source,)
    )
    return {key: (version, np.frombuffer(raw, "<f4")) for key, version, raw in rows}


def trends(connection: sqlite3.Connection) -> tuple[dict[str, MarketTrend], int]:
    """Return the snapshot of each market, and the last event the snapshots include."""
    rows = connection.execute("SELECT market, keys, weights, time_ms FROM trends")
    found = {
        market: MarketTrend(np.frombuffer(keys, "<i8"), np.frombuffer(weights, "<f8"), time_ms)
        for market, keys, weights, time_ms in rows
    }
    row = connection.execute("SELECT value FROM progress WHERE name = 'trends'").fetchone()
    return found, row[0] if row else 0


def middle_ms(connection: sqlite3.Connection) -> int | None:
    """Return when the event in the middle of all, as they came, happened; None: there is none."""
    row = connection.execute(
        # Each end by itself: both in one query read through all events.
        "SELECT time_ms FROM events WHERE seq >= "
        "((SELECT min(seq) FROM events) + (SELECT max(seq) FROM events)) / 2 "
        "ORDER BY seq LIMIT 1"
    ).fetchone()
    return None if row is None else int(row[0])


def events_after(connection: sqlite3.Connection, seq: int, since_ms: int) -> MarketEvents:
    """Return the events that arrived after `seq` and happened since `since_ms`."""
    rows = connection.execute(
        "SELECT market, item_key, type, time_ms, quantity FROM events "
        "WHERE seq > ? AND time_ms >= ? AND item_key != 0",
        (seq, since_ms),
    ).fetchall()
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    return MarketEvents(
        markets=[row[0] for row in rows],
        keys=np.array([row[1] for row in rows], np.int64),
        types=np.array([row[2] for row in rows], np.int8),
        times=np.array([row[3] for row in rows], np.int64),
        quantities=np.array([row[4] for row in rows], np.float32),
        last_seq=last,
    )


def trail(connection: sqlite3.Connection, user_id: str, length: int) -> Trail:
    """Return the newest `length` events of a shopper that name an item."""
    events = connection.execute(
        "SELECT item_key, type, time_ms, event_id, seq, (SELECT max(seq) FROM events) "
        "FROM events WHERE user_id = ? AND item_key != 0 ORDER BY time_ms DESC, seq DESC LIMIT ?",
        (user_id, length),
    ).fetchall()
    events.reverse()
    bought = (user_id, int(EventType.PURCHASE), MOST_KEYS)
    purchased = connection.execute(_PURCHASED, bought).fetchall()
    like, dislike = int(EventType.LIKE), int(EventType.DISLIKE)
    judged = connection.execute(_JUDGED, (user_id, like, dislike, MOST_JUDGED)).fetchall()
    judged.reverse()
    disliked = [key for key, _, kind in judged if kind == dislike][-MOST_KEYS:]
    return Trail(
        keys=np.array([e[0] for e in events], np.int64),
        types=np.array([e[1] for e in events], np.int8),
        times=np.array([e[2] for e in events], np.int64),
        ids=np.array([hash(e[3]) if e[3] else -e[4] for e in events], np.int64),
        # The latest last, as trails.py adds to them and lets go of the first.
        purchased=np.array([p[0] for p in reversed(purchased)], np.int64),
        disliked=np.array(disliked, np.int64),
        judged=np.array([j[0] for j in judged], np.int64),
        judged_ms=np.array([j[1] for j in judged], np.int64),
        seen=events[0][5] if events else 0,
    )


def events_of(connection: sqlite3.Connection, user_id: str, most: int) -> list[StoredEvent]:
    """Return the newest events of a shopper, at most `most`, oldest first, searches included."""
    rows = connection.execute(
        "SELECT item_key, type, time_ms, event_id, price FROM events "
        "WHERE user_id = ? ORDER BY time_ms DESC, seq DESC LIMIT ?",
        (user_id, most),
    )
    found = [StoredEvent._make(row) for row in rows]
    found.reverse()
    return found
