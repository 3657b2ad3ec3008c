"""csv and parquet: how times, numbers and attributes may be written, and what is none."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.errors import SourceError
from models.data.importers import Options
from models.data.importers import columns as c
from tests.unit.data.builders import write
from tests.unit.data.tabular import imported, refused


@pytest.mark.parametrize(
    "spelled",
    [
        "2024-03-01T12:30:00Z",
        "2024-03-01T12:30:00.000+00:00",
        "2024-03-01 14:30:00+02:00",
        "2024-03-01 14:30:00+0200",
        "2024-03-01 14:30:00+02",
        "2024-03-01T14:30+02",
        "2024-03-01 12:30:00.000+00",
        "202403011230",
        "20240301123000",
        "2024-03-01 12:30:00 UTC",
        "2024-03-01 12:30",
        "2024/03/01 12:30:00",
        "1709296200",
        "1709296200.0",
        "1709296200000",
        "1709296200000000",
        "1709296200000000000",
        "20240301T123000Z",
        "20240301T1230",
        "20240301T143000.0+02:00",
        "20240301T143000+02",
    ],
)
def test_one_moment_in_many_spellings_is_one_moment(spelled: str) -> None:
    found = c.moment(pl.Series([spelled]))
    assert not found.wrong.any()
    assert found.values.to_list() == [datetime(2024, 3, 1, 12, 30, tzinfo=UTC)]


@pytest.mark.parametrize("spelled", ["01.03.2024 12:30", "1.3.2024 12:30:00"])
def test_a_date_of_dots_may_have_a_time_of_day(spelled: str) -> None:
    assert c.moment(pl.Series([spelled])).values.to_list() == [
        datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    ]


@pytest.mark.parametrize("spelled", ["2024-03-01", "01.03.2024", "20240301", "2024/03/01"])
def test_a_date_is_its_midnight(spelled: str) -> None:
    assert c.moment(pl.Series([spelled])).values.to_list() == [datetime(2024, 3, 1, tzinfo=UTC)]


def test_spellings_may_be_mixed_in_one_column() -> None:
    found = c.moment(pl.Series(["2024-03-01", "2024-03-01T00:00:00Z", "never", None]))
    assert found.wrong.to_list() == [False, False, True, False]


@pytest.mark.parametrize(
    "spelled",
    [
        ["01.03.24", "2024-03-01"],  # the year 24
        ["1404-10-12", "2024-03-01"],  # of Iran
        ["1709296200", "1709296200123", "1709296200456"],  # seconds among milliseconds
        ["0", "1709296200123", "1709296200456"],
        ["0", "1709296200", "1709296201"],
        ["-5", "1709296200", "1709296201"],
        ["-10000000000", "1709296200", "1709296201"],
    ],
)
def test_what_would_be_read_as_another_age_is_no_time(spelled: list[str]) -> None:
    found = c.moment(pl.Series(spelled))
    assert found.wrong.to_list() == [True] + [False] * (len(spelled) - 1)


@pytest.mark.parametrize("counts", [["2017", "2018"], ["45000.5", "45001.25"], ["1", "711"]])
def test_years_days_of_a_spreadsheet_and_mere_counts_are_no_seconds_of_1970(
    tmp_path: Path, counts: list[str]
) -> None:
    lines = "".join(f"a,{n},{when}\n" for n, when in enumerate(counts))
    file = write(tmp_path / "events.csv", f"user,item,time\n{lines}")
    refused(file, rf"line 2, column time: '{counts[0]}' is not a time .*--map order=COLUMN")


def test_what_only_counts_can_be_mapped_to_the_order(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item,time\na,1,711\na,2,5\n")
    made = imported(file, options=Options(mapping={"order": "time"}))
    assert made.info.times == "order"
    assert made.events["item_key"].to_list() == [2, 1]


def test_long_whole_numbers_keep_their_last_digits() -> None:
    long = [1709296200123456789, 1709296200123456790]
    assert c.whole_number(pl.Series(long)).values.to_list() == long
    assert c.whole_number(pl.Series(list(map(str, long)))).values.to_list() == long
    assert c.whole_number(pl.Series(["3.0", "3.5", "7"])).values.to_list() == [3, None, 7]


def test_numbers_beyond_integers_are_text_too() -> None:
    assert c.text(pl.Series([1e20, 2.0])).values.to_list() == ["1e+20", "2.0"]


def test_attributes_within_attributes_keep_their_letters() -> None:
    found = c.json_object(pl.Series(['{"farbe": ["grün", "weiß"], "maß": {"höhe": 3}}']))
    assert json.loads(found.values[0]) == {"farbe": '["grün", "weiß"]', "maß": '{"höhe": 3}'}
    assert c.json_object(pl.Series([r'{"a": "\ud83d"}'])).wrong.to_list() == [True]


@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=20))
def test_any_text_is_a_value_or_wrong_and_never_a_crash(values: list[str | None]) -> None:
    column = pl.Series(values, dtype=pl.String)
    for reader in (c.text, c.number, c.whole_number, c.yes_no, c.moment, c.json_object):
        found = reader(column)
        assert len(found.values) == len(values)
        for value, read, wrong in zip(values, found.values, found.wrong, strict=True):
            assert wrong == (value is not None and read is None)


def prices(tmp_path: Path, *written: str) -> tuple[list[float | None], str]:
    """Import items at these prices; return how they were read, and what was assumed."""
    shop = tmp_path / "shop"
    shop.mkdir()
    write(shop / "events.csv", "user;item\na;1\n")
    rows = "".join(f'{n};"{price}"\n' for n, price in enumerate(written, 1))
    write(shop / "items.csv", f"sep=;\nid;price\n{rows}")
    made = imported(shop)
    said = [s.reason for s in made.info.report.steps if s.name == "column price"]
    return made.items["price"].to_list(), "; ".join(said)


@pytest.mark.parametrize(
    ("written", "read", "said"),
    [
        (("12,50", "1,234", "7"), [12.5, 1.234, 7.0], "commas stand before decimals"),
        (("1.234,50", "3"), [1234.5, 3.0], "commas stand before decimals"),
        (("$1", "$ 2.50", "3"), [1.0, 2.5, 3.0], "all amounts are in $"),
        (("€ 1,50", "2 €"), [1.5, 2.0], "all amounts are in €, commas stand before decimals"),
        (("1234,5 ₽", "₽7"), [1234.5, 7.0], "all amounts are in ₽, commas stand before decimals"),
        (("1.5", "", "2"), [1.5, None, 2.0], ""),
        (("1.234", "0.500"), [1.234, 0.5], ""),
        (
            ("1.234", "980"),
            [1.234, 980.0],
            "points stand before decimals: 1.234 is less than a thousand",
        ),
    ],
)
def test_numbers_as_spreadsheets_write_them_are_read_and_told(
    tmp_path: Path, written: tuple[str, ...], read: list[float | None], said: str
) -> None:
    assert prices(tmp_path, *written) == (read, said)


@pytest.mark.parametrize(
    "written", [("1,234", "5"), ("12,50", "1.5"), ("$1", "€2"), ("1,234.50",), ("1 234 ₩",)]
)
def test_a_number_that_may_be_another_is_left_to_a_person(
    tmp_path: Path, written: tuple[str, ...]
) -> None:
    with pytest.raises(SourceError, match=r"is not a number for sure; .* as 1234\.50"):
        prices(tmp_path, *written)
