"""A small shop with tastes: what a trainer can learn something from within seconds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from models.data.dataset import keyed
from models.data.schema import EVENTS, ITEMS
from models.evaluate.popularity import PopularityEngine
from models.validation import hold_out, measure, tasks

AISLES = {
    "Yogurt": ("Dairy", ("strawberry yogurt", "greek yogurt", "vanilla yogurt drink")),
    "Pasta": ("Grocery", ("dry noodles", "egg spaghetti", "tomato pasta sauce")),
    "Dog food": ("Pets", ("dry dog food", "canned dog food", "dog biscuits")),
    "Shampoo": ("Drug store", ("dry hair shampoo", "baby shampoo", "hair conditioner")),
}
_MADE = ("user_id", "item_key", "type", "time", "order")
_START = datetime(2024, 1, 1, tzinfo=UTC)


def shop(users: int = 80, per_aisle: int = 12, events_each: int = 20, seed: int = 0):
    """Return (items, events): users buy mostly from two aisles, some things again."""
    random = np.random.default_rng(seed)
    items = _items(per_aisle, random)
    keys = items["item_key"].to_numpy()
    aisle = np.arange(len(keys)) // per_aisle
    # Some items are bought more than others, in every aisle.
    appeal = 1.0 / (1 + np.arange(len(keys)) % per_aisle)
    rows = []
    for user in range(users):
        liked = random.choice(len(AISLES), 2, replace=False)
        chance = appeal * np.where(np.isin(aisle, liked), 1.0, 0.03)
        bought = random.choice(keys, events_each, p=chance / chance.sum())
        days = np.sort(random.random(events_each)) * 200
        rows += [
            (f"u{user:03}", int(key), "purchase", _START + timedelta(days=float(day)), place)
            for place, (key, day) in enumerate(zip(bought, days, strict=True))
        ]
    events = pl.DataFrame(
        rows, orient="row", schema={n: EVENTS[n] for n in _MADE}
    ).with_columns(
        quantity=pl.lit(1.0),
        price=pl.lit(None, pl.Float64),
        market=pl.lit("all"),
        query=pl.lit(None, pl.String),
        split=pl.lit(None, pl.String),
    )  # fmt: skip
    return items, events.select(list(EVENTS))


def popularity(items, events):
    """Return what the most popular items reach where the models are measured."""
    held = hold_out(events)
    both = tasks(held, users=60, seed=0)
    return measure(PopularityEngine(held.known), both, items.height)


def _items(per_aisle, random):
    rows = []
    for category, (domain, kinds) in AISLES.items():
        for number in range(per_aisle):
            title = f"{kinds[number % 3]}, {2 + number} oz"
            rows.append((f"{category}-{number}", title, domain, category, f"brand {number % 4}"))
    named = pl.DataFrame(
        rows, orient="row", schema=["item_id", "title", "domain", "category", "brand"]
    )
    filled = named.with_columns(
        text=pl.col("title"),
        provider=pl.lit(""),
        price=pl.Series(1 + 9 * random.random(len(rows))),
        attributes=pl.lit("{}"),
        available=pl.lit(value=True),
    )
    return keyed(filled).select(list(ITEMS)).sort("item_key")
