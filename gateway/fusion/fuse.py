"""Stage: one preference from all the sources.

A convex combination of the calibrated scores, the weights renormalised over the
sources that answered. A candidate that an answering source did not name counts
as 0 there: the source looked at the whole catalogue and preferred others.
A learned ranker, once an artifact holds one, takes this stage's place through
`Query.ranker`; everything before and after it stays.
"""

from dataclasses import replace

import numpy as np

from gateway.fusion import fallback
from gateway.fusion.pool import with_term
from gateway.fusion.types import Bools, Floats, Pool, Query


def fuse(query: Query, pool: Pool) -> Pool:
    """Add the term "fused", 0..1, or "fallback" where no source has an opinion."""
    if pool.fallback:
        return with_term(pool, "fallback", fallback.preference(query, pool.rows))
    pool = replace(pool, weights=renormalised(query, pool))
    ranker = query.ranker if query.ranker is not None else convex
    return with_term(pool, "fused", ranker(query, pool))


def convex(query: Query, pool: Pool) -> Floats:
    """Return the weighted sum of the calibrated scores, absent as 0, in 0..1 [P]."""
    del query
    known = np.isfinite(pool.calibrated)
    preference: Floats = pool.weights @ np.where(known, pool.calibrated, np.float32(0))
    return preference


def renormalised(query: Query, pool: Pool) -> Floats:
    """Return the weights of the sources with an opinion, summing to 1 [S].

    If all of those weigh nothing (a new source without learned weights, alone),
    they share equally: an answer is always worth more than none.
    """
    answered: Bools = np.logical_not(np.isnan(pool.calibrated).all(axis=1))
    weights: Floats = np.array([query.weights.get(s, 0.0) for s in query.sources], np.float32)
    weights = np.where(answered & (weights > 0), weights, np.float32(0))
    if not weights.sum() > 0:
        weights = answered.astype(np.float32)
    share: Floats = np.divide(weights, weights.sum(), dtype=np.float32)
    return share
