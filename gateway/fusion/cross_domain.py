"""Stage: what the domains of a history say about other domains.

The item models share one space, so history in one domain already scores items
in another; this adds what they miss: who buys in domain r goes on to domain t
more often than chance. The term fades with the shopper's own history in t,
because then the models know better.
"""

import numpy as np

from artifacts.formulas import domain_log_ratio
from gateway.fusion.pool import with_term
from gateway.fusion.types import Pool, Query


def cross_domain(query: Query, pool: Pool) -> Pool:
    """Add w * fade(t) * log(P(t | recent domains) / P(t)), t the candidate's domain.

    Not on SEARCH: the query names what is wanted.
    """
    known = len(query.domain_transition)
    if not query.w_cross_domain or not known or query.surface == "SEARCH" or pool.fallback:
        return pool
    domains = query.columns.domain[query.history]
    usable = (domains >= 0) & (domains < known) & (query.history_weight > 0)
    if not usable.any():
        return pool
    value = domain_log_ratio(
        domains[usable],
        query.history_weight[usable],
        query.domain_transition,
        query.cross_domain_fade,
    )
    target = query.columns.domain[pool.rows]
    inside = (target >= 0) & (target < known)
    term = np.where(inside, value[np.where(inside, target, 0)], np.float32(0))
    return with_term(pool, "cross_domain", np.float32(query.w_cross_domain) * term)
