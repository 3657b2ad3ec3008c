"""Items and events as rows of the state file: the statements, and both directions.

One place knows the order of the columns; the running store and the bulk loader
use the same statements.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.types import Event, EventType, Item

ITEM_COLUMNS = (
    "item_key, item_id, title, text, domain, category, brand, price, available, provider, "
    "attributes"
)
UPSERT_ITEM = (
    f"INSERT OR REPLACE INTO items ({ITEM_COLUMNS}, upserted_ms) "  # noqa: S608 -- constants only
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Images lie among the vectors, under this in the place of a source; no version made them.
IMAGE = "item.image"
PUT_VECTOR = "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)"
RECORD_EVENT = (
    "INSERT INTO events (event_id, user_id, item_key, type, time_ms, quantity, price, market, "
    "query) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (event_id) WHERE event_id IS NOT NULL DO NOTHING"
)

# The numbering goes on from the newest event, so that one stays, as nobody's and of nothing.
_EMPTY_NEWEST = (
    "UPDATE events SET event_id = NULL, user_id = '', item_key = 0, type = ?, quantity = 1, "
    "price = NULL, market = '', query = NULL "
    "WHERE seq = (SELECT max(seq) FROM events) AND user_id = ?"
)
_DELETE_SOME = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE user_id = ? LIMIT ?)"


def item_row(item: Item, upserted_ms: int) -> tuple[Any, ...]:
    """Return the values of UPSERT_ITEM; `upserted_ms`: when it came through the API, or 0."""
    attributes = json.dumps(dict(item.attributes), ensure_ascii=False) if item.attributes else "{}"
    return (
        item.key, item.item_id, item.title, item.text, item.domain, item.category, item.brand,
        item.price, int(item.available), item.provider, attributes, upserted_ms,
    )  # fmt: skip


def image_rows(items: Sequence[Item]) -> list[tuple[Any, ...]]:
    """Return the values of PUT_VECTOR for the images there are."""
    return [(IMAGE, item.key, "", item.image) for item in items if item.image]


def read_item(row: tuple[Any, ...]) -> Item:
    """Build an item from the values of ITEM_COLUMNS; raises ValueError on bad attributes."""
    key, item_id, title, text, domain, category, brand, price, available, provider, attributes = row
    return Item(
        item_id=item_id,
        key=key,
        title=title,
        text=text,
        domain=domain,
        category=category,
        brand=brand,
        price=price,
        available=bool(available),
        provider=provider,
        attributes=json.loads(attributes) if attributes != "{}" else {},
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """Return the values of RECORD_EVENT."""
    return (
        event.event_id or None, event.user_id, event.key, int(event.type), event.time_ms,
        event.quantity, event.price, event.market, event.query or None,
    )  # fmt: skip


def delete_events_of(connection: sqlite3.Connection, user_id: str, most: int) -> int:
    """Delete a shopper's events, at most `most`, and return how many; none are left below it.

    Their bytes are overwritten, where otherwise they would stay until others need the room.
    """
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        emptied = connection.execute(_EMPTY_NEWEST, (int(EventType.SEARCH), user_id)).rowcount
        return emptied + connection.execute(_DELETE_SOME, (user_id, most - emptied)).rowcount
    finally:
        connection.execute(f"PRAGMA secure_delete = {int(before)}")
