"""What every importer shares: its options, its result, and the columns it may leave out.

An importer is one function, `read(source, options) -> Imported`. It fills in
only what its format knows; `complete_items` and `complete_events` add the rest
with the documented defaults, so no importer repeats the schema.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from models.data.dataset import DatasetInfo, keyed
from models.data.errors import SourceError
from models.data.report import CleaningStep, Report
from models.data.schema import EVENTS, ITEMS

MARKET = "all"  # the one market of sources that know none
_ITEM_DEFAULTS: Mapping[str, Any] = {
    "text": "",
    "domain": "all",
    "category": "",
    "brand": "",
    "provider": "",
    "price": None,
    "attributes": "{}",
    "available": True,
}
_EVENT_DEFAULTS: Mapping[str, Any] = {
    "type": "purchase",
    "time": None,
    "quantity": 1.0,
    "price": None,
    "market": MARKET,
    "query": None,
    "split": None,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may ask of an importer; formats refuse what they do not know."""

    # Items with fewer events are left out: fewer rows to train, but no new items.
    # None takes the format's own default.
    min_item_events: int | None = None
    # canonical field -> column of the source (csv, parquet)
    mapping: Mapping[str, str] = field(default_factory=dict)
    # Count unreadable rows and go on, instead of stopping at the first.
    skip_bad_rows: bool = False
    # Name of the dataset; None takes the source's.
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an importer hands over; frames as in models/data/schema.py."""

    items: pl.DataFrame
    events: pl.DataFrame
    info: DatasetInfo
    queries: pl.DataFrame | None = None


# The column item_id as `artifacts.keys.item_key` reads it.
SAME_ID = pl.col("item_id").str.normalize("NFC")

# What items have in common.
_KINDS = ("domain", "category", "brand", "provider")

Importer = Callable[[Path, Options], Imported]


def complete_items(items: pl.DataFrame) -> pl.DataFrame:
    """Add `item_key` and the missing columns to items that have at least `item_id`.

    Without a title the id is the title. Names of kinds are one name however their accents are
    encoded, as in the gateway's catalogue. Further columns stay, behind the known.
    """
    if "title" not in items.columns:
        items = items.with_columns(title=pl.col("item_id"))
    made = _complete(keyed(items), ITEMS, _ITEM_DEFAULTS)
    return made.with_columns(pl.col(_KINDS).str.normalize("NFC"))


def complete_events(events: pl.DataFrame) -> pl.DataFrame:
    """Add the missing columns to events that have `user_id`, `item_key` and `order`."""
    return _complete(events, EVENTS, _EVENT_DEFAULTS)


def with_keys(frame: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Replace `item_id` by the `item_key` of the same item; ids without an item are dropped."""
    index = items.select(SAME_ID, "item_key")
    named = frame.with_columns(SAME_ID)
    return named.join(index, on="item_id", how="inner", maintain_order="left").drop("item_id")


def with_known_keys(
    frame: pl.DataFrame, items: pl.DataFrame, name: str, reason: str, unit: str = "events"
) -> tuple[pl.DataFrame, CleaningStep]:
    """Do the same and count what is dropped, with one of the ids that are no item's."""
    keyed = with_keys(frame, items)
    missing = frame.height - keyed.height
    if missing:
        known = items.select(SAME_ID)
        odd = frame.join(known, on=SAME_ID, how="anti", maintain_order="left")["item_id"][0]
        reason = f"{reason}, such as {odd!r}"
    return keyed, CleaningStep(name, keyed.height, missing, reason, unit)


def numbered(events: pl.DataFrame) -> pl.DataFrame:
    """Add `order`: the position of each event within its user, from 0, as the rows stand."""
    return events.with_columns(order=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))


def attributes_json(values: Mapping[str, str]) -> str:
    """Return attributes as the schema wants them: a JSON object of strings."""
    return json.dumps(dict(values), ensure_ascii=False)


def require_events(events: pl.DataFrame, source: Path, steps: Sequence[CleaningStep] = ()) -> None:
    """Raise SourceError where nothing is left to learn from, naming the steps that dropped it."""
    if events.height:
        return
    lost = [s for s in steps if s.unit == "events" and s.dropped]
    if not lost:
        raise SourceError(f"{source}: no events in it; is this the right file and format?")
    told = "; ".join(f"{s.name} {s.dropped:,} ({s.reason})" for s in lost)
    raise SourceError(
        f"{source}: cleaning dropped every event: {told}; correct the source, or "
        "the option that drops them"
    )


def unique_events(events: pl.DataFrame, by: list[str]) -> tuple[pl.DataFrame, CleaningStep]:
    """Keep the first of equal events; `by` names the columns that make them equal."""
    kept = events.unique(by, keep="first", maintain_order=True)
    reason = f"the same {', '.join(by)} again says nothing new where the source has no order"
    return kept, CleaningStep("duplicates", kept.height, events.height - kept.height, reason)


def report_of(*steps: CleaningStep) -> Report:
    """Return a report of these steps."""
    return Report(steps)


def _complete(
    frame: pl.DataFrame, schema: Mapping[str, Any], defaults: Mapping[str, Any]
) -> pl.DataFrame:
    missing = [
        pl.lit(defaults[name], dtype=kind).alias(name)
        for name, kind in schema.items()
        if name not in frame.columns and name in defaults
    ]
    frame = frame.with_columns(missing)
    extra = [pl.col(name) for name in frame.columns if name not in schema]
    return frame.select(*(pl.col(n).cast(kind) for n, kind in schema.items()), *extra)
