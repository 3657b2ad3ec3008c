"""How people buy an item: whether those who try it come back, and after how long."""

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.formulas import Floats
from models.fusion.catalogue import Catalogue

Doubles = npt.NDArray[np.float64]

# Smoothing, in buyers and in intervals: what is known of an item with fewer is mostly
# what is known of its category, and of that, of everything.
_PRIOR = 10.0
# Where nobody ever came back.
_USUAL_DAYS = 30.0
# Sales of an item to one shopper within a day are one.
_LEAST_DAYS = 1.0


def item_habits(catalogue: Catalogue, events: pl.DataFrame) -> Floats:
    """Return (share of buyers who came back, log of the usual days between) [n, 2].

    Both are shrunk towards the category's, and that towards everyone's. Without times
    nothing is known of intervals, and every item has the usual one.
    """
    size = len(catalogue.keys)
    row = catalogue.rows(events["item_key"].to_numpy())
    day = events["time"].dt.epoch("s").fill_null(0).to_numpy() / 86_400
    user = events["user_id"].rank("dense").to_numpy().astype(np.int64)
    order = np.lexsort((day, user, row))
    row, user, day = row[order], user[order], day[order]
    same = (row[1:] == row[:-1]) & (user[1:] == user[:-1])
    gap = day[1:] - day[:-1]
    counts = same & (gap >= _LEAST_DAYS)
    gaps = np.bincount(row[1:][counts], minlength=size).astype(np.float64)
    days = np.bincount(row[1:][counts], np.log(gap[counts]), size).astype(np.float64)
    first = np.concatenate([[True], ~same]) if len(row) else np.zeros(0, np.bool_)
    pair = np.cumsum(first) - 1
    came_back = np.zeros(int(first.sum()), np.bool_)
    came_back[pair[1:][counts]] = True
    buyers = np.bincount(row[first], minlength=size).astype(np.float64)
    back = np.bincount(row[first][came_back], minlength=size).astype(np.float64)
    usual = float(np.log(_USUAL_DAYS))
    returning = _shrunk(back, buyers, catalogue, 0.0)
    return np.stack([returning, _shrunk(days, gaps, catalogue, usual)], axis=1).astype(np.float32)


def _shrunk(total: Doubles, count: Doubles, catalogue: Catalogue, prior: float) -> Doubles:
    """Return total / count of each item, shrunk towards its category's, and that to all's [n]."""
    overall = (total.sum() + prior) / (count.sum() + 1)
    kind = catalogue.category + 1
    kinds = int(kind.max(initial=0)) + 1
    by_kind = (np.bincount(kind, total, kinds) + _PRIOR * overall) / (
        np.bincount(kind, count, kinds) + _PRIOR
    )
    shrunk: Doubles = (total + _PRIOR * by_kind[kind]) / (count + _PRIOR)
    return shrunk
