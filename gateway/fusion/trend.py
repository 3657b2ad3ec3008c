"""Stage: what sells in this market these days.

The market's term of the utility: decayed popularity, updated with every event.
"""

import numpy as np

from gateway.fusion.pool import with_term
from gateway.fusion.types import Pool, Query


def trend(query: Query, pool: Pool) -> Pool:
    """Add w_trend * trend, trend in 0..1. A learned ranker has weighed it already."""
    if not query.w_trend or not len(query.trend) or pool.learned:
        return pool
    return with_term(pool, "trend", np.float32(query.w_trend) * query.trend[pool.rows])
