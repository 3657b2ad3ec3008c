"""Stage: what the item costs, compared with its alternatives.

The purchase cost's term of the utility. A price says little across categories, so
an item is placed among those of its category, as the prices that a shopper pays
are (artifacts/price_places.py). The third cost, response time, is not here: the
deadline policy spends it before any stage runs.
"""

import numpy as np

from gateway.fusion.pool import with_term
from gateway.fusion.types import Pool, Query

# An unknown price is neither cheap nor dear.
_MIDDLE = np.float32(0.5)


def cost(query: Query, pool: Pool) -> Pool:
    """Add -w_cost * price place, 0 the cheapest of its kind and 1 the dearest."""
    if not query.w_cost or query.prices is None or not len(pool.rows):
        return pool
    columns = query.columns
    place = query.prices.of(columns.price[pool.rows], columns.category[pool.rows])
    place = np.where(np.isnan(place), _MIDDLE, place)
    return with_term(pool, "cost", np.float32(-query.w_cost) * place)
