"""Numbers as people and spreadsheets write them: with commas, and with signs of currencies.

What a column says of itself is read, and what was assumed is told; what may mean two
things is left for a person to decide.
"""

import polars as pl

# What to do about a number that may be another.
WRITE = " for sure; write it with a decimal point and nothing else, as 1234.50"
_CURRENCY = r"\p{Sc}"  # $, €, ₹, ₽, ...
# A number with a decimal comma, and one that can be read in no other way.
_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$"
# One whose point may stand between thousands as well.
_POINT = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
_SURELY_COMMA = r"\..*,|,(\d{1,2}|\d{4,})$|^[+-]?(0|\d{4,}),"


def as_plain(given: pl.Series) -> tuple[pl.Series, str]:
    """Return a column of texts as numbers are plainly written, and what was assumed, in words.

    A sign of a currency is left out where there is no other in the column. A comma is a
    decimal one where no number has a decimal point, and at least one can be nothing else:
    "1,234" alone may be a thousand or one and a bit. A point is a decimal one always, which is
    told where each could be another.
    """
    assumed: list[str] = []
    odd = given.filter(given.is_not_null() & ~_plain(given))
    signs = odd.str.extract(f"({_CURRENCY})").drop_nulls().unique().to_list()
    if len(signs) == 1:
        bare = given.str.replace(rf"^\s*([+-]?){_CURRENCY}\s*", "$1")
        given = bare.str.replace(rf"\s*{_CURRENCY}\s*$", "")
        assumed.append(f"all amounts are in {signs[0]}")
    pointed = given.filter(_plain(given) & given.str.contains(".", literal=True))
    if not len(pointed) and len(odd):
        commas = given.str.contains(_COMMA).fill_null(value=False)
        if (commas & given.str.contains(_SURELY_COMMA)).any():
            plain = given.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
            given = plain.zip_with(commas, given)
            assumed.append("commas stand before decimals")
    elif len(pointed) and pointed.str.contains(_POINT).all():
        assumed.append(f"points stand before decimals: {pointed[0]} is less than a thousand")
    return given, ", ".join(assumed)


def may_be_numbers(texts: pl.Series) -> bool:
    """Say whether a person would take one of these for a number, if not for which."""
    return bool(
        texts.str.contains(rf"^\s*{_CURRENCY}?[\s\d.,\'+-]*\d[\s\d.,\']*{_CURRENCY}?\s*$").any()
    )


def _plain(given: pl.Series) -> pl.Series:
    return given.cast(pl.Float64, strict=False).is_not_null()
