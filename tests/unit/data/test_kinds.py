"""Columns of Parquet that are neither text nor numbers."""

import json
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.data.dataset import Dataset, load_dataset
from models.data.errors import SourceError
from models.data.importers import Options, import_dataset
from models.data.importers import columns as c
from models.data.importers.kinds import as_text

EVENTS = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["1", "2"]})
ITEMS = pl.DataFrame({"item_id": ["1", "2"], "title": ["one", "two"]})


def imported(
    home: Path, items: pl.DataFrame, events: pl.DataFrame = EVENTS, options: Options | None = None
) -> Dataset:
    shop = home / "shop"
    shop.mkdir()
    events.write_parquet(shop / "events.parquet")
    items.write_parquet(shop / "items.parquet")
    import_dataset("parquet", shop, home / "imported", options)
    return load_dataset(home / "imported")


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ([["a", "b"], [], None], None, ["a, b", "", None]),
        ([["a", None], ["b"]], None, ["a", "b"]),
        ([[1, 2]], pl.Array(pl.Int64, 2), ["1, 2"]),
        ([[True], [False]], None, ["true", "false"]),
        ([[0.25, 0.5], []], None, [None, None]),
        ([[0.25, 0.5]], pl.Array(pl.Float32, 2), [None]),
        ([[[1, 2], [3]]], None, ["[1, 2], [3]"]),
        ([[{"größe": "L"}, {"größe": None}]], None, ['{"größe": "L"}, {}']),
        ([{"w": 1.5, "raw": b"\xff"}], None, ['{"w": 1.5}']),
        ([{"on": date(2024, 1, 2)}, None], None, ['{"on": "2024-01-02"}', None]),
        ([{"parts": [1, None], "odd": float("nan")}], None, ['{"parts": [1], "odd": "nan"}']),
        ([[Decimal("1.50")]], None, ["1.50"]),
        ([b"caf\xc3\xa9", b"\xff", None], None, ["café", None, None]),
        ([timedelta(days=1), None], None, ["P1D", None]),
        ([time(1, 2)], None, ["01:02:00"]),
        (["a", None], pl.Categorical, ["a", None]),
        ([None, None], pl.Null, [None, None]),
    ],
)  # fmt: skip
def test_a_column_of_any_kind_has_words(values: list[Any], kind: Any, told: list[Any]) -> None:
    assert as_text(pl.Series(values, dtype=kind)).to_list() == told


def test_columns_of_any_kind_become_attributes(tmp_path: Path) -> None:
    items = ITEMS.with_columns(
        tags=pl.Series([["a", "b"], []]),
        size=pl.Series([{"w": 1}, None]),
        age=pl.Series([timedelta(1), None]),
        picture=pl.Series([b"\xff\x00", b"text"]),
        code=pl.Series([b"x1", None]),
        scans=pl.Series([[{"raw": b"\xff"}], None]),
    )
    made = imported(tmp_path, items).items["attributes"].to_list()
    assert json.loads(made[0]) == {"tags": "a, b", "size": '{"w": 1}', "age": "P1D", "code": "x1"}
    assert made[1] == "{}"


def test_a_list_of_features_is_one_attribute(tmp_path: Path) -> None:
    items = ITEMS.with_columns(features=pl.Series([["soft", "warm"], []]))
    made = imported(tmp_path, items).items["attributes"].to_list()
    assert made == ['{"features": "soft, warm"}', "{}"]


def test_structures_are_text_with_their_names(tmp_path: Path) -> None:
    items = ITEMS.with_columns(details=pl.Series([{"w": 1, "h": "2"}, None]))
    assert imported(tmp_path, items).items["text"].to_list() == ['{"w": 1, "h": "2"}', ""]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("price", [[1.0], [2.0]], r"holds List\(Float64\), not a number"),
        ("price", [date(2024, 1, 2), None], "holds Date, not a number"),
        ("available", [[True], None], r"holds List\(Boolean\), not yes or no"),
        ("image_vector", ["[1]", "[2]"], "holds String, not a list of numbers"),
        ("image_vector", [[[1.0]], None], r"holds List\(List\(Float64\)\), not a list of numbers"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_column_of_items_that_cannot_hold_its_field_is_named(
    tmp_path: Path, column: str, values: list[Any], message: str, skip: bool
) -> None:
    items = ITEMS.with_columns(pl.Series(column, values))
    whole = rf"items\.parquet, column {column}: {message}.*--map items\.{column}=COLUMN"
    with pytest.raises(SourceError, match=whole):
        imported(tmp_path, items, options=Options(skip_bad_rows=skip))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("type", [["view"], ["view"]], r"holds List\(String\), not an event type"),
        ("time", [time(1), time(2)], "holds Time, not a time"),
        ("time", [timedelta(1), timedelta(2)], r"holds Duration.*, not a time"),
        ("time", [[1], [2]], r"holds List\(Int64\), not a time"),
        ("order", [{"at": 1}, {"at": 2}], r"holds Struct.*, not a whole number"),
    ],
)
def test_a_column_of_events_that_cannot_hold_its_field_is_named(
    tmp_path: Path, column: str, values: list[Any], message: str
) -> None:
    events = EVENTS.with_columns(pl.Series(column, values))
    with pytest.raises(SourceError, match=rf"events\.parquet, column {column}: {message}"):
        imported(tmp_path, ITEMS, events)


def test_numbers_and_times_in_categories_and_bytes_are_read() -> None:
    prices = c.number(pl.Series(["7", "1.5", "x"], dtype=pl.Categorical))
    assert prices.values.to_list() == [7, 1.5, None]
    assert c.number(pl.Series([b"1.5", b"\xff"])).wrong.to_list() == [False, True]
    days = c.moment(pl.Series(["2024-01-02"], dtype=pl.Enum(["2024-01-02"])))
    assert not days.wrong.any()


def test_times_of_any_zone_and_unit_are_read() -> None:
    given = pl.Series(["2024-03-01 13:30"]).str.to_datetime().dt.cast_time_unit("ns")
    found = c.moment(given.dt.replace_time_zone("Europe/Berlin")).values
    assert found.dt.to_string("%H:%M").to_list() == ["12:30"]


def test_image_vectors_may_be_arrays_of_fixed_length(tmp_path: Path) -> None:
    vectors = pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64, 2))
    made = imported(tmp_path, ITEMS.with_columns(image_vector=vectors))
    assert made.items["image_vector"].to_list() == [[1.0, 2.0], None]


def test_a_list_with_a_word_among_its_numbers_is_named(tmp_path: Path) -> None:
    items = ITEMS.with_columns(image_vector=pl.Series([["1", "2.5"], ["1", "big"]]))
    message = r"row 2, column image_vector: \['1', 'big'\] is not a list of numbers"
    with pytest.raises(SourceError, match=message):
        imported(tmp_path, items)
