"""Small datasets and files, made by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from models.data.dataset import Dataset, DatasetInfo, Times
from models.data.importers.base import complete_events, complete_items, numbered, with_keys

START = datetime(2024, 1, 1, tzinfo=UTC)


def items(*ids: str, domain: str = "all") -> pl.DataFrame:
    return complete_items(pl.DataFrame({"item_id": list(ids), "domain": [domain] * len(ids)}))


def dataset(
    rows: Sequence[tuple[str, str]],
    *,
    hours: Sequence[float] | None = None,
    types: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    times: Times | None = None,
) -> Dataset:
    """Make a dataset in memory from (user, item) rows in their order."""
    known = items(*dict.fromkeys(item for _, item in rows))
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")
    if hours is not None:
        clock = [START + timedelta(hours=h) for h in hours]
        frame = frame.with_columns(time=pl.Series(clock, dtype=pl.Datetime("us", "UTC")))
        frame = frame.sort("user_id", "time", maintain_order=True)
    if types is not None:
        frame = frame.with_columns(type=pl.Series(list(types)))
    if splits is not None:
        frame = frame.with_columns(split=pl.Series(list(splits)))
    events = complete_events(numbered(with_keys(frame, known)))
    info = DatasetInfo("test", "made by hand", times or ("time" if hours is not None else "order"))
    return Dataset(Path("made-by-hand"), known, events, None, info)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path
