"""A shop where everything happens that events can tell: what trainers and the gateway both read.

Looks, clicks, carts, purchases, likes and dislikes in two markets, items without a price,
brand or kind, items that are sold out, old customers, and visits that begin shortly before
MOMENT and go on after it, in which shoppers come back to what they saw.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.data.dataset import Dataset, DatasetInfo, write_dataset
from models.data.importers.base import complete_events, complete_items, numbered, with_keys

# When questions are asked: in the middle of a day.
MOMENT = datetime(2024, 6, 1, 13, 30, tzinfo=UTC)
DAYS = 80
REGULARS, VISITORS = 40, 24
PER_AISLE = 40
AISLES = {
    "YOGURT": ("DAIRY", ("strawberry yogurt", "greek yogurt", "vanilla yogurt drink")),
    "PASTA": ("GROCERY", ("dry noodles", "egg spaghetti", "tomato pasta sauce")),
    "DOG FOOD": ("PETS", ("dry dog food", "canned dog food", "dog biscuits")),
    "SHAMPOO": ("DRUG", ("dry hair shampoo", "baby shampoo", "hair conditioner")),
}
_KINDS = ("view", "click", "cart", "purchase", "like")
Row = dict[str, Any]


def lively(path: Path) -> Dataset:
    """Write the shop to `path`; a quarter of its events come after MOMENT."""
    random = np.random.default_rng(7)
    items = _items(random)
    ids, aisle = items["item_id"].to_list(), np.arange(items.height) // PER_AISLE
    appeal = 1.0 / (1 + np.arange(len(ids)) % PER_AISLE)
    rows = []
    for user in range(REGULARS):
        liked = random.choice(len(AISLES), 2, replace=False)
        chance = appeal * np.where(np.isin(aisle, liked), 1.0, 0.05)
        rows += _regular(f"r{user:02}", ids, chance / chance.sum(), random)
    for user in range(VISITORS):
        chance = appeal * np.where(aisle == user % len(AISLES), 1.0, 0.02)
        rows += _visit(f"v{user:02}", ids, chance / chance.sum(), random)
    schema = {"price": pl.Float64(), "query": pl.String(), "time": pl.Datetime("us", "UTC")}
    frame = pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)
    frame = frame.sort("user_id", "time", maintain_order=True)
    events = complete_events(numbered(with_keys(frame, items)))
    info = DatasetInfo("lively", "made for tests", "time")
    return write_dataset(path, items=items, events=events, info=info)


def _regular(user: str, ids: list[str], chance: np.ndarray, random: np.random.Generator):
    """Fifteen visits before MOMENT, five after it; with opinions, and searches typed."""
    days = np.concatenate([-DAYS * random.random(15), 0.05 + 20 * random.random(5)])
    for day in np.sort(days):
        start = MOMENT + timedelta(days=float(day))
        for place, item in enumerate(random.choice(len(ids), 4, p=chance)):
            kind = str(random.choice(_KINDS, p=(0.2, 0.1, 0.1, 0.55, 0.05)))
            words = AISLES[[*AISLES][item // PER_AISLE]][1][item % 3]
            query = words if kind == "click" else None
            yield _row(user, ids[item], kind, start + timedelta(minutes=place), random, query)
    for item in random.choice(len(ids), 3, replace=False, p=chance):
        when = MOMENT - timedelta(days=float(random.random() * 30) + 1)
        yield _row(user, ids[item], "dislike", when, random)
        if item % 3 == 0:  # thought better of it
            yield _row(user, ids[item], "like", when + timedelta(hours=9), random)


def _visit(user: str, ids: list[str], chance: np.ndarray, random: np.random.Generator):
    """A visit that began before MOMENT and goes on, by a shopper who never came before."""
    shown = [ids[item] for item in random.choice(len(ids), 12, replace=False, p=chance)]
    told = 5
    before = [*shown[:told], *random.choice(shown[:told], int(random.integers(4)))]
    for number, item in enumerate(before):
        when = MOMENT - timedelta(minutes=2 * (len(before) - number))
        kind = _KINDS[number % 4]
        yield _row(user, item, kind, when, random)
    if random.random() < 0.7:  # not this one, thank you
        yield _row(user, shown[-1], "dislike", MOMENT - timedelta(minutes=1), random)
    for number, item in enumerate(shown[told:]):
        yield _row(user, item, "purchase", MOMENT + timedelta(minutes=2 * number), random)


def _row(
    user: str, item: str, kind: str, when: datetime, random: np.random.Generator,
    query: str | None = None,
) -> Row:  # fmt: skip
    market = "north" if user[-1] in "02468" else "south"
    quantity = float(random.integers(1, 9))
    return {
        "user_id": user, "item_id": item, "type": kind, "time": when, "quantity": quantity,
        "price": None, "market": market, "query": query,
    }  # fmt: skip


def _items(random: np.random.Generator) -> pl.DataFrame:
    rows: list[Row] = []
    for number, (category, (domain, kinds)) in enumerate(AISLES.items()):
        for place in range(PER_AISLE):
            odd = place % 13 == 5  # not all that is sold is described
            rows.append(
                {
                    "item_id": str(1000 * (number + 1) + place),
                    "title": f"{kinds[place % 3]}, {2 + place} oz",
                    "domain": domain,
                    "category": "" if odd else category,
                    "brand": "" if odd else f"brand {place % 4}",
                    "provider": f"maker {place % 7}",
                    "price": None if odd else float(1 + 9 * random.random()),
                    "available": place % 9 != 4,
                }
            )
    return complete_items(pl.DataFrame(rows))
