"""What a catalogue says of an item, as numbers that item vectors are learned from.

Most items sell rarely. Those of one brand or kind sell to the same people, so an
item's vector is one of its own plus the mean of those of what is said of it. The one
idea: that sum is taken once, after training; serving and the files know nothing of it.
"""

import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = npt.NDArray[np.int64]
_COLUMNS = ("domain", "category", "brand", "provider")
# A value of one item says no more than the item itself.
_LEAST_ITEMS = 2
# The most common values of an item that count, so that one odd item does not widen all.
_MOST = 16


def item_features(items: pl.DataFrame, keys: Rows) -> Rows:
    """Return what is said of each item, int64 [n + 1, F]: values 1 .., 0 pads; row 0 has none.

    Rows are those of `keys`. A value that all items share says nothing and is left out.
    """
    ordered = pl.DataFrame({"item_key": keys}).join(
        items, on="item_key", how="left", maintain_order="left"
    )
    said = [_said(row) for row in ordered.select(*_COLUMNS, "attributes").iter_rows(named=True)]
    counts = Counter(value for values in said for value in values)
    common = [v for v, n in counts.most_common() if _LEAST_ITEMS <= n < len(said)]
    number = {value: at for at, value in enumerate(common, start=1)}
    found = [sorted(number[v] for v in values if v in number)[:_MOST] for values in said]
    rows = np.zeros((len(keys) + 1, max(map(len, found), default=0)), np.int64)
    for row, values in enumerate(found, start=1):
        rows[row, : len(values)] = values
    return rows


def _said(row: Mapping[str, str | None]) -> list[tuple[str, str]]:
    columns = [(name, row[name] or "") for name in _COLUMNS]
    attributes = json.loads(row["attributes"] or "{}")
    return list(dict.fromkeys((n, str(v)) for n, v in [*columns, *attributes.items()] if v))
