"""csv and parquet: a shop's own tables, and every way they can be wrong."""

import gzip
import json
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.dataset import Dataset, load_dataset
from models.data.errors import DatasetError, SourceError
from models.data.importers import Options, import_dataset
from models.data.importers import columns as c
from models.data.importers.delimited import LINE, read_delimited
from tests.unit.data.builders import write

EVENTS = """Customer ID,product_id,event,timestamp,qty,price,country
a,1,buy,2024-01-02T10:00:00Z,1,2.5,de
a,2,view,2024-01-01 09:00,,,de
b,3,addtocart,2024-01-03,2,3,fr
"""


def imported(source: Path, kind: str = "csv", options: Options | None = None) -> Dataset:
    destination = source.parent / "imported"
    import_dataset(kind, source, destination, options)
    return load_dataset(destination)


def refused(source: Path, message: str, options: Options | None = None) -> None:
    destination = source.parent / "refused"
    with pytest.raises(SourceError, match=message):
        import_dataset("csv", source, destination, options)
    assert not destination.exists()


def test_usual_names_are_found_by_themselves(tmp_path: Path) -> None:
    made = imported(write(tmp_path / "events.csv", EVENTS))
    assert made.events["type"].to_list() == ["view", "purchase", "cart"]
    assert made.events["time"].to_list() == [
        datetime(2024, 1, 1, 9, tzinfo=UTC),
        datetime(2024, 1, 2, 10, tzinfo=UTC),
        datetime(2024, 1, 3, tzinfo=UTC),
    ]
    assert made.events["order"].to_list() == [0, 1, 0]
    assert made.events["quantity"].to_list() == [1, 1, 2]
    assert made.events["market"].to_list() == ["de", "de", "fr"]
    assert made.items["item_id"].to_list() == ["1", "2", "3"]
    assert made.items["price"].to_list() == [2.5, None, 3]
    assert made.info.times == "time"


def test_items_and_queries_lie_beside_the_events(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item\na,1\na,2\nb,9\n")
    write(shop / "items.csv", 'id;name;price;colour;stock\n1;"Red; shirt";9.5;red;\n2;Blue;;;5\n')
    write(shop / "queries.csv", "query,item_id,rating\nshirt,1,3\nshirt,7,2\n")
    made = imported(shop)
    assert made.items["title"].to_list() == ["Red; shirt", "Blue"]
    assert made.items["price"].to_list() == [9.5, None]
    assert json.loads(made.items["attributes"][0]) == {"colour": "red"}
    assert json.loads(made.items["attributes"][1]) == {"stock": "5"}
    assert made.queries is not None and made.queries.rows() == [("shirt", 1, 3)]
    dropped = {s.name: s.dropped for s in made.info.report.steps}
    assert (dropped["unknown items"], dropped["judged items"]) == (1, 1)


def test_a_mapping_names_columns_and_translates_types(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "who,what,did\na,1,took\na,2,saw.it\n")
    mapping = {
        "user_id": "who",
        "events.item_id": "what",
        "type": "did",
        "type.took": "purchase",
        "type.saw.it": "view",
    }
    made = imported(file, options=Options(mapping=mapping))
    assert made.events["type"].to_list() == ["purchase", "view"]


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("a,1,buy,2024-01-02,1,abc,de", "price", "'abc' is not a number"),
        ("a,1,buy,2024-01-02,1,inf,de", "price", "'inf' is not a number"),
        ("a,1,buy,yesterday,1,1,de", "timestamp", "'yesterday' is not a time"),
        ("a,1,buy,,1,1,de", "timestamp", "is empty"),
        (",1,buy,2024-01-02,1,1,de", "Customer ID", "is empty"),
        ("a, ,buy,2024-01-02,1,1,de", "product_id", "is empty"),
        ("a,1,steal,2024-01-02,1,1,de", "event", "'steal' is not an event type"),
        ("a,1,buy,2024-01-02,many,1,de", "qty", "'many' is not a number"),
    ],
)
def test_a_bad_value_is_named_with_its_line_and_column(
    tmp_path: Path, line: str, column: str, message: str
) -> None:
    file = write(tmp_path / "events.csv", EVENTS + "\n" + line + "\n")
    refused(file, rf"events\.csv line 6, column {column}: {message}")
    made = imported(file, options=Options(skip_bad_rows=True))
    assert made.events.height == 3
    step = next(s for s in made.info.report.steps if s.name == "bad rows")
    assert step.dropped == 1
    assert f"line 6, column {column}" in step.reason


def test_the_first_bad_line_is_reported_whatever_its_column(tmp_path: Path) -> None:
    text = "user,item,price,time\na,1,1,soon\na,1,much,2024-01-01\n"
    refused(write(tmp_path / "events.csv", text), "line 2, column time: 'soon'")


def test_lines_of_another_width_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item\na,1\na,2,3\nb\n")
    refused(file, r"line 3: 3 values under 2 column names")
    made = imported(file, options=Options(skip_bad_rows=True))
    assert made.events.height == 1


def test_quoted_line_breaks_do_not_shift_the_line_numbers(tmp_path: Path) -> None:
    text = 'user,item,query,price\na,1,"two\nlines",1\na,2,"a ""b"", c",x\n'
    refused(write(tmp_path / "events.csv", text), "line 4, column price: 'x'")
    good = write(tmp_path / "good.csv", text.replace(",x", ",2"))
    assert imported(good).events["query"].to_list() == ["two\nlines", 'a "b", c']


def quoted(rows: int, last: str = "") -> str:
    return "user,item,query,price\n" + '"a","1","two\nlines",1\n' * rows + last


def test_quoted_rows_are_read_some_at_a_time_and_keep_their_lines(tmp_path: Path) -> None:
    text = quoted(45_000, 'a,2,"",x\n')
    refused(write(tmp_path / "events.csv", text), "line 90002, column price: 'x'")
    read = read_delimited(write(tmp_path / "good.csv", quoted(45_000))).rows
    assert read.height == 45_000
    assert read[LINE].to_list() == list(range(2, 90_002, 2))
    assert read["query"].unique().to_list() == ["two\nlines"]


def test_memory_for_quoted_rows_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (40_000, 80_000):
        file = write(tmp_path / "events.csv", quoted(rows))
        tracemalloc.start()
        read_delimited(file)
        peaks.append(tracemalloc.get_traced_memory()[1] - file.stat().st_size)
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_an_unclosed_quote_is_named(tmp_path: Path) -> None:
    refused(write(tmp_path / "events.csv", 'user,item\na,"1\n'), "line 2: not valid CSV")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs a header line"),
        ("1,2\n3,4\n", "line 1: '1,2' looks like data; add a header line"),
        ("user,user\na,1\n", "line 1: column 'user' is named twice"),
        ("user,\na,1\n", "line 1: column '' has no name"),
        ("sep=;\nuser;user\na;1\n", "line 2: column 'user' is named twice"),
        ('"sep=;"\n1;2\n3;4\n', "line 2: '1,2' looks like data"),
        ("\n\nuser,\na,1\n", "line 3: column '' has no name"),
        (
            "user,price\na,1\n",
            r"no column for item_id \(there are: user, price\).*--map events.item_id=",
        ),
        (
            "A39H,0205616461,5.0,1369699200\nA3JM,0558925278,3.0,1355443200\n",
            r"no column for user_id .*; if these are data, add a header line of names",
        ),
        ("user,item\n", "no events in it"),
    ],
)
def test_a_file_that_is_no_table_of_events_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    refused(write(tmp_path / "events.csv", text), message)


def test_bad_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes("user,item\na,1\nb,caf\xe9\n".encode("latin-1"))
    refused(file, r"events\.csv line 3: not valid UTF-8 \(byte 0xe9\); convert")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"user_id": "who"},
            r"mapping user_id: no column 'who' in the source \(there are: item, user",
        ),
        ({"colour": "user"}, "mapping colour: no such field; there are: attributes"),
        ({"items.user_id": "user"}, "mapping items.user_id: no such field"),
        ({"type.buy": "theft"}, "mapping type.buy: 'theft' is no event type"),
    ],
)
def test_a_mapping_that_fits_nothing_is_refused(
    tmp_path: Path, mapping: dict[str, str], message: str
) -> None:
    file = write(tmp_path / "events.csv", "user,item\na,1\n")
    refused(file, message, Options(mapping=mapping))


def test_zero_quantities_negative_prices_and_repeats_are_counted(tmp_path: Path) -> None:
    text = "user,item,qty,price\na,1,1,1\na,1,1,1\na,2,0,1\na,3,-1,1\na,4,1,-0.5\n"
    made = imported(write(tmp_path / "events.csv", text))
    dropped = {s.name: s.dropped for s in made.info.report.steps}
    assert dropped["zero quantities"] == 2
    assert dropped["impossible prices"] == 1
    assert dropped["duplicates"] == 1
    assert made.events.height == 1


def test_what_has_not_happened_yet_is_left_out_and_counted(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    # A shop ahead of UTC that says no offset has events of the next hours.
    times = [now - timedelta(days=3), now + timedelta(hours=13), now + timedelta(days=20_000)]
    lines = "".join(f"a,{n},{time:%Y-%m-%d %H:%M}\n" for n, time in enumerate(times))
    made = imported(write(tmp_path / "events.csv", f"user,item,time\n{lines}"))
    assert {s.name: s.dropped for s in made.info.report.steps}["future times"] == 1
    assert made.events.height == 2


def test_rare_items_go_with_their_events(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item\na,1\nb,1\nb,2\n")
    made = imported(file, options=Options(min_item_events=2))
    assert made.items["item_id"].to_list() == ["1"]
    assert made.events.height == 2


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("user,item,qty\na,1,-1\nb,2,0\n", {}, r"zero quantities 2 \(nothing was bought"),
        ("user,item,price\na,1,-1\nb,2,-3\n", {}, r"impossible prices 2 \(the price is negative"),
        ("user,item\na,1\nb,2\n", {"min_item_events": 9}, r"rare items 2 \(.*fewer than 9 events"),
        ("user,item,price\na,1,x\n", {"skip_bad_rows": True}, r"bad rows 1 \(such as .* line 2"),
    ],
)
def test_where_cleaning_drops_every_event_it_says_what_did(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / "events.csv", text)
    refused(file, rf"events\.csv: cleaning dropped every event: {message}", Options(**options))


def test_events_on_no_known_item_say_so(tmp_path: Path) -> None:
    write(tmp_path / "shop" / "events.csv", "user,item\na,1\n")
    write(tmp_path / "shop" / "items.csv", "item\n2\n")
    refused(tmp_path / "shop", r"unknown items 1 \(the item is not in items\.csv, such as '1'\)")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], [3.0], [1.0, 0.0]], "1 numbers for item 'b' and 2 for others; make all"),
        ([None, [], [1.0, float("nan")]], "the vector of item 'c' holds NaN or infinity; leave"),
        ([[1.0], [1e300], [2.0]], "the vector of item 'b' holds NaN or infinity"),
        (
            [[1.0], None, [2.0]],
            "one number for item 'a'; a vector, whose direction counts, has more",
        ),
        ([[1.0, 2.0], [1.0, None], None], "the vector of item 'b' holds an empty place"),
    ],
)
def test_image_vectors_that_nothing_learns_from_are_refused_at_import(
    tmp_path: Path, vectors: list[list[float | None] | None], message: str
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    pl.DataFrame({"user": ["u"], "item": ["a"]}).write_parquet(shop / "events.parquet")
    items = pl.DataFrame({"item": ["a", "b", "c"], "image_vector": vectors})
    items.write_parquet(shop / "items.parquet")
    with pytest.raises(DatasetError, match=message):
        imported(shop, "parquet")
    assert not (tmp_path / "imported").exists()


def test_items_may_lack_image_vectors(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    pl.DataFrame({"user": ["u"], "item": ["a"]}).write_parquet(shop / "events.parquet")
    items = pl.DataFrame({"item": ["a", "b"], "image_vector": [[], None]})
    items.with_columns(pl.col("image_vector").cast(pl.List(pl.Float32))).write_parquet(
        shop / "items.parquet"
    )
    assert imported(shop, "parquet").items["image_vector"].to_list() == [[], None]


def test_an_order_column_stands_in_for_times(tmp_path: Path) -> None:
    made = imported(write(tmp_path / "events.csv", "user,item,position\na,1,9\na,2,3\n"))
    assert made.info.times == "order"
    assert made.events["item_key"].to_list() == [2, 1]


def test_a_second_basket_of_one_day_is_not_the_first_again(tmp_path: Path) -> None:
    lines = "user,item,date,basket\na,1,2024-01-01,7\na,1,2024-01-01,8\na,1,2024-01-01,8\n"
    made = imported(write(tmp_path / "events.csv", lines))
    assert made.events.height == 2
    assert {s.name: s.dropped for s in made.info.report.steps}["duplicates"] == 1


def test_an_item_without_a_price_of_its_own_costs_what_is_paid_for_it(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item,price\na,1,4\nb,1,6\na,2,9\n")
    write(shop / "items.csv", "id,price\n1,\n2,3\n3,\n")
    assert imported(shop).items["price"].to_list() == [5, 3, None]


def test_an_item_of_a_negative_price_costs_what_is_paid_for_it_and_is_counted(
    tmp_path: Path,
) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item,price\na,1,4\nb,2,6\n")
    write(shop / "items.csv", "id,price\n1,-3\n2,5\n3,-1\n")
    made = imported(shop)
    assert made.items["price"].to_list() == [4, 5, None]
    (step,) = (s for s in made.info.report.steps if s.unit == "prices")
    assert (step.kept, step.dropped) == (1, 2)


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("kind", [pl.String(), pl.Categorical()])
def test_a_shopper_without_a_name_is_no_shopper_in_parquet_either(
    tmp_path: Path, blank: str, kind: pl.DataType
) -> None:
    file = tmp_path / "events.parquet"
    users = pl.Series(["b", blank]).cast(kind)
    pl.DataFrame({"user": users, "item": ["1", "2"]}).write_parquet(file)
    with pytest.raises(SourceError, match="row 2, column user: is empty"):
        imported(file, "parquet")


@pytest.mark.parametrize("format_name", ["csv", "parquet"])
def test_blanks_around_ids_are_no_part_of_them(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / f"events.{format_name}"
    told = pl.DataFrame({"user": [" b "], "item": [" 12 "]})
    told.write_csv(file) if format_name == "csv" else told.write_parquet(file)
    events = imported(file, format_name).events
    assert events.select("user_id", "item_key").rows() == [("b", 12)]


def test_without_times_and_order_the_data_says_so(tmp_path: Path) -> None:
    made = imported(write(tmp_path / "events.csv", "user\titem\na\t1\n"))
    assert made.info.times == "none"


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    text = "user,item,split\na,1,train\na,2,Validation\na,3,test\n"
    made = imported(write(tmp_path / "events.csv", text))
    assert made.events["split"].to_list() == ["train", "valid", "test"]


def test_an_empty_column_is_no_column(tmp_path: Path) -> None:
    made = imported(write(tmp_path / "events.csv", "user,item,time,price\na,1,,\n"))
    assert made.info.times == "none"


def test_attributes_must_be_json_objects(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item\na,1\n")
    write(shop / "items.csv", "item\tattributes\n1\tred\n")
    refused(shop, r"items\.csv line 2, column attributes: 'red' is not a JSON object")
    write(shop / "items.csv", 'item\tattributes\n1\t"{""size"": 3, ""new"": true}"\n')
    attributes = imported(shop).items["attributes"][0]
    assert json.loads(attributes) == {"size": "3", "new": "true"}


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    pl.DataFrame(
        {"user": [1.0, 2.0], "item": [10, 11], "date": [date(2024, 1, 2), date(2024, 1, 1)]}
    ).write_parquet(shop / "events.parquet")
    pl.DataFrame(
        {
            "item": [10, 11],
            "genres": [["a", "b"], []],
            "image_vector": [[0.5, 1.0], None],
            "attributes": [{"size": "L"}, {"size": None}],
            "in_stock": [False, None],
        }
    ).write_parquet(shop / "items.parquet")
    made = imported(shop, "parquet")
    assert made.events["user_id"].to_list() == ["1", "2"]
    assert made.events["time"].to_list()[0] == datetime(2024, 1, 2, tzinfo=UTC)
    assert made.items["category"].to_list() == ["a, b", ""]
    assert made.items["image_vector"].to_list() == [[0.5, 1.0], None]
    assert made.items["attributes"].to_list() == ['{"size": "L"}', "{}"]
    assert made.items["available"].to_list() == [False, True]


def test_parquet_errors_name_the_row(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    pl.DataFrame({"user": ["a", None], "item": ["1", "2"]}).write_parquet(file)
    with pytest.raises(SourceError, match=r"events\.parquet row 2, column user: is empty"):
        import_dataset("parquet", file, tmp_path / "out")
    file.write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="not a Parquet file"):
        import_dataset("parquet", file, tmp_path / "out")


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


def test_that_every_event_counts_as_a_purchase_is_said(tmp_path: Path) -> None:
    plain = imported(write(tmp_path / "plain" / "events.csv", "user,item\na,1\n"))
    assert any(n.endswith("so every event counts as a purchase") for n in plain.info.notes)
    typed = imported(write(tmp_path / "typed" / "events.csv", "user,item,event\na,1,view\n"))
    assert not any("purchase" in n for n in typed.info.notes)


def test_ratings_are_read_as_the_note_says(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item,stars\na,1,5.0\na,2,1.0\n")
    made = imported(file)
    assert made.events["type"].to_list() == ["purchase", "purchase"]
    note = next(note for note in made.info.notes if "whatever its stars" in note)
    assert note.endswith("--map type=stars --map type.1.0=dislike --map type.5.0=like")
    mapping = {"type": "stars", "type.1.0": "dislike", "type.5.0": "like"}
    made = imported(file, options=Options(mapping=mapping))
    assert made.events["type"].to_list() == ["like", "dislike"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"user,item\na,1\n"), "is a compressed file or a spreadsheet; unpack it"),
        (b"PK\x03\x04 and so on", "is a compressed file or a spreadsheet; unpack it"),
        ("user,item\na,1\n".encode("utf-16"), "is UTF-16; convert the file to UTF-8"),
        ("user,item\na,1\n".encode("utf-16-le"), "line 1: holds zero bytes"),
        (b"user,item\na,1\nb\x00,2\n", "line 3: holds zero bytes"),
    ],
)
def test_what_is_no_plain_text_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(content)
    refused(file, rf"events\.csv:? {message}")


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


def test_an_id_is_the_same_however_its_accents_are_encoded(tmp_path: Path) -> None:
    apart, whole = "cafe\u0301", "caf\u00e9"
    events = f"user,item\na,{apart}\nb,{whole}\n"
    alone = imported(write(tmp_path / "alone" / "events.csv", events))
    assert alone.items["item_id"].to_list() == [apart]
    write(tmp_path / "shop" / "events.csv", events)
    write(tmp_path / "shop" / "items.csv", f"id,title\n{whole},Coffee\n{apart},Again\n")
    made = imported(tmp_path / "shop")
    assert made.items.select("item_id", "title").rows() == [(whole, "Coffee")]
    assert made.events["item_key"].to_list() == made.items["item_key"].to_list() * 2


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_is_found_however_its_accents_are_encoded(tmp_path: Path, kind: str) -> None:
    columns = {"Nu\u0301mero": ["a"], "item": ["1"]}
    file = tmp_path / f"events.{kind}"
    if kind == "csv":
        pl.DataFrame(columns).write_csv(file)
    else:
        pl.DataFrame(columns).write_parquet(file)
    made = imported(file, kind, Options(mapping={"user_id": "N\u00famero"}))
    assert made.events["user_id"].to_list() == ["a"]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_that_says_the_separator_is_none_of_the_table(tmp_path: Path, first: str) -> None:
    text = f"{first}\nuser;item;query\na;1;big, red, round, cheap\n"
    made = imported(write(tmp_path / "events.csv", text))
    assert made.events["query"].to_list() == ["big, red, round, cheap"]
    refused(write(tmp_path / "bad.csv", text + "b\n"), "line 4: 1 values under 3 column names")
