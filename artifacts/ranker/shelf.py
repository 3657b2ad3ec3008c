"""What sells: what is a candidate though no source names it, and what is left when none answers.

The one idea: training asks the ranker about the very items that serving puts before it.
What sells most just now is one of them, since a model trained last night has not seen it
rise; and so is the shelf that serving falls back to, so that what a shopper buys again,
and what sells beside it, is still put in order when every model is down.
"""

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows

# Trends lead; popularity orders what does not trend (and a market without events).
_TREND_PART = 0.8
# Items of the shelf that sell most, as many again of the kinds that a shopper takes, and
# how many of the newest events say which kinds these are.
_SELLING, _OF_KINDS, _NEWEST = 100, 100, 50
# Items that sell most just now which are always candidates, and the surfaces where they are.
LEADING, LEADING_ON = 50, ("HOME", "SESSION", "CART")


def selling(popularity: Floats, trend: Floats | None) -> Floats:
    """Return how much items sell, lately and in the long run, 0..1 [n]; None: no trend."""
    popular = np.nan_to_num(popularity)
    if trend is None:
        return popular.astype(np.float32, copy=False)
    mixed = _TREND_PART * np.nan_to_num(trend) + (1 - _TREND_PART) * popular
    shown: Floats = np.clip(mixed, 0.0, 1.0).astype(np.float32, copy=False)
    return shown


def leading(trend: Floats) -> Rows:
    """Return the rows of what sells most lately, greatest first [<= 50]; `trend` [n]."""
    some = np.flatnonzero(trend > 0)
    if len(some) > LEADING:
        least = np.partition(trend[some], len(some) - LEADING)[len(some) - LEADING]
        some = some[trend[some] >= least]
    return _most(trend, some, LEADING)


def shelf(sells: Floats, kinds: Rows, taken: Rows) -> Rows:
    """Return places of what sells most [<= 200], ascending and unique.

    `sells` and `kinds` (categories; -1 unknown) are of the items to choose from [m];
    `taken` are the kinds of the shopper's events, oldest first. What does not sell at all
    is left out.
    """
    theirs = np.unique(taken[-_NEWEST:])
    sold = np.flatnonzero(sells > 0)
    alike = sold[np.isin(kinds[sold], theirs[theirs >= 0])]
    return np.union1d(_most(sells, sold, _SELLING), _most(sells, alike, _OF_KINDS))


def _most(sells: Floats, places: npt.NDArray[np.int64], count: int) -> Rows:
    """Return the `count` of some places that sell most, of equals the first."""
    best = np.argsort(-sells[places], kind="stable")[:count]
    return places[best].astype(np.int32)
