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
from artifacts.price_places import Priced, places

Bools = npt.NDArray[np.bool_]


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


def price_level(events: _Events, shelf: Priced) -> PriceLevel | None:
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
