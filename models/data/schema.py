"""The canonical columns of a dataset and the check that a frame has them.

Three frames: items, events and, where there are judged searches, queries.
Columns beyond these are allowed and kept; importers use that for what only
their format knows.
"""

from collections.abc import Mapping

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from models.data.errors import DatasetError

Schema = Mapping[str, DataType | DataTypeClass]

EVENT_TYPES = ("view", "click", "cart", "purchase", "like", "dislike")
SPLITS = ("train", "valid", "test")

ITEMS: Schema = {
    "item_key": pl.Int64(),  # artifacts.keys.item_key(item_id)
    "item_id": pl.String(),
    "title": pl.String(),
    "text": pl.String(),
    "domain": pl.String(),  # department or product line
    "category": pl.String(),
    "brand": pl.String(),
    "provider": pl.String(),
    "price": pl.Float64(),  # usual price of one unit, one currency for all; null unknown
    "attributes": pl.String(),  # a JSON object of strings
    "available": pl.Boolean(),
}
# Optional columns of items: checked where present.
# The vector of an item's image by the shop's own model, all of one length; null: it has none.
# Whether the price is the median of what was paid in all events, for want of a listed one: it
# tells who is sold at all, so an evaluation takes it anew from the events before (as_of).
ITEMS_OPTIONAL: Schema = {"image_vector": pl.List(pl.Float32()), "price_is_paid": pl.Boolean()}
EVENTS: Schema = {
    "user_id": pl.String(),
    "item_key": pl.Int64(),
    "type": pl.String(),  # one of EVENT_TYPES
    "time": pl.Datetime("us", "UTC"),  # null where the source has none
    "order": pl.Int64(),  # position within the user, from 0, oldest first
    "quantity": pl.Float64(),
    "price": pl.Float64(),  # paid for one unit, in the currency of the items'; null unknown
    "market": pl.String(),
    "query": pl.String(),  # what was searched before the event; null none
    "split": pl.String(),  # one of SPLITS where the source gives a split; else null
}
QUERIES: Schema = {"query": pl.String(), "item_key": pl.Int64(), "rating": pl.Int64()}

_NULLABLE = {
    "items": {"price", "image_vector"},
    "events": {"time", "price", "query", "split"},
    "queries": set[str](),
}


def check_items(items: pl.DataFrame, where: str = "items.parquet") -> None:
    """Raise DatasetError unless `items` has the canonical columns and unique keys."""
    _check_columns(items, ITEMS, where, "items")
    present = {name: kind for name, kind in ITEMS_OPTIONAL.items() if name in items.columns}
    _check_columns(items, present, where, "items")
    check_images(items, where)
    for column in ("item_key", "item_id"):
        repeated = items.filter(pl.col(column).is_duplicated())
        if repeated.height:
            raise DatasetError(
                f"{where}, column {column}: {repeated[column][0]!r} stands for more than one item; "
                "every item needs its own id and key"
            )
    if items.height and items.select(pl.col("item_key").min()).item() <= 0:
        raise DatasetError(f"{where}, column item_key: keys must be positive, 0 means no item")


def check_images(items: pl.DataFrame, where: str = "items") -> None:
    """Raise DatasetError unless the image vectors there are have one length and finite numbers."""
    if "image_vector" not in items.columns:
        return
    known = items.filter(pl.col("image_vector").list.len() > 0)
    if not known.height:
        return
    place, ids, vectors = f"{where}, column image_vector", known["item_id"], known["image_vector"]
    lengths = vectors.list.len()
    usual = int(lengths.mode().sort()[0])
    others = (lengths != usual).arg_true()
    if len(others):
        raise DatasetError(
            f"{place}: {lengths[others[0]]} numbers for item {ids[others[0]]!r} and {usual} for "
            "others; make all with one image model"
        )
    numbers = vectors.explode()
    odd = (~numbers.is_finite()).fill_null(value=True)
    if odd.any():
        at = int(odd.arg_true()[0])
        what = "an empty place" if numbers[at] is None else "NaN or infinity"
        raise DatasetError(
            f"{place}: the vector of item {ids[at // usual]!r} holds {what}; leave such out"
        )
    if usual == 1:
        raise DatasetError(
            f"{place}: one number for item {ids[0]!r}; a vector, whose direction counts, has more"
        )


def check_events(events: pl.DataFrame, items: pl.DataFrame, where: str = "events.parquet") -> None:
    """Raise DatasetError unless `events` has the canonical columns, values and known items."""
    _check_columns(events, EVENTS, where, "events")
    _check_values(events, "type", EVENT_TYPES, where)
    _check_values(events.filter(pl.col("split").is_not_null()), "split", SPLITS, where)
    _check_known(events, items, where)


def check_queries(
    queries: pl.DataFrame, items: pl.DataFrame, where: str = "queries.parquet"
) -> None:
    """Raise DatasetError unless `queries` has the canonical columns and known items."""
    _check_columns(queries, QUERIES, where, "queries")
    _check_known(queries, items, where)


def _check_columns(frame: pl.DataFrame, schema: Schema, where: str, kind: str) -> None:
    for name, wanted in schema.items():
        if name not in frame.columns:
            raise DatasetError(
                f"{where}: column {name} is missing (found: {', '.join(frame.columns)}); "
                "import the data anew"
            )
        if frame.schema[name] != wanted:
            raise DatasetError(
                f"{where}, column {name}: is {frame.schema[name]}, must be {wanted}; "
                "import the data anew"
            )
        if name not in _NULLABLE[kind] and frame[name].null_count():
            raise DatasetError(
                f"{where}, column {name}: {frame[name].null_count()} values are missing; "
                "only the columns documented as nullable may have gaps"
            )


def _check_values(frame: pl.DataFrame, column: str, allowed: tuple[str, ...], where: str) -> None:
    wrong = frame.filter(~pl.col(column).is_in(allowed))
    if wrong.height:
        raise DatasetError(
            f"{where}, column {column}: {wrong[column][0]!r} is not one of {', '.join(allowed)}"
        )


def _check_known(frame: pl.DataFrame, items: pl.DataFrame, where: str) -> None:
    unknown = frame.join(items, on="item_key", how="anti")
    if unknown.height:
        raise DatasetError(
            f"{where}, column item_key: {unknown['item_key'][0]} (and {unknown.height - 1} more "
            "rows) is no item of items.parquet; import the data anew"
        )
