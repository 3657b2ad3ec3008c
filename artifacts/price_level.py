"""How dear a shopper buys: where the prices lie among those of the same category.

A price says little across categories, so each is placed among the items of its own: a
shopper of cheap wine and dear bread is neither cheap nor dear.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows

Bools = npt.NDArray[np.bool_]

# Fewer priced items than this do not make a comparison.
_ENOUGH = 3


class _Priced(Protocol):
    """Columns of n items, by row."""

    @property
    def category(self) -> Rows: ...  # -1 unknown
    @property
    def price(self) -> Floats: ...  # NaN unknown


class _Events(Protocol):
    """L events; see artifacts.profiles.Deeds."""

    @property
    def rows(self) -> Rows: ...
    @property
    def weights(self) -> Floats: ...
    @property
    def bought(self) -> Bools: ...
    @property
    def paid(self) -> Floats: ...


class Basis(Enum):
    """What prices were read."""

    PURCHASES = "PURCHASES"  # what was paid, or the catalogue's price where that is unknown
    INTEREST = "INTEREST"  # nothing with a price was bought: those of what was looked at


@dataclass(frozen=True, slots=True)
class PriceLevel:
    """What a shopper pays."""

    basis: Basis
    # Mean place among the prices of the category by weight: 0 the cheapest, 1 the dearest.
    # None where no category has enough prices.
    level: float | None
    low: float  # a quarter of the prices lie below
    usual: float  # the median
    high: float  # a quarter of the prices lie above
    events: int  # with a price


def price_level(events: _Events, shelf: _Priced) -> PriceLevel | None:
    """Return how dear the events' items are; None where no price is known."""
    rows, known = events.rows, events.rows >= 0
    price, category = events.paid.copy(), np.full(len(rows), -1, np.int32)
    listed = known & np.isnan(price)
    price[listed] = shelf.price[rows[listed]]
    category[known] = shelf.category[rows[known]]
    priced = ~np.isnan(price) & (events.weights > 0)
    bought = priced & events.bought
    at = bought if bought.any() else priced
    if not at.any():
        return None
    price, weight = price[at], events.weights[at].astype(np.float64)
    placed = places(price, category[at], shelf)
    has = ~np.isnan(placed)
    low, usual, high = np.quantile(price.astype(np.float64), (0.25, 0.5, 0.75)).tolist()
    return PriceLevel(
        basis=Basis.PURCHASES if bought.any() else Basis.INTEREST,
        level=float(np.average(placed[has], weights=weight[has])) if has.any() else None,
        low=low,
        usual=usual,
        high=high,
        events=len(price),
    )


def places(price: Floats, category: Rows, shelf: _Priced) -> Floats:
    """Return where each price lies among the items of its category, 0..1 [L].

    The mid-rank: items that cost less, and half of those that cost the same, over the
    number of others; a price that no item has lies between its neighbours. NaN where the
    category is unknown or has fewer than three prices. price [L] and category [L] may be
    of anything: sales are often at prices that the catalogue does not have.
    """
    placed = np.full(len(price), np.nan, np.float32)
    wanted = np.unique(category[category >= 0])
    there = np.flatnonzero(np.isin(shelf.category, wanted) & ~np.isnan(shelf.price))
    there = there[np.lexsort((shelf.price[there], shelf.category[there]))]
    bounds = np.searchsorted(shelf.category[there], np.stack([wanted, wanted + 1]))
    for kind, first, last in zip(wanted, *bounds, strict=True):
        if last - first < _ENOUGH:
            continue
        prices, mine = shelf.price[there[first:last]], category == kind
        below = np.searchsorted(prices, price[mine], side="left")
        to_here = np.searchsorted(prices, price[mine], side="right")
        placed[mine] = np.clip((below + to_here - 1) / (2 * (len(prices) - 1)), 0, 1)
    return placed
