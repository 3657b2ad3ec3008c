"""Stage: bring each source's scores to 0..1.

Half of the result is min-max within the answer, half the score's quantile among
all the answers the model gave on its training data (from its manifest). Min-max
keeps the spacing within an answer, which a convex combination lives on; the
quantile keeps the level between answers, so that the best of a poor answer does
not count as much as the best of a good one, and it is all there is when an
answer holds one candidate or equal scores. Both rise with the score.

What is no alternative says nothing about the others: what a rule has put out, and on
SESSION what the session holds. Models name these among their best, and an answer whose
best is the item just looked at would have little spread left for what may come next.
"""

import numpy as np

from artifacts import formulas
from gateway.fusion.hard_rules import member
from gateway.fusion.types import Bools, Pool, Query


def calibrate(query: Query, pool: Pool) -> Pool:
    """Set pool.calibrated, 0..1 [S, P], NaN where the source had no opinion."""
    quantiles = [query.quantiles.get(source) for source in query.sources]
    return pool._replace(calibrated=formulas.calibrate(pool.scores, quantiles, _apart(query, pool)))


def _apart(query: Query, pool: Pool) -> Bools | None:
    """Say which candidates are no alternatives [P]; None: all are."""
    apart: Bools = ~pool.kept
    if query.surface == "SESSION" and len(query.session):
        apart |= member(pool.rows, query.session, len(query.columns.keys))
    return apart if np.count_nonzero(apart) else None
