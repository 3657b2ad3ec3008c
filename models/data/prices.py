"""Prices as they were known at a moment: what was paid until then, and nothing later."""

import polars as pl

# Past days whose prices make an item's usual price, as at import.
_PRICE_DAYS = 90
_PAID = "price_is_paid"


def as_of(items: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the catalogue as it was after `events`: prices from what was paid until then.

    An importer may take an item's usual price from all of its sales, later ones
    included. Items not sold yet keep the price they are listed at; those that are listed
    at none have none: that they have one later would tell that they are sold. Without
    times, listed prices stay as they are.
    """
    timed = events.height > 0 and not events["time"].null_count()
    found = items.join(_usual_prices(events, timed=timed), on="item_key", how="left",
                       maintain_order="left")  # fmt: skip
    price = pl.col("price")
    listed = pl.when(~pl.col(_PAID)).then(price) if _PAID in items.columns else price
    order = ("usual", listed) if timed else (listed, "usual")
    price = pl.when(price.is_null()).then(None).otherwise(pl.coalesce(*order))
    return found.with_columns(price=price).drop("usual")


def _usual_prices(events: pl.DataFrame, *, timed: bool) -> pl.DataFrame:
    """Return item_key and `usual`, the median price of its last days, or of all its events."""
    listed = "list_price" if "list_price" in events.columns else "price"
    priced = events.filter(pl.col(listed).is_not_null())
    if timed:
        last = pl.col("time").max().over("item_key")
        priced = priced.filter(pl.col("time") > last - pl.duration(days=_PRICE_DAYS))
    return priced.group_by("item_key").agg(usual=pl.col(listed).median().round(2))
