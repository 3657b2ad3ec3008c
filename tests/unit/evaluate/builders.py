"""Small events, items and tasks, written out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from models.data.schema import EVENTS, ITEMS
from models.evaluate.metrics import Ragged
from models.evaluate.task import make_task

START = datetime(2024, 1, 1, tzinfo=UTC)


def ragged(*lists: list[int]) -> Ragged:
    starts = np.cumsum([0, *map(len, lists)])
    flat = [key for keys in lists for key in keys]
    return Ragged(np.array(flat, np.int64), starts.astype(np.int64))


def events(*rows: tuple[str, int, float], market: str = "north") -> pl.DataFrame:
    """Purchases from (user, item key, day)."""
    table = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "item_key": [key for _, key, _ in rows],
            "type": "purchase",
            "time": [START + timedelta(days=day) for _, _, day in rows],
            "order": list(range(len(rows))),
            "quantity": 1.0,
            "price": None,
            "market": market,
            "query": None,
            "split": None,
        },
        schema_overrides=EVENTS,
    )
    return table.select(list(EVENTS))


def items(*rows: tuple[int, str, str, str]) -> pl.DataFrame:
    """Items from (key, domain, category, provider)."""
    table = pl.DataFrame(
        {
            "item_key": [key for key, *_ in rows],
            "item_id": [str(key) for key, *_ in rows],
            "domain": [domain for _, domain, _, _ in rows],
            "category": [category for _, _, category, _ in rows],
            "provider": [provider for *_, provider in rows],
            "title": "",
            "text": "",
            "brand": "",
            "price": 1.0,
            "attributes": "{}",
            "available": True,
        },
        schema_overrides=ITEMS,
    )
    return table.select(list(ITEMS))


def task_of(histories: dict[str, list[int]], targets: dict[str, list[int]]):
    """A task whose histories lie on day 0, 1, ... and whose targets on day 100."""
    known = events(
        *((u, key, day) for u, keys in histories.items() for day, key in enumerate(keys))
    )
    wanted = events(*((u, key, 100) for u, keys in targets.items() for key in keys))
    return make_task(known, wanted, exclude_seen=False)
