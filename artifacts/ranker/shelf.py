"""What sells: what is a candidate though no source names it, and what is left when none answers.

The one idea: training asks the ranker about the very items that serving puts before it.
What sells most just now is one of them, since a model trained last night has not seen it
rise; and so is the shelf that serving falls back to, so that what a shopper buys again,
and what sells beside it, is still put in order when every model is down.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows
from artifacts.keys import Keys

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


def strongest(values: npt.NDArray[np.floating[Any]], most: int, keys: Keys | None = None) -> Rows:
    """Return the rows of the `most` greatest values above 0, greatest first.

    `values` [n]. Of equals the smaller of `keys` [n] first; None: they ascend.
    """
    rows = np.flatnonzero(values > 0)
    if len(rows) > most:
        least = np.partition(values[rows], len(rows) - most)[len(rows) - most]
        rows = rows[values[rows] >= least]
    if keys is None:
        best = np.argsort(-values[rows], kind="stable")[:most]
    else:
        best = np.lexsort((keys[rows], -values[rows]))[:most]
    return rows[best].astype(np.int32)


def leading(trend: Floats) -> Rows:
    """Return the rows of what sells most lately, greatest first [<= 50]; `trend` [n]."""
    return strongest(trend, LEADING)


def shelf(sells: Floats, kinds: Rows, taken: Rows, keys: Keys | None = None) -> Rows:
    """Return places of what sells most [<= 200], ascending and unique.

    `sells` and `kinds` (categories; -1 unknown) are of the items to choose from [m];
    `taken` are the kinds of the shopper's events, oldest first. What does not sell at all
    is left out; of equals the smaller of `keys` [m] counts, None: they ascend.
    """
    theirs = np.unique(taken[-_NEWEST:])
    alike = np.flatnonzero(np.isin(kinds, theirs[theirs >= 0])).astype(np.int32)
    best = strongest(sells, _SELLING, keys)
    of_kinds = strongest(sells[alike], _OF_KINDS, None if keys is None else keys[alike])
    return np.union1d(best, alike[of_kinds])
