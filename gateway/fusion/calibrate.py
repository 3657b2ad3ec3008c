"""Stage: bring each source's scores to 0..1.

Half of the result is min-max within the answer, half the score's quantile among
all the answers the model gave on its training data (from its manifest). Min-max
keeps the spacing within an answer, which a convex combination lives on; the
quantile keeps the level between answers, so that the best of a poor answer does
not count as much as the best of a good one, and it is all there is when an
answer holds one candidate or equal scores. Both rise with the score.
"""

from artifacts import formulas
from gateway.fusion.types import Pool, Query


def calibrate(query: Query, pool: Pool) -> Pool:
    """Set pool.calibrated, 0..1 [S, P], NaN where the source had no opinion."""
    quantiles = [query.quantiles.get(source) for source in query.sources]
    return pool._replace(calibrated=formulas.calibrate(pool.scores, quantiles))
