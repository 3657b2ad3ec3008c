"""What to show when no source has anything to say: what sells.

The shelf is never empty: current trends of the market first, long-run
popularity behind them, restricted to what the rules of the request allow. Where a learned
ranker knows the shopper it puts more of it in order (artifacts/ranker/shelf.py).
"""

import numpy as np

from artifacts.ranker.shelf import selling, shelf
from gateway.fusion.hard_rules import allowed
from gateway.fusion.types import Floats, Query, Rows


def preference(query: Query, rows: Rows) -> Floats:
    """Return how much sells of each row lately and in the long run, 0..1 [len(rows)]."""
    trend = query.trend[rows] if len(query.trend) else None
    return selling(query.columns.popularity[rows], trend)


def shelf_rows(query: Query) -> Rows:
    """Return what sells, in all and of the shopper's kinds, of what the rules allow [<= 200]."""
    rows = np.unique(_sellers(query))
    rows = rows[allowed(query, rows)]
    kinds = query.columns.category
    keys = query.columns.keys[rows]
    return rows[shelf(preference(query, rows), kinds[rows], kinds[query.past.rows], keys)]


def popular_rows(query: Query) -> Rows:
    """Return the `query.limit` rows that sell most among those the rules allow, best first.

    Those known to sell are tried first; where the rules leave too few of them, the
    whole catalogue is looked through.
    """
    limit = max(query.limit, 1)
    found = _best(query, _sellers(query), limit)
    return found if len(found) == limit else _best(query, _named(query), limit)


def _sellers(query: Query) -> Rows:
    """Return the rows that are known to sell; none is given more than twice."""
    rows = np.concatenate([query.columns.sellers, query.trending()])
    return rows[rows < len(query.columns.keys)]


def _best(query: Query, rows: Rows, limit: int) -> Rows:
    """Return the `limit` rows that sell most of those allowed; none is given more than twice."""
    rows = rows[allowed(query, rows)]
    score = preference(query, rows)
    keys = query.columns.keys
    # Thousands sell, some dozens are wanted: only these are put in order.
    if len(rows) > 2 * limit:
        least = np.partition(score, len(score) - 2 * limit)[len(score) - 2 * limit]
        equal = np.flatnonzero(score == least)
        if len(equal) > 2 * limit:
            equal = equal[np.argpartition(keys[rows[equal]], 2 * limit)[: 2 * limit]]
        some = np.concatenate([np.flatnonzero(score > least), equal])
        rows, score = rows[some], score[some]
    rows, first = np.unique(rows, return_index=True)
    return rows[np.lexsort((keys[rows], -score[first]))[:limit]]


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
