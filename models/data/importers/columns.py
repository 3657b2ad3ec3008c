"""Which column holds which field, and how text becomes a value.

Names are found by themselves where they are usual ("customer_id", "asin",
"timestamp"); a mapping decides where they are not. A value that does not fit is
never guessed: it is a Problem with its line, and the caller stops or counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from models.data.errors import SourceError
from models.data.importers.kinds import as_text, scalars
from models.data.importers.numbers import WRITE, as_plain, may_be_numbers

# Usual names of each field, in the order they are tried; compared in small
# letters without blanks, dashes and underscores. The field's own name comes first.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("user", "customer", "shopper", "household", "visitor", "member", "uid", "reviewer"),
    "item_id": (
        "item", "product", "article", "sku", "asin", "parentasin", "movie", "track", "artist",
        "business", "book", "doc",
    ),
    "type": ("event", "eventtype", "action", "behavior", "behaviour"),
    "time": ("timestamp", "datetime", "date", "eventtime", "createdat", "unixreviewtime"),
    "order": ("position", "sequence", "step"),
    "quantity": ("qty", "count", "units"),
    "price": ("unitprice", "listprice"),
    "market": ("country", "region", "shop"),
    "query": ("searchquery", "searchterm", "keywords"),
    "split": ("fold", "subset"),
    "title": ("name", "productname", "itemname", "producttitle"),
    "text": ("description", "details"),
    "domain": ("department", "productline", "maincategory", "vertical"),
    "category": ("categoryname", "categories", "genre", "genres", "productcategory"),
    "brand": ("brandname", "make"),
    "provider": ("seller", "vendor", "supplier", "manufacturer", "store"),
    "attributes": ("features", "properties"),
    "available": ("instock", "isavailable", "availability"),
    "rating": ("relevance", "grade", "label", "judgement", "judgment"),
    "image_vector": ("imageembedding",),
}  # fmt: skip
EVENT_TYPE_WORDS: Mapping[str, tuple[str, ...]] = {
    "view": ("pageview", "detail", "detailview", "productview", "viewed", "pv", "impressionclick"),
    "click": ("clicked", "clickout"),
    "cart": ("addtocart", "basket", "addtobasket", "carts"),
    "purchase": ("buy", "bought", "order", "transaction", "sale", "purchased", "checkout"),
    "like": ("favorite", "favourite", "fav", "wishlist", "upvote", "liked"),
    "dislike": ("downvote", "disliked"),
}
SPLIT_WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("training",),
    "valid": ("validation", "val", "dev"),
    "test": ("testing", "heldout"),
}
_TRUE, _FALSE = ("true", "yes", "y", "1", "1.0", "t"), ("false", "no", "n", "0", "0.0", "f")
# Numeric times: seconds, or finer where the numbers are too large for that.
_TIME_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (float("inf"), 1e-3))  # to microseconds
_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S%.f", "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S%.f", "%d.%m.%Y %H:%M", "%Y%m%d %H%M%S%.f", "%Y%m%d %H%M",
)  # fmt: skip
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d")
# Times as digits alone, by how many digits follow the date.
_DIGIT_FORMATS = {4: "%Y%m%d%H%M", 6: "%Y%m%d%H%M%S"}
# Microseconds, three years: nothing was sold earlier, so such numbers are of another kind.
_LEAST_MICROS = 1e14


@dataclass(frozen=True, slots=True)
class Problem:
    """A value that cannot be read."""

    line: int
    column: str  # as the file names it
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """A column read as a field: values, and where they are wrong."""

    values: pl.Series
    wrong: pl.Series  # bool
    expected: str  # for messages: "a number"
    fits: bool = True  # false: a column of this type never holds such values
    assumed: str = ""  # how values are written, where that is not said by each of them


def plain(name: str) -> str:
    """Return a name without what spelling varies in: "User-ID" -> "userid"."""
    return "".join(c for c in name.lower() if c.isalnum())


def find_columns(
    columns: list[str], fields: tuple[str, ...], table: str, mapping: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return field -> column for one table ("events", "items", "queries").

    `mapping` holds "table.field" or "field"; the first must exist in the file,
    the second must exist in some file (checked by `check_mapping`). Raises
    SourceError if a named column is not there.
    """
    found: dict[str, str] = {}
    spelled = {plain(c): c for c in reversed(columns)}
    for field in fields:
        own = mapping.get(f"{table}.{field}")
        if own is not None and own not in columns:
            raise SourceError(
                f"{where}: no column {own!r} for {table}.{field} (there are: {', '.join(columns)})"
            )
        wanted = own or mapping.get(field)
        if wanted is not None:
            if wanted in columns:
                found[field] = wanted
            continue
        names = (plain(field), *ALIASES.get(field, ()))
        if (table, field) == ("items", "item_id"):
            names += ("id",)  # elsewhere an id may be the row's own
        names += tuple(f"{n}id" for n in names if field.endswith("_id"))
        match = next((spelled[n] for n in names if n in spelled), None)
        if match is not None and match not in mapping.values():
            found[field] = match
    return found


def text(column: pl.Series) -> Values:
    """Read text: anything is text; whole floating-point ids lose their ".0"."""
    if column.dtype.is_float():
        whole = column.drop_nulls()
        # What no integer holds stays as it is.
        if (whole.abs() < 2.0**63).all() and (whole == whole.floor()).all():
            column = column.cast(pl.Int64)
    read = as_text(column)
    return Values(read, column.is_not_null() & read.is_null(), "text")


def number(column: pl.Series) -> Values:
    """Read numbers; infinities and NaN are wrong."""
    given = scalars(column)
    if given is None:
        return _unfit(column, pl.Float64(), "a number")
    plain, assumed = as_plain(given) if given.dtype == pl.String else (given, "")
    read = plain.cast(pl.Float64, strict=False)
    read = read.set(~read.is_finite().fill_null(value=True), None)
    wrong = column.is_not_null() & read.is_null()
    doubtful = given.dtype == pl.String and may_be_numbers(given.filter(wrong))
    return Values(read, wrong, f"a number{WRITE if doubtful else ''}", assumed=assumed)


def whole_number(column: pl.Series) -> Values:
    """Read whole numbers ("3" and "3.0")."""
    found = number(column)
    uneven = (found.values != found.values.floor()).fill_null(value=False)
    read = found.values.set(uneven, None).cast(pl.Int64, strict=False)
    given = scalars(column)
    if given is not None and (given.dtype.is_integer() or given.dtype == pl.String):
        # A fraction has no room for the last digits of a long number.
        read = given.cast(pl.Int64, strict=False).fill_null(read)
    wrong = column.is_not_null() & read.is_null()
    return Values(read, wrong, "a whole number", fits=found.fits, assumed=found.assumed)


def yes_no(column: pl.Series) -> Values:
    """Read yes or no in the usual spellings."""
    given = scalars(column)
    if given is None:
        return _unfit(column, pl.Boolean(), "yes or no")
    words = given.cast(pl.String).str.to_lowercase()
    table = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
    read = words.replace_strict(table, default=None, return_dtype=pl.Boolean)
    return Values(read, column.is_not_null() & read.is_null(), "yes or no")


def word(column: pl.Series, words: Mapping[str, str], expected: str) -> Values:
    """Read words of a fixed list, through `words`: plain spelling -> value."""
    given = scalars(column)
    if given is None:
        return _unfit(column, pl.String(), expected)
    spelled = given.cast(pl.String)
    table = {
        spelling: words.get(spelling) or words.get(plain(spelling))
        for spelling in spelled.drop_nulls().unique()
    }
    read = spelled.replace_strict(table, default=None, return_dtype=pl.String)
    return Values(read, column.is_not_null() & read.is_null(), expected)


def json_object(column: pl.Series) -> Values:
    """Read JSON objects and return them as JSON objects of strings; a Parquet struct is one.

    A list is one attribute, named as its column is.
    """
    told = as_text(column).to_list()
    if isinstance(column.dtype, pl.List | pl.Array):
        told = [
            None if words is None else json.dumps({column.name: words} if words else {})
            for words in told
        ]
    made = [_strings(value) for value in told]
    read = pl.Series(made, dtype=pl.String)
    return Values(read, column.is_not_null() & read.is_null(), "a JSON object")


def _strings(text: str | None) -> str | None:
    """Return a JSON object with its values as strings, None if it is none."""
    try:
        read = json.loads(text) if text is not None else None
    except ValueError:
        return None
    if not isinstance(read, dict):
        return None
    words = {
        k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)
        for k, v in read.items()
        if v is not None
    }
    made = json.dumps(words, ensure_ascii=False)
    try:
        made.encode()
    except UnicodeEncodeError:  # half of a letter, as where a text was cut
        return None
    return made


def vector(column: pl.Series) -> Values:
    """Read lists of numbers (Parquet only), of any length or of a fixed one."""
    kind, expected = pl.List(pl.Float32), "a list of numbers (Parquet only)"
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    inner = lists.dtype.inner if isinstance(lists.dtype, pl.List) else None
    if inner is None or not (inner.is_numeric() or isinstance(inner, pl.String | pl.Null)):
        return _unfit(column, kind, expected)
    read = lists.cast(kind, strict=False)
    lost = read.list.drop_nulls().list.len() < lists.list.drop_nulls().list.len()
    return Values(read, column.is_not_null() & (read.is_null() | lost), expected)


def _unfit(column: pl.Series, kind: pl.DataType, expected: str) -> Values:
    """Return no values: the column's type says already that it holds none of the kind."""
    none = pl.Series([None] * len(column), dtype=kind)
    return Values(none, column.is_not_null(), expected, fits=False)


def moment(column: pl.Series) -> Values:
    """Read times as UTC: numbers since 1970 in any usual unit, ISO 8601, or dates.

    Times without an offset are UTC. Numbers that would be times before 1973 are none.
    """
    expected = (
        "a time (ISO 8601, or seconds since 1970; what only counts is an order: --map order=COLUMN)"
    )
    given = scalars(column)
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        read = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
        zone = getattr(read.dtype, "time_zone", None)
        read = read.dt.convert_time_zone("UTC") if zone else read.dt.replace_time_zone("UTC")
        return Values(read.dt.cast_time_unit("us"), read.is_null() & column.is_not_null(), expected)
    if given is None:
        return _unfit(column, pl.Datetime("us", "UTC"), expected)
    numbers = given.cast(pl.Float64, strict=False)
    numbers = numbers.set(~numbers.is_finite().fill_null(value=True), None)
    if numbers.null_count() <= column.null_count() + 0.5 * len(column.drop_nulls()):
        read = _from_numbers(numbers)
    else:
        read = _from_text(given.cast(pl.String))
    return Values(read, column.is_not_null() & read.is_null(), expected)


def _from_numbers(numbers: pl.Series) -> pl.Series:
    usual = numbers.abs().median()
    size = usual if isinstance(usual, float) else 0.0
    if _all_dates(numbers) or any(_all_times(numbers, digits) for digits in _DIGIT_FORMATS):
        return _from_text(numbers.cast(pl.Int64).cast(pl.String))
    scale = next(factor for limit, factor in _TIME_UNITS if size < limit)
    micros = (numbers * scale).round()
    # Beyond the year 9999 nothing can be printed, and nothing was sold. Small numbers are
    # seconds among milliseconds, years, days of a spreadsheet, mere counts, or no time at all:
    # never a purchase of 1970.
    odd = (micros > 2.5e17) | (micros < _LEAST_MICROS)
    micros = micros.set(odd.fill_null(value=False), None)
    return micros.cast(pl.Int64).cast(pl.Datetime("us", "UTC"))


def _all_dates(numbers: pl.Series) -> bool:
    """Say whether the numbers are written-out dates (20170131) rather than seconds."""
    known = numbers.drop_nulls()
    return len(known) > 0 and bool(
        ((known > 19000101) & (known < 21001231) & (known % 10000 > 100) & (known % 100 < 32)).all()
    )


def _all_times(numbers: pl.Series, digits: int) -> bool:
    """Say the same of dates with `digits` more for hours, minutes and perhaps seconds."""
    dates, clock = numbers // 10**digits, numbers % 10**digits
    hours = clock // 10 ** (digits - 2)
    return _all_dates(dates) and bool(
        ((hours < 24) & (clock // 100 % 100 < 60) & (clock % 100 < 60)).all()
    )


def _from_text(column: pl.Series) -> pl.Series:
    """Try the usual spellings one after another; what none fits stays null."""
    spelled = pl.col("t").str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2})T", "$1 ")
    spelled = spelled.str.replace(r"( ?UTC| ?Z)$", "+00:00").str.replace(
        r"([+-]\d{2}):?(\d{2})$", "$1$2"
    )
    spelled = spelled.str.replace(r"(:\d{2}(?:\.\d+)?) ?([+-]\d{2})$", "${1}${2}00")
    with_zone = [
        pl.col("s").str.to_datetime(f"{form}%z", time_unit="us", strict=False, time_zone="UTC")
        for form in _TIME_FORMATS
    ]
    without = [
        pl.col("s").str.to_datetime(form, time_unit="us", strict=False, time_zone="UTC")
        for form in (*_TIME_FORMATS, *_DIGIT_FORMATS.values())
    ]
    dates = [
        pl.col("s")
        .str.to_date(form, strict=False)
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
        for form in _DATE_FORMATS
    ]
    # "2017-01-31" ends like an offset: the colon rule must leave dates alone.
    table = pl.DataFrame({"t": column}).with_columns(
        s=pl.when(pl.col("t").str.contains(r"^\s*\d{8}T\d{4}(\d{2})?(\D|$)"))
        .then(_with_blank())
        .when(pl.col("t").str.contains(":"))
        .then(spelled)
        .otherwise(pl.col("t").str.strip_chars())
    )
    read = pl.coalesce(*with_zone, *without, *dates)
    # "01.02.17" is of which century? Nobody sold anything in the year 17, nor in 1404 except
    # where years are counted from another event, as in Iran.
    return table.select(t=pl.when(read.dt.year() >= 1900).then(read))["t"]


def _with_blank() -> pl.Expr:
    """Return the column t, ISO 8601 without dashes and colons, with a blank for the T."""
    spelled = pl.col("t").str.strip_chars().str.replace("T", " ").str.replace("Z$", "+0000")
    spelled = spelled.str.replace(r"([+-]\d{2}):?(\d{2})$", "$1$2")
    return spelled.str.replace(r"([+-]\d{2})$", "${1}00")


def problems(found: Values, lines: pl.Series, column: str, given: pl.Series) -> list[Problem]:
    """Name the first wrong value of a column, as a list of none or one."""
    if not found.wrong.any():
        return []
    at = found.wrong.arg_true()[0]
    value = given.slice(at, 1).to_list()[0]  # given[at] of a list would be a Series
    return [Problem(int(lines[at]), column, f"{value!r} is not {found.expected}")]
