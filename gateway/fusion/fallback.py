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
    return np.clip(mixed, 0.0, 1.0).astype(np.float32, copy=False)


def popular_rows(query: Query) -> Rows:
    """Return the `query.limit` rows that sell most among those the rules allow, best first."""
    every = np.arange(len(query.columns.keys), dtype=np.int32)
    rows = every[allowed(query, every)]
    score = preference(query, rows)
    best = np.argsort(-score, kind="stable")[: max(query.limit, 1)]
    return rows[best]
