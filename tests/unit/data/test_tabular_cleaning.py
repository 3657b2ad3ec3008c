"""csv and parquet: what is left out and counted, made up for, or refused at import."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.data.errors import DatasetError
from models.data.importers import Options
from tests.unit.data.builders import write
from tests.unit.data.tabular import imported, refused


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
