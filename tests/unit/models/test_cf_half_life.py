"""How fast events fade in cf's training follows what they foresee, where nothing is set."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from artifacts.loader import load
from models.cf.config import HALF_LIFE_DAYS, Config
from models.cf.train import train, validate
from models.data.schema import EVENTS
from tests.support.shop import shop

START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS, EACH, DAYS = 8, 12, 1500
TINY = Config(regularisations=(20.0,), top_weights=32, validation_users=100)


def bought(*, shifting: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each buys of one kind for years; or, where tastes shift, lately what goes with another."""
    items = shop(per_aisle=EACH)[0]
    keys = items["item_key"].to_numpy().reshape(KINDS, -1)
    random = np.random.default_rng(0)
    rows = []
    for user in range(80):
        for place, day in enumerate((np.sort(random.random(10)) * DAYS).tolist()):
            step = place % 2 * (2 if day > DAYS * 0.7 else 1) if shifting else 0
            strange = not shifting and random.random() < 0.3
            kind = random.integers(KINDS) if strange else (user + step) % KINDS
            key = int(random.choice(keys[kind]))
            rows.append((f"u{user:02}", key, "purchase", START + timedelta(days=day), place))
    made = ("user_id", "item_key", "type", "time", "order")
    events = pl.DataFrame(rows, orient="row", schema={name: EVENTS[name] for name in made})
    rest = [pl.lit(None, kind).alias(name) for name, kind in EVENTS.items() if name not in made]
    filled = events.with_columns(rest).with_columns(quantity=pl.lit(1.0), market=pl.lit("all"))
    return items, filled.select(list(EVENTS))


@pytest.mark.parametrize("shifting", [False, True])
def test_events_fade_where_that_foresees_more(shifting, tmp_path):
    items, events = bought(shifting=shifting)
    found = validate(TINY, items, events)[0].half_life_days
    assert found == (HALF_LIFE_DAYS if shifting else 0.0)
    manifest = load(train(TINY, items, events, tmp_path)).manifest
    assert manifest.metrics["half_life_days"] == found


def test_a_half_life_that_is_set_stays():
    items, events = bought(shifting=False)
    assert validate(replace(TINY, half_life_days=30.0), items, events)[0].half_life_days == 30.0
