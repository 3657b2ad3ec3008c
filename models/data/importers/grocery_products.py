"""Complete Journey products to items: readable words, and departments that make sense.

Three repairs, each counted: a product without a category gets the one most
products of its type have, a product filed in a tiny department moves to where
its category belongs ("travel & leisure" sells apples), and register texts become
titles a person can read.
"""

import re

import polars as pl

from models.data.importers.base import attributes_json
from models.data.importers.grocery_words import is_crate, readable, readable_size, vocabulary
from models.data.report import CleaningStep

# Departments with fewer products than this are checked for misfiled ones.
SMALL_DEPARTMENT = 20
_DEPARTMENTS = {
    "DRUG GM": "Drugstore & general merchandise",
    "MEAT-PCKGD": "Packaged meat",
    "SEAFOOD-PCKGD": "Packaged seafood",
    "NUTRITION": "Natural foods & nutrition",
}


def describe_products(products: pl.DataFrame) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Return items (with `product_id`, without price) and the repairs made."""
    filled, categories = _fill_categories(products)
    placed, departments = _replace_departments(filled)
    known = vocabulary(
        [
            *products["product_type"].drop_nulls().unique(),
            *products["product_category"].drop_nulls().unique(),
        ]
    )
    placed = placed.with_columns(
        _mapped(
            placed["product_type"], {t: readable(t, known) for t in _values(placed, 0)}, "kind"
        ),
        _mapped(
            placed["product_category"],
            {c: readable(c, known) for c in _values(placed, 1)},
            "category",
        ),
        _mapped(
            placed["department"],
            {d: _DEPARTMENTS.get(d) or readable(d, known) for d in _values(placed, 2)},
            "domain",
        ),
        _mapped(placed["package_size"], {s: readable_size(s) for s in _values(placed, 3)}, "size"),
    )
    rows = [_item(row) for row in placed.sort("product_id").iter_rows(named=True)]
    items = pl.DataFrame(rows)
    done = CleaningStep("products described", items.height, 0, "from register texts", "items")
    return items, [categories, departments, done]


def _item(row: dict[str, str | int]) -> dict[str, str | int]:
    kind, category = str(row["kind"]), str(row["category"])
    # Loose produce carries the size of the crate it came in.
    loose = row["department"] == "PRODUCE" and is_crate(str(row["size"]))
    size = "" if loose else str(row["size"])
    private = row["brand"] == "Private"
    maker = "store brand" if private else f"brand {row['manufacturer_id']}"
    name = _name(kind, category)
    attributes = {"type": kind, "size": size, "brand": "private" if private else "national"}
    return {
        "product_id": row["product_id"],
        "item_id": str(row["product_id"]),
        "title": ", ".join(part for part in (name, size, maker) if part),
        "text": ". ".join(
            part for part in (name, category, str(row["domain"]), size, maker) if part
        ),
        "domain": row["domain"],
        "category": category,
        "brand": row["brand"],
        "provider": str(row["manufacturer_id"]),
        "attributes": attributes_json({k: v for k, v in attributes.items() if v}),
    }


def _name(kind: str, category: str) -> str:
    """Return the type, after its category where one word alone says too little ("Premium")."""
    if not kind or not category:
        return kind or category
    stems = {word[:4] for word in re.findall(r"[a-z]+", category.lower())}
    words = re.findall(r"[a-z]+", kind.lower())
    if len(words) > 1 or any(word[:4] in stems for word in words):
        return kind
    return f"{category}: {kind.lower()}"


def _fill_categories(products: pl.DataFrame) -> tuple[pl.DataFrame, CleaningStep]:
    usual = _most_common(products, by="product_type", value="product_category")
    filled = products.join(usual, on="product_type", how="left", maintain_order="left")
    missing = pl.col("product_category").is_null()
    count = filled.filter(missing).height
    reason = f"{count:,} without a category get the usual one of their type, or the type"
    filled = filled.with_columns(pl.coalesce("product_category", "usual", "product_type")).drop(
        "usual"
    )
    return filled, CleaningStep("missing categories", filled.height, 0, reason, "items")


def _replace_departments(products: pl.DataFrame) -> tuple[pl.DataFrame, CleaningStep]:
    usual = _most_common(products, by="product_category", value="department")
    joined = products.join(usual, on="product_category", how="left", maintain_order="left")
    small = pl.len().over("department") < SMALL_DEPARTMENT
    moved = pl.coalesce(pl.when(small).then("usual"), "department")
    count = joined.filter(moved != pl.col("department")).height
    reason = f"{count:,} in tiny departments move to where their category is sold"
    placed = joined.with_columns(moved.alias("department")).drop("usual")
    return placed, CleaningStep("misfiled products", placed.height, 0, reason, "items")


def _most_common(products: pl.DataFrame, by: str, value: str) -> pl.DataFrame:
    """Return `by` and `usual`: the most frequent value, the first by name among equals."""
    counts = products.drop_nulls([by, value]).group_by(by, value).len()
    counts = counts.sort("len", value, descending=[True, False])
    return counts.group_by(by, maintain_order=True).agg(usual=pl.col(value).first())


def _values(products: pl.DataFrame, which: int) -> list[str]:
    column = ("product_type", "product_category", "department", "package_size")[which]
    return products[column].drop_nulls().unique().to_list()


def _mapped(column: pl.Series, words: dict[str, str], name: str) -> pl.Series:
    return (
        column.replace_strict(words, default="", return_dtype=pl.String).fill_null("").alias(name)
    )
