"""csv and parquet: a shop's own tables, and what their columns are."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from models.data.errors import SourceError
from models.data.importers import Options, import_dataset
from tests.unit.data.builders import write
from tests.unit.data.tabular import imported, refused

EVENTS = """Customer ID,product_id,event,timestamp,qty,price,country
a,1,buy,2024-01-02T10:00:00Z,1,2.5,de
a,2,view,2024-01-01 09:00,,,de
b,3,addtocart,2024-01-03,2,3,fr
"""


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


def test_an_order_column_stands_in_for_times(tmp_path: Path) -> None:
    made = imported(write(tmp_path / "events.csv", "user,item,position\na,1,9\na,2,3\n"))
    assert made.info.times == "order"
    assert made.events["item_key"].to_list() == [2, 1]


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


def test_a_kind_of_items_is_one_however_its_accents_are_encoded(tmp_path: Path) -> None:
    apart, whole = "cafe\u0301", "caf\u00e9"
    write(tmp_path / "events.csv", "user,item\na,1\nb,2\n")
    kinds = ("domain", "category", "brand", "provider")
    rows = (f"{number},{','.join([kind] * 4)}\n" for number, kind in ((1, apart), (2, whole)))
    write(tmp_path / "items.csv", f"id,{','.join(kinds)}\n{''.join(rows)}")
    made = imported(tmp_path)
    assert made.items.select(kinds).rows() == [(whole,) * 4] * 2


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
