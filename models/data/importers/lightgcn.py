"""Given splits as LightGCN publishes them: train.txt and test.txt, a line for each user.

"user item item ...", no order and no times: an event is only "this user, this
item". The split is kept in the events' column `split`.
"""

from pathlib import Path

import polars as pl

from models.data.dataset import DatasetInfo
from models.data.errors import SourceError
from models.data.importers.base import (
    Imported,
    Options,
    complete_events,
    complete_items,
    numbered,
    report_of,
    require_events,
    unique_events,
    with_keys,
)
from models.data.importers.lines import user_items
from models.data.report import CleaningStep


def read(source: Path, options: Options) -> Imported:
    """Read train.txt, test.txt and, where there is one, valid.txt of a directory.

    Raises SourceError naming the file and line.
    """
    parts, empty = [], 0
    for split in ("train", "valid", "test"):
        file = source / f"{split}.txt"
        if not file.is_file():
            if split == "valid":
                continue
            raise SourceError(f"{file}: not found; the format needs train.txt and test.txt")
        pairs, without = user_items(file)
        empty += without
        parts.append(pairs.with_columns(split=pl.lit(split)))
    pairs = pl.concat(parts)
    require_events(pairs, source)
    step = CleaningStep("events read", pairs.height, 0, "all files together")
    pairs, duplicates = unique_events(pairs, ["user_id", "item_id", "split"])
    shared = pairs.height - pairs.select("user_id", "item_id").n_unique()
    name = options.name or source.resolve().name
    ids = pairs.select(pl.col("item_id").unique(maintain_order=True))
    items = complete_items(ids.with_columns(domain=pl.lit(name)))
    events = complete_events(numbered(with_keys(pairs, items)))
    notes = (
        "the order within a user is the file's and means nothing",
        f"{empty:,} lines are users without items",
        f"{shared:,} pairs of user and item stand in more than one split, as given",
    )
    info = DatasetInfo(
        name=name,
        source=f"{name}: train and test as given, in LightGCN's text format",
        times="none",
        report=report_of(step, duplicates),
        notes=notes,
    )
    return Imported(items, events, info)
