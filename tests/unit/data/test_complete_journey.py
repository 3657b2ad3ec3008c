"""Every cleaning rule of Complete Journey on lines made for it, then the real package."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.data.dataset import Dataset, load_dataset
from models.data.errors import SourceError
from models.data.importers import Options, import_dataset
from models.data.importers.complete_journey import clean_lines
from models.data.importers.grocery_products import describe_products

NOON = datetime(2017, 3, 1, 12)  # noqa: DTZ001 the package stores times without a zone
_TYPES = {"sales_value": pl.Float64(), "transaction_timestamp": pl.Datetime("ns")}


def line(product: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "household_id": 7,
        "store_id": 300,
        "basket_id": 1,
        "product_id": product,
        "quantity": 1,
        "sales_value": 2.0,
        "retail_disc": 0.0,
        "coupon_disc": 0.0,
        "coupon_match_disc": 0.0,
        "transaction_timestamp": NOON,
        **fields,
    }


def product(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "product_id": number,
        "manufacturer_id": 69,
        "department": "GROCERY",
        "brand": "Private",
        "product_category": "YOGURT",
        "product_type": "YOGURT NOT MULTI-PACKS",
        "package_size": "6 OZ",
        **fields,
    }


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    made = pl.DataFrame(list(rows), infer_schema_length=None)
    return made.with_columns(pl.col(n).cast(t) for n, t in _TYPES.items() if n in made.columns)


@pytest.mark.parametrize(
    ("bad", "described", "step"),
    [
        (line(9), product(1), "unknown products"),
        (line(9), product(9, department="FUEL"), "non-product departments"),
        (line(9), product(9, product_category="COUPON/MISC ITEMS"), "non-product lines"),
        (line(9), product(9, product_type="GASOLINE-REG UNLEADED"), "non-product lines"),
        (line(9), product(9, product_category=None, product_type=None), "no description"),
        (line(9, quantity=0), product(9), "zero quantities"),
        (line(1), product(9), "duplicates"),
        (line(9, sales_value=0.0), product(9), "no price"),
    ],
)
def test_a_rule_drops_the_line_made_for_it_and_nothing_else(
    bad: dict[str, Any], described: dict[str, Any], step: str
) -> None:
    products = frame(product(1), *([described] if described["product_id"] == 9 else []))
    kept, steps = clean_lines(frame(line(1), bad), products)
    assert {s.name: s.dropped for s in steps if s.dropped} == {step: 1}
    assert kept["product_id"].to_list() == [1]


def test_a_price_far_from_the_products_own_median_is_impossible() -> None:
    lines = [line(basket_id=i, sales_value=2.0 + i / 10) for i in range(8)]
    lines += [line(basket_id=90, sales_value=40.0), line(basket_id=91, sales_value=0.1)]
    kept, steps = clean_lines(frame(*lines), frame(product(1)))
    assert {s.name: s.dropped for s in steps if s.dropped} == {"impossible prices": 2}
    assert kept.height == 8


def test_a_gift_with_a_list_price_stays_and_costs_nothing() -> None:
    kept, _ = clean_lines(frame(line(sales_value=0.0, retail_disc=2.0)), frame(product(1)))
    assert kept.select("list_price", "paid").row(0) == (2.0, 0.0)


def test_prices_are_for_a_unit_after_all_discounts() -> None:
    bought = line(
        quantity=2, sales_value=3.0, retail_disc=1.0, coupon_disc=0.5, coupon_match_disc=0.5
    )
    kept, _ = clean_lines(frame(bought), frame(product(1)))
    assert kept.select("list_price", "paid").row(0) == (2.25, 1.25)


def test_a_coupon_worth_more_than_the_line_makes_it_free() -> None:
    kept, steps = clean_lines(frame(line(coupon_disc=2.5)), frame(product(1)))
    assert kept["paid"].to_list() == [0.0]
    assert "1 lines kept" in steps[-1].reason


def described(*products: dict[str, Any]) -> list[dict[str, Any]]:
    return describe_products(frame(*products))[0].rows(named=True)


def test_titles_can_be_read() -> None:
    own, branded = described(product(1), product(2, brand="National", manufacturer_id=103))
    assert own["title"] == "Yogurt not multi-packs, 6 oz, store brand"
    assert branded["title"] == "Yogurt not multi-packs, 6 oz, brand 103"
    assert (own["category"], own["domain"], own["provider"]) == ("Yogurt", "Grocery", "69")


def test_one_word_that_says_too_little_gets_its_category() -> None:
    (found,) = described(product(1, product_type="PREMIUM", product_category="ICE CREAM"))
    assert found["title"].startswith("Ice cream: premium")


def test_a_missing_category_is_the_usual_one_of_the_type() -> None:
    found = described(product(1), product(2, product_category=None))
    assert [item["category"] for item in found] == ["Yogurt", "Yogurt"]


def test_a_misfiled_product_moves_to_where_its_category_is_sold() -> None:
    apples = {"product_category": "APPLES", "product_type": "APPLES GALA"}
    filed = [product(i, department="PRODUCE", **apples) for i in range(1, 22)]
    found = described(*filed, product(99, department="TRAVEL & LEISURE", **apples))
    assert {item["domain"] for item in found} == {"Produce"}


def test_loose_produce_has_no_crate_size() -> None:
    (found,) = described(
        product(1, department="PRODUCE", package_size="40 LB", product_type="GREEN BANANAS")
    )
    assert found["title"] == "Green bananas, store brand"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two households, two products, and one product that is bought once."""
    home = tmp_path / "journey"
    home.mkdir()
    lines = [
        line(p, household_id=h, basket_id=100 * h + d, transaction_timestamp=NOON + timedelta(d))
        for h in (7, 8)
        for d in range(5)
        for p in (1, 2)
    ]
    frame(*lines, line(3)).write_parquet(home / "transactions.parquet")
    frame(product(1), product(2), product(3)).write_parquet(home / "products.parquet")
    return home


def test_an_import_has_utc_times_orders_and_enough_purchases(source: Path, tmp_path: Path) -> None:
    import_dataset("complete-journey", source, tmp_path / "out")
    made = load_dataset(tmp_path / "out")
    assert made.items["item_id"].to_list() == ["1", "2"]
    assert made.events["time"].min() == NOON.replace(tzinfo=UTC)
    assert made.events.filter(pl.col("user_id") == "7")["order"].to_list() == list(range(10))
    assert made.events["basket"].n_unique() == 10
    assert made.items["price"].to_list() == [2.0, 2.0]


def test_the_minimum_of_purchases_can_be_chosen(source: Path, tmp_path: Path) -> None:
    options = Options(min_item_events=1)
    assert import_dataset("complete-journey", source, tmp_path / "o", options).items.height == 3


def test_another_source_than_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no transactions\.parquet; use `package`"):
        import_dataset("complete-journey", tmp_path, tmp_path / "out")


def test_a_file_that_is_no_parquet_is_named(source: Path, tmp_path: Path) -> None:
    (source / "products.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"products\.parquet: cannot be read"):
        import_dataset("complete-journey", source, tmp_path / "out")


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("journey") / "out"
    import_dataset("complete-journey", Path("package"), path)
    return load_dataset(path)


def test_the_real_package_imports_whole(journey: Dataset) -> None:
    steps = {s.name: s for s in journey.info.report.steps}
    assert steps["purchase lines read"].kept == 1_469_307
    lost = sum(s.dropped for s in steps.values() if s.unit == "events")
    assert journey.events.height == 1_469_307 - lost
    assert journey.items.height > 19_000
    assert "simulated data based on real grocery shopping patterns" in journey.info.source


def test_no_fuel_coupons_or_impossible_prices_are_left(journey: Dataset) -> None:
    assert not journey.items["title"].str.contains("(?i)gasoline|coupon|gift card").any()
    assert journey.events.select((pl.col("list_price") > 0).all()).item()
    assert journey.events.select((pl.col("price") >= 0).all()).item()
    assert journey.events.select((pl.col("quantity") > 0).all()).item()
    assert journey.events.group_by("item_key").len()["len"].min() == 10


def test_every_item_has_a_title_a_category_and_a_domain(journey: Dataset) -> None:
    for column in ("title", "text", "category", "domain", "provider"):
        assert (journey.items[column] != "").all(), column
    assert journey.items["price"].null_count() == 0
    assert journey.items.filter(pl.col("title").str.contains("(?i)yogurt")).height > 100
