"""Stage: what the item costs, compared with its alternatives.

The purchase cost's term of the utility. A price says little across categories,
so an item is placed among the candidates of its category (among all of them
where those are too few). The third cost, response time, is not here: the
deadline policy spends it before any stage runs.
"""

import numpy as np

from gateway.fusion.pool import with_term
from gateway.fusion.types import Floats, Ints, Pool, Query, Rows

# Fewer priced candidates than this do not make a comparison.
_ENOUGH = 3
# An unknown price is neither cheap nor dear.
_MIDDLE = np.float32(0.5)


def cost(query: Query, pool: Pool) -> Pool:
    """Add -w_cost * price position, 0 the cheapest of its kind and 1 the dearest."""
    if not query.w_cost or not len(pool.rows):
        return pool
    price = query.columns.price[pool.rows]
    category = query.columns.category[pool.rows]
    return with_term(pool, "cost", np.float32(-query.w_cost) * position(price, category))


def position(price: Floats, category: Rows) -> Floats:
    """Return each price's place within its category, 0..1 [P]; equal prices share the lowest."""
    known = np.isfinite(price)
    result = np.full(len(price), _MIDDLE)
    group = category[known].astype(np.int64)
    counts = np.bincount(group + 1, minlength=1)
    # Small and unnamed categories compare with everything in the pool.
    group = np.where((counts[group + 1] < _ENOUGH) | (group < 0), -1, group)
    placed = _within(price[known], group)
    alone = group == -1
    placed[alone] = _within(price[known], np.zeros_like(group))[alone]
    result[known] = placed
    return result


def _within(price: Floats, group: Ints) -> Floats:
    """Place of each price in its group: how many are cheaper, over the group's size - 1."""
    order = np.lexsort((price, group))
    sorted_group, sorted_price = group[order], price[order]
    first = np.searchsorted(sorted_group, sorted_group, side="left")
    size = np.searchsorted(sorted_group, sorted_group, side="right") - first
    at = np.arange(len(price))
    changes = np.ones(len(price), np.bool_)
    changes[1:] = (sorted_price[1:] != sorted_price[:-1]) | (sorted_group[1:] != sorted_group[:-1])
    at = np.maximum.accumulate(np.where(changes, at, 0))
    placed = np.empty(len(price), np.float32)
    placed[order] = np.where(size > 1, (at - first) / np.maximum(size - 1, 1), _MIDDLE)
    return placed
