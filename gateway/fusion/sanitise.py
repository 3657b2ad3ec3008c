"""Stage: put aside scores that are not numbers a model can have meant.

One bad score must not spoil a slate: it counts as "this source has no
opinion", and a candidate left with no opinion at all sinks below the others.
"""

import numpy as np

from artifacts.compiled import TABLE, compiled
from gateway.fusion.types import NORMAL, SUNK, Floats, Pool, Query

# Far beyond any score, far below where float32 sums overflow.
_ABSURD = 1e18


def sanitise(query: Query, pool: Pool) -> Pool:
    """Turn infinite and absurd scores into NaN and count them; sink what has no score left.

    Where nothing has a valid score nothing sinks: that is the fallback's case.
    Negative scores are fine; NaN is a source's plain "no opinion" and not counted.
    """
    del query
    scores, tier = pool.scores, pool.tier
    invalid, judged = _look(scores)
    if invalid:
        scores = np.where(np.abs(scores) > _ABSURD, np.float32(np.nan), scores)
    if 0 < judged < len(tier):
        valid = ~np.isnan(scores).all(axis=0)
        tier = np.where(~valid & (tier == NORMAL), np.int8(SUNK), tier)
    return pool._replace(scores=scores, invalid_scores=invalid, tier=tier, fallback=not judged)


@compiled(TABLE)
def _look(scores: Floats) -> tuple[int, int]:
    """Return how many scores are absurd, and how many candidates have one that is not."""
    invalid, judged = 0, 0
    for p in range(scores.shape[1]):
        valid = False
        for source in range(len(scores)):
            absurd = abs(scores[source, p]) > _ABSURD
            invalid += absurd
            valid = valid or not (absurd or np.isnan(scores[source, p]))
        judged += valid
    return invalid, judged
