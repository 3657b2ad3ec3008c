"""Icecat product search: *.json.zip catalogues and judged queries.

Each archive holds JSON lists of products with a title, a short description,
attributes named attr_t_* (text), attr_n_* (numbers) and attr_b_* (yes or no).
A CSV `query,docid,rating` says how well products answer queries. There are no
shoppers: the dataset has items and queries, and no events.
"""

import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from models.data.dataset import DatasetInfo
from models.data.errors import SourceError
from models.data.importers.base import (
    Imported,
    Options,
    attributes_json,
    complete_events,
    complete_items,
    report_of,
    with_known_keys,
)
from models.data.importers.columns import whole_number
from models.data.importers.delimited import LINE, header_of, read_delimited
from models.data.importers.lines import require_whole
from models.data.report import CleaningStep
from models.data.schema import EVENTS

_RATINGS = ("query", "docid", "rating")
_ATTRIBUTE = re.compile(r"^attr_[a-z]_(.+)$")
# How a product is shipped and stored is no reason to find it: not part of the text.
_LOGISTICS = re.compile(
    r"^(released|ean|package|pallet|master|shipping|quantity per (pallet|master|pack)|gross weight"
    r"|net weight|number of (cartons|layers)|minimum order|(non )?operating (temp|alt|rel)"
    r"|storage (temp|alt|rel)|harmonized|country of origin|launch date|last change|oem code)"
)
# A run of up to four words in small letters: "toner cartridge", "power adapter/inverter".
_SMALL = r"[^\W\d_A-Z](?:[^\W\d_A-Z]|[/&-])+"
_KIND = re.compile(rf"({_SMALL}(?: {_SMALL}){{0,3}})(?= |$)")
# A phrase of the titles is a category if at least so many products share it.
_CATEGORY_SIZE = 5


def read(source: Path, options: Options) -> Imported:
    """Read all *.json.zip (or *.json) of a directory, and its ratings if there are any.

    Raises SourceError naming the file and the product or line.
    """
    files = sorted([*source.glob("*.json.zip"), *source.glob("*.json")])
    if not files:
        raise SourceError(f"{source}: holds no *.json.zip; give the directory of the catalogue")
    products = [p for file in files for p in _products(file)]
    if not products:
        raise SourceError(f"{source}: no product in {', '.join(f.name for f in files)}")
    first: dict[str, Mapping[str, Any]] = {}
    for product in products:
        first.setdefault(str(product["id"]), product)
    unique = list(first.values())
    cents = _in_cents(unique)
    name = options.name or source.resolve().name
    rows = [_item(product, cents=cents) | {"domain": name} for product in unique]
    items = complete_items(_with_categories(pl.DataFrame(rows, infer_schema_length=None)))
    steps = [
        CleaningStep("products read", len(products), 0, f"{len(files)} files", "items"),
        CleaningStep(
            "duplicates", len(unique), len(products) - len(unique), "the id again", "items"
        ),
        CleaningStep("categories", len(unique), 0, _category_note(items), "items"),
    ]
    queries, judged = _queries(source, items)
    unit = "in hundredths of the currency" if cents else "in whole units of the currency"
    info = DatasetInfo(
        name=name,
        source="Open Icecat product data (Open Content License) with judged queries",
        times="none",
        report=report_of(*steps, *judged),
        notes=(
            f"prices stand {unit} in the source",
            "domain is the name of the set",
            *(() if judged else (f"no CSV has the columns {', '.join(_RATINGS)}: no queries",)),
        ),
    )
    events = complete_events(pl.DataFrame(schema={n: EVENTS[n] for n in _EVENT_IDS}))
    return Imported(items, events, info, queries)


_EVENT_IDS = ("user_id", "item_key", "order")


def _products(file: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the products of an archive or a plain JSON file, checked for what must be there."""
    for where, raw in _contents(file):
        try:
            listed = json.loads(raw.decode("utf-8-sig"))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
            raise SourceError(f"{where}: not valid JSON in UTF-8 ({error})") from None
        if not isinstance(listed, list):
            raise SourceError(f"{where}: must be a JSON list of products")
        for number, product in enumerate(listed, start=1):
            yield _checked(product, f"{where} product {number}")


def _checked(product: Any, where: str) -> Mapping[str, Any]:
    """Return a product with its price as a number; raises SourceError if it is none."""
    if not isinstance(product, dict):
        raise SourceError(f"{where}: must be a JSON object")
    for field in ("id", "title"):
        if not str(product.get(field) or "").strip():
            raise SourceError(f"{where}, field {field}: is empty")
    require_whole(product, where)
    given = product.get("price")
    try:
        return {**product, "price": _price(given)}
    except (OverflowError, TypeError, ValueError):
        raise SourceError(f"{where}, field price: {given!r} is not a number") from None


def _price(given: Any) -> float | None:
    """Return a price given as a number or in digits, None if there is none.

    Raises TypeError, ValueError or OverflowError if it is no finite number.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    if isinstance(given, bool):
        raise TypeError
    price = float(given)
    if not math.isfinite(price):
        raise ValueError
    return price


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    if file.suffix == ".json":
        yield str(file), file.read_bytes()
        return
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                if member.endswith(".json") and not member.startswith("__MACOSX/"):
                    yield f"{file}!{member}", archive.read(member)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{file}: not a zip archive that can be read ({error})") from None


def _in_cents(products: list[Mapping[str, Any]]) -> bool:
    """Whole numbers throughout, mostly of hundreds and more: hundredths of the currency."""
    prices = [p["price"] for p in products if p.get("price")]
    whole = all(price.is_integer() for price in prices)
    return bool(prices) and whole and sorted(prices)[len(prices) // 2] >= 500


def _item(product: Mapping[str, Any], *, cents: bool) -> dict[str, Any]:
    attributes = dict(_attributes(product))
    supplier = str(product.get("supplier") or "")
    price = product.get("price")
    title = str(product["title"]).strip()
    return {
        "item_id": str(product["id"]),
        "title": title,
        "text": _text(title, product, attributes),
        "category": attributes.get("product type", ""),
        "phrase": _phrase(title, str(product.get("name") or "")),
        "brand": supplier,
        "provider": supplier,
        "price": (price / 100 if cents else price) if price and price > 0 else None,
        "attributes": attributes_json(attributes),
    }


def _phrase(title: str, name: str) -> str:
    """Return what the title calls the product, "" if nothing.

    Titles are made of supplier, name, kind and facts; the kind is the run of
    small words after the name: "HP 85 toner cartridge Original" -> "toner cartridge".
    Without a name nobody knows where the kind begins.
    """
    if not name.strip():
        return ""
    _, found, rest = title.partition(name)
    match = _KIND.match(rest.strip()) if found else None
    return match.group(1) if match else ""


def _with_categories(items: pl.DataFrame) -> pl.DataFrame:
    """Choose the category of each item from what titles call products.

    In this order: the title's phrase if enough products share it, the stated
    product type, the longest such phrase anywhere in the title (one word alone
    may only be what the product is for: "mouse pad").
    """
    phrases = (
        items["phrase"]
        .value_counts()
        .filter((pl.col("phrase") != "") & (pl.col("count") >= _CATEGORY_SIZE))["phrase"]
    )
    several = sorted(p for p in phrases if " " in p)
    anywhere = re.compile(rf"\b({'|'.join(map(re.escape, several))})\b") if several else None
    chosen = [
        _category(row, set(phrases), anywhere)
        for row in items.select("title", "phrase", "category").iter_rows(named=True)
    ]
    return items.with_columns(category=pl.Series(chosen, dtype=pl.String)).drop("phrase")


def _category(row: Mapping[str, str], shared: set[str], anywhere: re.Pattern[str] | None) -> str:
    if row["phrase"] in shared:
        return row["phrase"]
    if re.search(r"[^\W\d_]{3}", row["category"]):
        return row["category"].lower()
    found = max(anywhere.findall(row["title"].lower()), key=len, default="") if anywhere else ""
    return str(found)


def _category_note(items: pl.DataFrame) -> str:
    without = items.filter(pl.col("category") == "").height
    return f"from the titles' wording or the stated product type; {without:,} have none"


def _attributes(product: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield attribute names in words and values as text: "Wi-Fi" is named "wi fi", with "yes"."""
    for field, value in product.items():
        found = _ATTRIBUTE.match(field)
        if found and value is not None:
            yield re.sub(r"_+", " ", found.group(1)).strip(), _value(value)
    released = str(product.get("date_released") or "")[:10]
    if released:
        yield "released", released
    codes = product.get("ean") or []
    if codes:
        yield "ean", " ".join(map(str, codes if isinstance(codes, list) else [codes]))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    return re.sub(r"(\\n|\s)+", " ", str(value)).strip()  # some hold a written-out \\n


def _text(title: str, product: Mapping[str, Any], attributes: Mapping[str, str]) -> str:
    """Join name, short description and attributes in words; what the product lacks is left out."""
    parts = [str(product.get("name") or ""), str(product.get("short_description") or "")]
    parts = [part.strip() for part in parts if part.strip() and part.strip() not in title]
    told = [
        name if value == "yes" else f"{name}: {value}"
        for name, value in attributes.items()
        if value != "no" and not _LOGISTICS.match(name)
    ]
    return ". ".join([*dict.fromkeys(parts), *(["; ".join(told)] if told else [])])


def _queries(source: Path, items: pl.DataFrame) -> tuple[pl.DataFrame | None, list[CleaningStep]]:
    """Read every CSV with the columns query, docid and rating."""
    files = [f for f in sorted(source.glob("*.csv")) if set(_RATINGS) <= set(header_of(f))]
    if not files:
        return None, []
    judged = pl.concat([_ratings(file) for file in files])
    unique = judged.unique(["query", "item_id"], keep="first", maintain_order=True)
    unit, why = "judgements", "judged, but not in the catalogue"
    known, step = with_known_keys(unique, items, "unknown products", why, unit)
    return known.select("query", "item_key", "rating"), [
        CleaningStep("judgements read", judged.height, 0, f"{len(files)} files", unit),
        CleaningStep(
            "judged twice", unique.height, judged.height - unique.height, "the first counts", unit
        ),
        step,
    ]


def _ratings(file: Path) -> pl.DataFrame:
    table = read_delimited(file).checked()
    rated = table.select(
        LINE,
        pl.col("query"),
        pl.col("docid").alias("item_id"),
        pl.col("rating").alias("given"),
        whole_number(table["rating"]).values.alias("rating"),
    )
    for column, name in (("query", "query"), ("item_id", "docid"), ("rating", "rating")):
        bad = rated.filter(pl.col(column).is_null())
        if bad.height:
            given = bad["given"][0] if column == "rating" else None
            what = "is empty" if given is None else f"{given!r} is not a whole number"
            raise SourceError(f"{file} line {bad[LINE][0]}, column {name}: {what}")
    return rated.select("query", "item_id", "rating")
