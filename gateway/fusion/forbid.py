"""Stage: what must not be shown is off the slate, with its reason.

First of all, so that what follows judges alternatives alone. The hard rules are the
shop's (excluded, outside a filter), the shopper's (disliked, bought where that counts)
and the surface's (what it is about); hard beats soft without exception: a pinned item
that a hard rule forbids is not shown, and its reason says so.
"""

from gateway.fusion.hard_rules import verdicts
from gateway.fusion.pool import drop
from gateway.fusion.types import Pool, Query


def forbid(query: Query, pool: Pool) -> Pool:
    """Drop what a hard rule forbids."""
    for reason, out in verdicts(query, pool.rows):
        pool = drop(pool, out, reason)
    return pool
