"""What a column of any kind says, as text.

CSV holds text only. Parquet also holds lists, structures, bytes and spans of
time; whoever wants words gets them from here, whatever the kind.
"""

import json
import math
from typing import Any

import polars as pl


def as_text(column: pl.Series) -> pl.Series:
    """Return a column as text: lists joined by ", ", structures as JSON with their names.

    Bytes that are not UTF-8 are no text: null, and left out of lists and structures. Nor
    are vectors, lists of fractions: hundreds of numbers would drown the words beside them.
    """
    kind = column.dtype
    if isinstance(kind, pl.List | pl.Array) and kind.inner.is_float():
        return pl.Series(column.name, [None] * len(column), dtype=pl.String)
    if isinstance(kind, pl.List) and kind.inner == pl.String:
        return column.list.join(", ", ignore_nulls=True)
    if kind.is_nested():
        return pl.Series(column.name, [_told(v) for v in column.to_list()], dtype=pl.String)
    if kind == pl.Binary:
        return pl.Series(column.name, [_decoded(v) for v in column.to_list()], dtype=pl.String)
    if kind == pl.Duration:
        return column.dt.to_string("iso")
    return column.cast(pl.String, strict=False)


def scalars(column: pl.Series) -> pl.Series | None:
    """Return a column as numbers, flags or text; None if it holds lists, structures or times."""
    kind = column.dtype
    if kind.is_nested() or kind.is_temporal():
        return None
    return column if kind.is_numeric() or kind == pl.Boolean else as_text(column)


def _told(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list):
        return _word(value)
    return ", ".join(_word(part) for part in value if _says(part))


def _word(value: Any) -> str:
    made = _jsonable(value)
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    """Return what JSON can hold; dates, decimals and NaN become strings."""
    if isinstance(value, dict):
        return {name: _jsonable(part) for name, part in value.items() if _says(part)}
    if isinstance(value, list):
        return [_jsonable(part) for part in value if _says(part)]
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _says(value: Any) -> bool:
    return value is not None and not isinstance(value, bytes)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
