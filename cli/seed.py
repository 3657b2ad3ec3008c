"""`plait seed`: a dataset's items and events become the gateway's memory.

Done once, before the gateway's first start; afterwards events and items come in
through the API. A dataset usually ends long ago, and a gateway weighs events by
their age, so the usual way is to move all times forward by one constant.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import polars as pl

from cli.options import example
from cli.output import console, counted, print_json
from cli.writable import check_directory
from gateway.seed import EventBatch, check, seed
from gateway.types import Item
from models.data.dataset import Dataset, load_dataset

DEFAULT_STATE = Path("var/state.sqlite")
_BATCH = 50_000
_ITEMS = 4_096
_IMAGE = "image_vector"


@dataclass(frozen=True, slots=True)
class Seeded:
    """What lies in the store now."""

    items: int
    events: int
    users: int
    # What was added to every time; None where the times are the dataset's own.
    shift: timedelta | None
    note: str


@click.command(
    epilog=example(
        "plait seed var/data/complete-journey",
        "plait seed var/data/complete-journey --state var/state.sqlite --replace --keep-times",
    )
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=DEFAULT_STATE,
    show_default=True,
    help="The gateway's store; no gateway may be running on it.",
)
@click.option(
    "--align-now/--keep-times",
    default=True,
    show_default=True,
    help="Move all times by one constant, so that the last event is now.",
)
@click.option("--replace", is_flag=True, help="Replace what the store holds.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")
def seed_command(
    dataset: Path, state: Path, *, align_now: bool, replace: bool, as_json: bool
) -> None:
    """Load the items and events of DATASET into the gateway's store."""
    if dataset.exists():  # reading a large one takes a while
        check_directory(state.resolve().parent)
        check(state, replace=replace)
    done = seed_state(load_dataset(dataset), state, align_now=align_now, replace=replace)
    if as_json:
        print_json(
            {
                "state": str(state),
                "items": done.items,
                "events": done.events,
                "users": done.users,
                "shift_seconds": None if done.shift is None else done.shift.total_seconds(),
            }
        )
        return
    console().print(describe(done, state), soft_wrap=True)


def describe(done: Seeded, state: Path) -> str:
    """Return what was done, in words."""
    return (
        f"{state}: {counted(done.items, 'item')}, {counted(done.events, 'event')} of "
        f"{counted(done.users, 'user')}. {done.note}"
    )


def seed_state(
    dataset: Dataset,
    state: Path,
    *,
    align_now: bool = True,
    replace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Seeded:
    """Write a dataset into a new state file; raises gateway.errors.StoreError."""
    state.parent.mkdir(parents=True, exist_ok=True)
    events, shift, note = _timed(dataset.events, align_now=align_now)
    seed(state, _items(dataset.items), _batches(events), replace=replace, progress=progress)
    users = dataset.events["user_id"].n_unique()
    return Seeded(dataset.items.height, events.height, users, shift, note)


def _timed(events: pl.DataFrame, *, align_now: bool) -> tuple[pl.DataFrame, timedelta | None, str]:
    """Return events with `time_ms`, by user and time; what was added; and that in words."""
    now = datetime.now(UTC)
    if events["time"].null_count():
        # Without times only the order within a user is known; keep that.
        from_end = pl.col("order").max().over("user_id") - pl.col("order")
        made = events.with_columns(time_ms=_milliseconds(now) - 60_000 * from_end)
        note = "The dataset has no times: a user's events are set one minute apart, the last now."
        return made.sort("user_id", "order"), None, note
    last = events["time"].max()
    shift = now - last if align_now and isinstance(last, datetime) else None
    added = round(shift.total_seconds() * 1000) if shift else 0
    made = events.with_columns(time_ms=pl.col("time").dt.epoch("ms") + added)
    if shift is None:
        return made.sort("user_id", "time_ms", "order"), None, "Times are the dataset's own."
    note = f"All times were moved {_in_words(shift)}, so that the last event is now."
    return made.sort("user_id", "time_ms", "order"), shift, note


def _in_words(shift: timedelta) -> str:
    """Say which way, and by how many hours or days; a part of a day is not another one."""
    hours = round(abs(shift) / timedelta(hours=1))
    much = counted(hours, "hour") if hours < 48 else counted(round(hours / 24), "day")
    return f"{'back' if shift < timedelta() else 'forward'} by {much}"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _items(items: pl.DataFrame) -> Iterator[Item]:
    for part in items.iter_slices(_ITEMS):
        plain = part.select(pl.exclude(_IMAGE))
        for row, image in zip(plain.iter_rows(named=True), _images(part), strict=True):
            yield _item(row, image)


def _images(items: pl.DataFrame) -> list[bytes]:
    """Return the image vector of each item as the store keeps it; empty where there is none."""
    if _IMAGE not in items.columns:
        return [b""] * items.height
    vectors = items[_IMAGE]
    return [b"" if v is None else v.to_numpy().astype("<f4").tobytes() for v in vectors]


def _item(row: dict[str, Any], image: bytes) -> Item:
    attributes: dict[str, Any] = json.loads(row["attributes"] or "{}")
    return Item(
        item_id=row["item_id"],
        key=row["item_key"],
        title=row["title"],
        text=row["text"],
        domain=row["domain"],
        category=row["category"],
        brand=row["brand"],
        price=row["price"],
        available=row["available"],
        provider=row["provider"],
        attributes={name: str(value) for name, value in attributes.items()},
        image=image,
    )


def _batches(events: pl.DataFrame) -> Iterator[EventBatch]:
    for part in events.iter_slices(_BATCH):
        yield EventBatch(
            user_ids=part["user_id"].to_list(),
            item_keys=part["item_key"].to_list(),
            types=part["type"].to_list(),
            times_ms=part["time_ms"].to_list(),
            quantities=part["quantity"].to_list(),
            prices=part["price"].to_list(),
            markets=part["market"].to_list(),
            queries=part["query"].to_list(),
        )
