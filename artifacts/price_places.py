"""Where a price stands among those of its category, and what that says of a shopper.

The one idea: one definition of "cheap for what it is" for an item, for a purchase and for
the mean of many purchases, so that what a shopper pays and what a candidate costs compare.
"""

from typing import Protocol

import numpy as np

from artifacts.formulas import Floats, Rows

# Fewer priced items than this do not make a comparison.
_ENOUGH = 3
# Purchases after which a shopper's own choices count as much as knowing nothing of them.
_AS_NOTHING = 20.0


class Priced(Protocol):
    """Columns of n items, by row."""

    @property
    def category(self) -> Rows: ...  # noqa: D102 -- -1 unknown
    @property
    def price(self) -> Floats: ...  # noqa: D102 -- NaN unknown


class PricePlaces:
    """The prices of a catalogue by category; says where any price stands. Never changes."""

    def __init__(self, shelf: Priced, only: Rows | None = None) -> None:
        """Sort the prices of a catalogue, or of the categories in `only` (ascending) alone."""
        known = (shelf.category >= 0) & ~np.isnan(shelf.price)
        if only is not None:
            known &= np.isin(shelf.category, only)
        category, price = shelf.category[known].astype(np.int64), shelf.price[known]
        # Distinct prices in order: a pair (category, price) becomes one number.
        self._prices, rank = np.unique(price, return_inverse=True)
        self._pairs = np.sort(category * self._width + rank)
        self._starts = np.searchsorted(
            self._pairs, np.arange(int(category.max(initial=-1)) + 2) * self._width
        )

    @property
    def _width(self) -> int:
        return len(self._prices) + 1

    def of(self, price: Floats, category: Rows) -> Floats:
        """Return where each price lies among the items of its category, 0..1 [L].

        The mid-rank: items that cost less, and half of those that cost the same, over the
        number of others; a price that no item has lies between its neighbours. NaN where
        price or category is unknown, or the category has fewer than three prices. price [L]
        and category [L] may be of anything: sales are often at prices that the catalogue
        does not have.
        """
        placed = np.full(len(price), np.nan, np.float32)
        able = (category >= 0) & (category < len(self._starts) - 1) & ~np.isnan(price)
        kind, wanted = category[able].astype(np.int64), price[able]
        first = self._starts[kind]
        size = self._starts[kind + 1] - first
        below, to_here = (
            np.searchsorted(
                self._pairs, kind * self._width + np.searchsorted(self._prices, wanted, side)
            )
            - first
            for side in ("left", "right")
        )
        middle = np.clip((below + to_here - 1) / (2 * np.maximum(size - 1, 1)), 0, 1)
        placed[able] = np.where(size >= _ENOUGH, middle, np.nan)
        return placed


def places(price: Floats, category: Rows, shelf: Priced) -> Floats:
    """Return PricePlaces.of for a few prices: only their categories are looked at [L]."""
    return PricePlaces(shelf, np.unique(category)).of(price, category)


def cost_sensitivity(placed: Floats) -> float:
    """Return how much a shopper minds the price, -1..1, from the places of what was bought [L].

    1: always the cheapest of its kind, -1: always the dearest, 0: in the middle, or nobody
    knows. Were choices a logit in the place with weight -b (McFadden 1974) among many
    alternatives, the mean place would be 1/2 - b/12 for small b; with a normal prior on b
    around 0 the best guess of b is in proportion to (1/2 - mean) n / (n + m), which is
    this, times a half. Places may be NaN: they say nothing.
    """
    known = placed[~np.isnan(placed)]
    if not len(known):
        return 0.0
    return float(1 - 2 * known.mean()) * len(known) / (len(known) + _AS_NOTHING)
