"""What to show when no source has anything to say: what sells.

The shelf is never empty: current trends of the market first, long-run
popularity behind them, restricted to what the rules of the request allow.
"""

import numpy as np

from gateway.fusion.hard_rules import allowed
from gateway.fusion.types import Floats, Query, Rows

# Trends lead; popularity orders what does not trend (and a market without events).
_TREND_PART = 0.8


def preference(query: Query, rows: Rows) -> Floats:
    """Return how much sells of each row lately and in the long run, 0..1 [len(rows)]."""
    popularity = np.nan_to_num(query.columns.popularity[rows])
    if not len(query.trend):
        return popularity.astype(np.float32, copy=False)
    trend = np.nan_to_num(query.trend[rows])
    mixed = _TREND_PART * trend + (1 - _TREND_PART) * popularity
    shown: Floats = np.clip(mixed, 0.0, 1.0).astype(np.float32, copy=False)
    return shown


def popular_rows(query: Query) -> Rows:
    """Return the `query.limit` rows that sell most among those the rules allow, best first.

    Those known to sell are tried first; where the rules leave too few of them, the
    whole catalogue is looked through.
    """
    limit = max(query.limit, 1)
    rows = np.concatenate([query.columns.sellers, query.trending()])
    found = _best(query, rows[rows < len(query.columns.keys)], limit)
    return found if len(found) == limit else _best(query, _named(query), limit)


def _best(query: Query, rows: Rows, limit: int) -> Rows:
    """Return the `limit` rows that sell most of those allowed; none is given more than twice."""
    rows = rows[allowed(query, rows)]
    score = preference(query, rows)
    # Thousands sell, some dozens are wanted: only these are put in order.
    if len(rows) > 2 * limit:
        some = np.argpartition(-score, 2 * limit)[: 2 * limit]
        rows, score = rows[some], score[some]
    rows, first = np.unique(rows, return_index=True)
    return rows[np.argsort(-score[first], kind="stable")[:limit]]


def _named(query: Query) -> Rows:
    """Return the rows in the categories, domains and brands that the rules name.

    One look at a column is cheap even at a million items, a whole verdict is not.
    """
    rules, columns = query.rules, query.columns
    inside = np.ones(len(columns.keys), np.bool_)
    for column, values in (
        (columns.category, rules.categories),
        (columns.domain, rules.domains),
        (columns.brand, rules.brands),
    ):
        if values is not None:
            inside &= np.isin(column, np.array(values, np.int32))
    return np.flatnonzero(inside).astype(np.int32)
