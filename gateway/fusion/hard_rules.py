"""Hard rules: what must not be shown, and why.

Kept apart from the stage that applies them because the fallback asks the same
question of the whole catalogue.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from artifacts.compiled import BOOLS, FLAG, NUMBER, ROWS, WRITTEN_BYTES, compiled
from gateway.fusion.types import Bools, Query, Rows

# Surfaces about given items, which are therefore not shown again.
_ABOUT_ITEMS = ("ITEM", "CART")
_NO_ROWS: Rows = np.zeros(0, np.int32)
# In the order of their numbers, from 1, in what `_judge` returns.
_BY_ITEM = ("excluded", "disliked", "purchased", "context", "unavailable")


def verdicts(query: Query, rows: Rows) -> Iterator[tuple[str, Bools]]:
    """Yield (reason, which rows are out [len(rows)]), most telling reason first."""
    found = _by_item(query, rows)
    if np.count_nonzero(found):
        yield from ((reason, found == n) for n, reason in enumerate(_BY_ITEM, 1))
    yield from _filtered(query, rows)


def _by_item(query: Query, rows: Rows) -> npt.NDArray[np.uint8]:
    """Return which of _BY_ITEM puts each row out; 0 for none [len(rows)]."""
    rules = query.rules
    context = query.context if query.surface in _ABOUT_ITEMS else _NO_ROWS
    found: npt.NDArray[np.uint8] = _judge(
        rows, rules.exclude, rules.disliked, rules.purchased, context,
        query.columns.available, rules.include_unavailable,
    )  # fmt: skip
    return found


def _filtered(query: Query, rows: Rows) -> Iterator[tuple[str, Bools]]:
    """Yield (reason, which rows the caller's filters put out [len(rows)])."""
    rules, columns = query.rules, query.columns
    if rules.min_price is not None or rules.max_price is not None:
        yield from _price(query, rows)
    restricted = (
        ("category", columns.category, rules.categories),
        ("domain", columns.domain, rules.domains),
        ("brand", columns.brand, rules.brands),
    )
    for reason, column, values in restricted:
        if values is not None:
            yield reason, ~np.isin(column[rows], np.array(values, np.int32))


@compiled(WRITTEN_BYTES, ROWS, NUMBER)
def _mark(table: npt.NDArray[np.uint8], listed: Rows, number: int) -> None:
    for row in listed:
        if 0 <= row < len(table):
            table[row] = number


@compiled(ROWS, ROWS, ROWS, ROWS, ROWS, BOOLS, FLAG)
def _judge(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    rows: Rows, excluded: Rows, disliked: Rows, purchased: Rows, context: Rows,
    available: Bools, sold_out_too: bool,
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """Return which of _BY_ITEM puts each row out, the first of several; 0 for none."""
    verdict = np.zeros(len(rows), np.uint8)
    if len(excluded) + len(disliked) + len(purchased) + len(context):
        # A lookup table; the last to write is the first to be said.
        table = np.zeros(len(available), np.uint8)
        _mark(table, context, 4)
        _mark(table, purchased, 3)
        _mark(table, disliked, 2)
        _mark(table, excluded, 1)
        for i in range(len(rows)):
            verdict[i] = table[rows[i]]
    if not sold_out_too:
        for i in range(len(rows)):
            if not verdict[i] and not available[rows[i]]:
                verdict[i] = 5
    return verdict


def allowed(query: Query, rows: Rows) -> Bools:
    """Say which rows no hard rule forbids [len(rows)]."""
    fine: Bools = _by_item(query, rows) == 0
    if has_filters(query):
        fine &= ~filtered(query, rows)
    return fine


def has_filters(query: Query) -> bool:
    """Say whether the caller lets through some prices, categories, domains or brands only."""
    rules = query.rules
    given = (rules.min_price, rules.max_price, rules.categories, rules.domains, rules.brands)
    return any(one is not None for one in given)


def filtered(query: Query, rows: Rows) -> Bools:
    """Say which rows the caller's filters put out [len(rows)]."""
    found = np.zeros(len(rows), np.bool_)
    for _, out in _filtered(query, rows):
        found |= out
    return found


def member(rows: Rows, listed: Rows, size: int) -> Bools:
    """Say which rows are among `listed`, in a catalogue of `size` rows [len(rows)].

    A lookup table: ten times np.isin's speed at these sizes.
    """
    table = np.zeros(size, np.uint8)
    _mark(table, listed, 1)
    return table[rows].astype(np.bool_)


def _price(query: Query, rows: Rows) -> Iterator[tuple[str, Bools]]:
    """An unknown price cannot be shown to lie in a range: it is out, under its own reason."""
    price = query.columns.price[rows]
    yield "price_unknown", ~np.isfinite(price)
    low, high = query.rules.min_price, query.rules.max_price
    out = np.zeros(len(rows), np.bool_)
    if low is not None:
        out |= price < low
    if high is not None:
        out |= price > high
    yield "price", out
