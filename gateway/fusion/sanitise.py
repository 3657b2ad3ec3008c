"""Stage: put aside scores that are not numbers a model can have meant.

One bad score must not spoil a slate: it counts as "this source has no
opinion", and a candidate left with no opinion at all sinks below the others.
"""

import numpy as np

from gateway.fusion.types import NORMAL, SUNK, Pool, Query

# Far beyond any score, far below where float32 sums overflow.
_ABSURD = 1e18


def sanitise(query: Query, pool: Pool) -> Pool:
    """Turn infinite and absurd scores into NaN and count them; sink what has no score left.

    Where nothing has a valid score nothing sinks: that is the fallback's case.
    Negative scores are fine; NaN is a source's plain "no opinion" and not counted.
    """
    del query
    bad = np.abs(pool.scores) > _ABSURD
    count = int(np.count_nonzero(bad))
    scores = np.where(bad, np.float32(np.nan), pool.scores) if count else pool.scores
    valid = ~np.isnan(scores).all(axis=0)
    anything = bool(valid.any())
    tier = pool.tier
    if anything and not valid.all():
        tier = np.where(~valid & (tier == NORMAL), np.int8(SUNK), tier)
    return pool._replace(scores=scores, invalid_scores=count, tier=tier, fallback=not anything)
