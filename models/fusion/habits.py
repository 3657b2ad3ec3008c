"""How people buy an item: whether those who try it come back, after how long, and when."""

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.formulas import Floats
from models.fusion.catalogue import Catalogue, Rows

Doubles = npt.NDArray[np.float64]

# Smoothing, in buyers and in intervals: what is known of an item with fewer is mostly
# what is known of its category, and of that, of everything.
_PRIOR = 10.0
# Where nobody ever came back.
_USUAL_DAYS = 30.0
# Sales of an item to one shopper within a day are one.
_LEAST_DAYS = 1.0
# Days of what sells now, and of what it is compared with.
_MONTH, _SEASON = 28.0, 112.0
# Purchases beside which fewer say little of a season.
_FEW = 5.0


def item_habits(catalogue: Catalogue, events: pl.DataFrame) -> Floats:
    """Return how people buy each item, the columns of features.HABITS [n, H].

    returning: the share of buyers who came back; usual_interval: the log of the usual days
    between; per_buyer: the log of a buyer's purchases. These are shrunk towards the
    category's, and that towards everyone's. season: the log of the last four weeks'
    purchases beside those of four usual weeks of the last sixteen; recent: the log of the
    former; first_sold: the log of the days since. Without times nothing is known of
    intervals, and every item has the usual one.
    """
    events = events.filter(pl.col("type") != "dislike")
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
    sold = np.bincount(row, minlength=size).astype(np.float64)
    habits = [
        _shrunk(back, buyers, catalogue, 0.0),
        _shrunk(days, gaps, catalogue, float(np.log(_USUAL_DAYS))),
        np.log(_shrunk(sold, buyers, catalogue, 1.0)),
        *_sales(row, day.max(initial=0) - day, size),
    ]
    return np.stack(habits, axis=1).astype(np.float32)


def _sales(row: Rows, age: Doubles, size: int) -> tuple[Doubles, Doubles, Doubles]:
    """Return season, recent and first_sold of each item [n] from rows and ages in days [E]."""
    now = np.bincount(row[age < _MONTH], minlength=size)
    usual = np.bincount(row[age < _SEASON], minlength=size) * (_MONTH / _SEASON)
    oldest = np.zeros(size)
    np.maximum.at(oldest, row, age)
    return np.log((now + _FEW) / (usual + _FEW)), np.log1p(now), np.log1p(oldest)


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
