"""Stage: one preference from all the sources.

A convex combination of the calibrated scores, the weights renormalised over the
sources that answered. A candidate that an answering source did not name counts
as 0 there: the source looked at the whole catalogue and preferred others.
A learned ranker, where the artifact holds one, takes the combination's place through
`Query.ranker`; everything before and after it stays. Where it has nothing to say, or no
number, the convex combination speaks, and what sells where no source has an opinion.
"""

import numpy as np
import numpy.typing as npt

from artifacts.compiled import FLOATS, TABLE, compiled
from gateway.fusion import fallback
from gateway.fusion.hard_rules import member
from gateway.fusion.pool import with_term
from gateway.fusion.types import NORMAL, SUNK, Bools, Floats, Pool, Query, Rows

# Less is nothing to float32, in which weights are tuned.
_LEAST = 1e-37


def fuse(query: Query, pool: Pool) -> Pool:
    """Add the term "fused", 0..1, or "fallback" where neither sources nor ranker know any."""
    if not pool.fallback:
        pool = pool._replace(weights=renormalised(query, pool))
    learned = query.ranker(query, pool) if query.ranker is not None else None
    if learned is None or not np.isfinite(learned[0]).all():
        if pool.fallback:
            return with_term(pool, "fallback", fallback.preference(query, pool.rows))
        pool = pool._replace(tier=_raised(query, pool, query.leading))
        return with_term(pool, "fused", convex(query, pool))
    preference, features = learned
    pool = with_term(pool, "fused", preference)
    kept = features if query.explain else None
    # The ranker knows of the shopper by itself.
    known = np.concatenate([query.own, query.leading])
    return pool._replace(learned=True, features=kept, tier=_raised(query, pool, known))


def _raised(query: Query, pool: Pool, known: Rows) -> npt.NDArray[np.int8]:
    """Return the tiers with some rows among the others [P]: without a score they had sunk."""
    if not len(known):
        return pool.tier
    raised = member(pool.rows, known, len(query.columns.keys))
    return np.where(raised & (pool.tier == SUNK), np.int8(NORMAL), pool.tier)


def convex(query: Query, pool: Pool) -> Floats:
    """Return the weighted sum of the calibrated scores, absent as 0, in 0..1 [P]."""
    del query
    preference: Floats = _convex(pool.weights, pool.calibrated)
    return preference


def convex_parts(pool: Pool, positions: Rows) -> Floats:
    """Return each source's part of the weighted sum of some candidates [N], float32 [S, N]."""
    parts: Floats = np.nan_to_num(pool.calibrated[:, positions]) * pool.weights[:, None]
    return parts


@compiled(FLOATS, TABLE)
def _convex(weights: Floats, calibrated: Floats) -> Floats:
    preference = np.zeros(calibrated.shape[1], np.float32)
    for source in range(len(weights)):
        for p in range(len(preference)):
            if calibrated[source, p] > 0:  # NaN is not
                preference[p] += weights[source] * calibrated[source, p]
    return preference


def renormalised(query: Query, pool: Pool) -> Floats:
    """Return the weights of the sources with an opinion, summing to 1 [S].

    If all of those weigh nothing (a new source without learned weights, alone),
    they share equally: an answer is always worth more than none.
    """
    # A handful of numbers: plain Python is faster than arrays.
    answered = _answered(pool.calibrated).tolist()
    weights = [
        max(query.weights.get(source, 0.0), 0.0) if there else 0.0
        for source, there in zip(query.sources, answered, strict=True)
    ]
    if not sum(weights) > _LEAST:
        weights = [float(there) for there in answered]
    total = sum(weights)
    return np.array([weight / total for weight in weights], np.float32)


@compiled(TABLE)
def _answered(scores: Floats) -> Bools:
    """Say which sources have an opinion on anything [S]."""
    answered = np.zeros(len(scores), np.bool_)
    for source in range(len(scores)):
        for score in scores[source]:
            if not np.isnan(score):
                answered[source] = True
                break
    return answered
