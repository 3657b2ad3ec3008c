"""A shop's own tables: events, and perhaps items and queries, as CSV or Parquet.

SOURCE is one file of events, or a directory with events.*, items.* and
queries.*. Columns are found by their usual names or by a mapping. A value that
cannot be read stops the import with its line and column, or is counted and left
out with `skip_bad_rows`; nothing is guessed and nothing is half written.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from models.data.dataset import DatasetInfo, Times
from models.data.errors import SourceError
from models.data.importers.base import (
    SAME_ID,
    Imported,
    Options,
    attributes_json,
    complete_events,
    complete_items,
    numbered,
    report_of,
    require_events,
    with_known_keys,
)
from models.data.importers.columns import plain
from models.data.importers.kinds import as_text
from models.data.importers.tables import ITEM_FIELDS, QUERY_FIELDS, TableReader, event_fields
from models.data.report import CleaningStep, keep

_SUFFIXES = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet", ".pq")}
# Times without an offset are read as UTC, up to 14 hours after a shop's own; what lies further
# ahead was stamped by a clock that is wrong.
_MOST_AHEAD = timedelta(days=1)
# Columns of ratings, as reviews have them.
_RATINGS = {"rating", "ratings", "stars", "overall", "score"}


def read(source: Path, options: Options, kind: str) -> Imported:
    """Read events, items and queries of a source of a kind, "csv" or "parquet".

    Raises SourceError naming the file, the line or row, and the column.
    """
    files = _files(source, kind)
    reader = TableReader(kind, options, files)
    reader.load()
    events = reader.read("events", event_fields(options))
    types = _types_note(events)
    given = reader.read("items", ITEM_FIELDS) if "items" in files else None
    judged = reader.read("queries", QUERY_FIELDS) if "queries" in files else None
    events, steps = _clean(events)
    require_events(events, files["events"], [*reader.steps, *steps])
    items, described = _items(given, events)
    events, queries, known = _join(events, judged, items, files)
    events, items, frequent = _frequent(events, items, options.min_item_events)
    require_events(events, files["events"], [*reader.steps, *steps, *known, *frequent])
    if queries is not None:
        queries = queries.join(items, on="item_key", how="semi", maintain_order="left")
    events, times = _in_order(events)
    name = options.name or (source.resolve().name if source.is_dir() else source.stem)
    info = DatasetInfo(
        name=name,
        source=f"{name}: {', '.join(file.name for file in files.values())}",
        times=times,
        report=report_of(*reader.steps, *steps, *described, *known, *frequent),
        notes=(_times_note(times), *types),
    )
    return Imported(items, events, info, queries)


def read_csv(source: Path, options: Options) -> Imported:
    """Read delimited text; see `read`."""
    return read(source, options, "csv")


def read_parquet(source: Path, options: Options) -> Imported:
    """Read Parquet files; see `read`."""
    return read(source, options, "parquet")


def _files(source: Path, kind: str) -> dict[str, Path]:
    if source.is_file():
        return {"events": source}
    if not source.is_dir():
        raise SourceError(f"{source}: not found; give a file of events, or a directory")
    found: dict[str, Path] = {}
    for table in ("events", "items", "queries"):
        names = [source / f"{table}{suffix}" for suffix in _SUFFIXES[kind]]
        there = [file for file in names if file.is_file()]
        if there:
            found[table] = there[0]
    if "events" not in found:
        raise SourceError(
            f"{source}: holds no events{_SUFFIXES[kind][0]}; give the events' file itself"
        )
    return found


def _clean(events: pl.DataFrame) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Drop events that say nothing, or nothing true, and repeats.

    Quantities and prices below what can be; times that have not come: beside one of these
    everything that did happen is old, to trends and to whoever moves the last event to now.
    """
    steps = []
    if "time" in events.columns:
        latest = datetime.now(UTC) + _MOST_AHEAD
        events, step = keep(
            events, pl.col("time") <= latest, "future times", "more than a day from now"
        )
        steps.append(step)
    if "quantity" in events.columns:
        events = events.with_columns(pl.col("quantity").fill_null(1.0))
        events, step = keep(
            events, pl.col("quantity") > 0, "zero quantities", "nothing was bought, or it came back"
        )
        steps.append(step)
    if "price" in events.columns:
        fine = pl.col("price").is_null() | (pl.col("price") >= 0)
        events, step = keep(events, fine, "impossible prices", "the price is negative")
        steps.append(step)
    # Columns without a field count: a day's second basket is not the first again.
    unique = events.unique(keep="first", maintain_order=True)
    steps.append(
        CleaningStep(
            "duplicates", unique.height, events.height - unique.height, "the same row again"
        )
    )
    return unique.select(pl.exclude("^extra:.*$")), steps


def _items(
    given: pl.DataFrame | None, events: pl.DataFrame
) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Return the items: those given, or those the events name."""
    if given is None:
        bare = events.select("item_id").filter(SAME_ID.is_first_distinct())
        return complete_items(_priced(bare, events)), []
    unique = given.filter(SAME_ID.is_first_distinct())
    step = CleaningStep(
        "repeated items", unique.height, given.height - unique.height, "the first counts", "items"
    )
    defaults = {
        "title": pl.col("item_id"),
        "domain": pl.lit("all"),
        "available": pl.lit(value=True),
    }
    filled = [
        pl.col(n).fill_null(defaults.get(n, pl.lit("")))
        for n in unique.columns
        if n in ITEM_FIELDS and n not in {"price", "attributes", "image_vector"}
    ]
    unique = unique.with_columns(filled).with_columns(_attributes(unique))
    unique, prices = _possible(unique.select(pl.exclude("^extra:.*$")))
    return complete_items(_priced(unique, events)), [step, *prices]


def _possible(items: pl.DataFrame) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Forget negative prices: the items stay, and cost what is paid for them, or who knows."""
    if "price" not in items.columns:
        return items, []
    negative = int((items["price"] < 0).sum())
    told = items.height - items["price"].null_count()
    step = CleaningStep(
        "impossible prices", told - negative, negative, "the price is negative: unknown", "prices"
    )
    fine = pl.when(pl.col("price") >= 0).then("price")
    return items.with_columns(price=fine), [step] if negative else []


def _priced(items: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Without a price of its own an item costs what is usually paid for it: `price_is_paid`."""
    if "price" not in events.columns:
        return items
    usual = events.group_by("item_id").agg(usual=pl.col("price").median())
    own = pl.col("price") if "price" in items.columns else pl.lit(None, pl.Float64)
    found = items.join(usual, on="item_id", how="left", maintain_order="left")
    return found.with_columns(
        price=pl.coalesce(own, "usual"), price_is_paid=own.is_null() & pl.col("usual").is_not_null()
    ).drop("usual")


def _attributes(items: pl.DataFrame) -> pl.Series:
    """Return attributes as JSON: the column of that name, and all columns without a field."""
    extra = {n.removeprefix("extra:"): items[n] for n in items.columns if n.startswith("extra:")}
    told = {name: as_text(column) for name, column in extra.items()}
    # Bytes that are not all text, such as pictures, are no attribute.
    names = [n for n, text in told.items() if text.null_count() == extra[n].null_count()]
    columns = [told[name].to_list() for name in names]
    given = items["attributes"].to_list() if "attributes" in items.columns else [None] * len(items)
    made = []
    for own, *values in zip(given, *columns, strict=True):
        # An empty list ("") or structure ("{}") says nothing.
        found = {n: v for n, v in zip(names, values, strict=True) if v and v != "{}"}
        made.append(attributes_json(found | (json.loads(own) if own else {})))
    return pl.Series("attributes", made, dtype=pl.String)


def _join(
    events: pl.DataFrame,
    judged: pl.DataFrame | None,
    items: pl.DataFrame,
    files: Mapping[str, Path],
) -> tuple[pl.DataFrame, pl.DataFrame | None, list[CleaningStep]]:
    """Replace item ids by keys; what names an unknown item is dropped and counted."""
    steps = []
    where = files["items"].name if "items" in files else "the items"
    keyed, step = with_known_keys(events, items, "unknown items", f"the item is not in {where}")
    if "items" in files:
        steps.append(step)
    queries = None
    if judged is not None:
        judged = judged.drop_nulls("query").unique(
            ["query", "item_id"], keep="first", maintain_order=True
        )
        queries, step = with_known_keys(
            judged, items, "judged items", "unknown items", "judgements"
        )
        queries = queries.select("query", "item_key", "rating")
        steps.append(step)
    return keyed, queries, steps


def _frequent(
    events: pl.DataFrame, items: pl.DataFrame, minimum: int | None
) -> tuple[pl.DataFrame, pl.DataFrame, list[CleaningStep]]:
    if not minimum:
        return events, items, []
    reason = f"the item has fewer than {minimum} events"
    often = pl.len().over("item_key") >= minimum
    events, step = keep(events, often, "rare items", reason)
    return events, items.join(events, on="item_key", how="semi", maintain_order="left"), [step]


def _in_order(events: pl.DataFrame) -> tuple[pl.DataFrame, Times]:
    """Sort a user's events by time, else by the order given, and number them."""
    times: Times = "none"
    by = ["user_id"]
    if "time" in events.columns:
        times, by = "time", ["user_id", "time"]
    elif "order" in events.columns:
        times, by = "order", ["user_id", "order"]
    if "order" in events.columns and times == "time":
        by.append("order")
    events = events.sort(by, maintain_order=True).select(pl.exclude("order"))
    defaults = [pl.col("market").fill_null("all")] if "market" in events.columns else []
    return complete_events(numbered(events.with_columns(defaults))), times


def _times_note(times: Times) -> str:
    return {
        "time": "times without an offset are read as UTC",
        "order": "no times; the order of a user's events is the source's own column",
        "none": "neither times nor an order: the order within a user means nothing",
    }[times]


def _types_note(events: pl.DataFrame) -> tuple[str, ...]:
    """Say what events count as where no column tells; ratings are read only if mapped."""
    if "type" in events.columns:
        return ()
    counted = "no column tells views from purchases, so every event counts as a purchase"
    extra = [name.removeprefix("extra:") for name in events.columns if name.startswith("extra:")]
    rated = next((name for name in extra if plain(name) in _RATINGS), None)
    if rated is None:
        return (counted,)
    values = as_text(events[f"extra:{rated}"]).drop_nulls().unique().sort().to_list()
    if len(values) < 2:  # nothing to tell apart
        return (counted,)
    return (
        f"{counted}, whatever its {rated}; to tell likes from dislikes map each value: "
        f"--map type={rated} --map type.{values[0]}=dislike --map type.{values[-1]}=like",
    )
