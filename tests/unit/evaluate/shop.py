"""A small shop with two groups of shoppers, as a dataset on disk."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from models.data.dataset import DatasetInfo, write_dataset
from models.data.importers.base import complete_events, complete_items, numbered, with_keys

START = datetime(2024, 1, 1, tzinfo=UTC)
USERS, ITEMS, DAYS = 60, 40, 30


# When the last items come, where some come late: after training, before the test.
LATE_DAY = 24


def write_shop(path: Path, *, changes: int = DAYS, late: int = 0, visit: int = 3) -> None:
    """Two groups of shoppers, each with its own half of the items, for a month.

    From day `changes` on everybody takes the same other items. The last `late` items
    are sold from day LATE_DAY on, and then they alone. A visit holds `visit` items.
    """
    rng = np.random.default_rng(5)
    ids = [str(i + 1) for i in range(ITEMS)]
    items = complete_items(
        pl.DataFrame(
            {"item_id": ids, "domain": ["DELI" if i % 2 else "DRUG" for i in range(ITEMS)]}
        )
    )
    rows = []
    for user in range(USERS):
        mine = np.arange(user % 2, ITEMS, 2)
        for day in range(0, DAYS, 3):
            new = mine >= ITEMS - late
            there = mine[new == (day >= LATE_DAY)] if late else mine
            for place, item in enumerate(rng.choice(there, visit, replace=False)):
                item = item if day < changes else place  # noqa: PLW2901
                when = START + timedelta(days=day, minutes=place)
                rows.append((f"u{user:02d}", ids[item], when))
    frame = pl.DataFrame(
        rows,
        schema={"user_id": pl.String(), "item_id": pl.String(), "time": pl.Datetime("us", "UTC")},
        orient="row",
    )
    events = complete_events(numbered(with_keys(frame, items)))
    info = DatasetInfo("shop", "made by hand", "time")
    write_dataset(path, items=items, events=events, info=info)
