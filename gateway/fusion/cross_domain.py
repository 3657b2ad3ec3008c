"""Stage: what the domains of a history say about other domains.

The item models share one space, so history in one domain already scores items
in another; this adds what they miss: who buys in domain r goes on to domain t
more often than chance. The term fades with the shopper's own history in t,
because then the models know better.
"""

import numpy as np

from artifacts.formulas import domain_log_ratio
from gateway.fusion.pool import with_term
from gateway.fusion.types import Floats, Pool, Query, Rows


def cross_domain(query: Query, pool: Pool) -> Pool:
    """Add w * fade(t) * log(P(t | recent domains) / P(t)), t the candidate's domain.

    Not on SEARCH: the query names what is wanted. Nor where a learned ranker has weighed it
    already.
    """
    if not query.w_cross_domain or query.surface == "SEARCH" or pool.fallback or pool.learned:
        return pool
    ratio = log_ratio(query, pool.rows)
    if ratio is None:
        return pool
    return with_term(pool, "cross_domain", np.float32(query.w_cross_domain) * ratio)


def log_ratio(query: Query, rows: Rows) -> Floats | None:
    """Return fade(t) * log(P(t | recent domains) / P(t)) of each row's domain [len(rows)].

    0 where a domain is not known; None where no event of the history has a known one.
    """
    known, domains = len(query.domain_transition), query.columns.domain[query.history]
    usable = (domains >= 0) & (domains < known) & (query.history_weight > 0)
    if not usable.any():
        return None
    value = domain_log_ratio(
        domains[usable],
        query.history_weight[usable],
        query.domain_transition,
        query.cross_domain_fade,
    )
    target = query.columns.domain[rows]
    inside = (target >= 0) & (target < known)
    ratio: Floats = np.where(inside, value[np.where(inside, target, 0)], np.float32(0))
    return ratio
