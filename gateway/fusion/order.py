"""Stage: the final order.

Tier by tier (pinned, normal, buried, sunk); within a tier the places a stage
has fixed, then by score. Ties fall to the more popular item and then to the
smaller key, so equal requests get equal slates.
"""

from dataclasses import replace

import numpy as np

from gateway.fusion.types import Pool, Query


def order(query: Query, pool: Pool) -> Pool:
    """Set pool.order: indices of the kept candidates, first place first."""
    kept = np.flatnonzero(pool.kept)
    # Tier and place in one number: one sorting key less.
    place = pool.tier[kept].astype(np.int64) << 32 | pool.place[kept]
    score = pool.total[kept]
    order = np.lexsort((-score, place))
    if np.any((np.diff(score[order]) == 0) & (np.diff(place[order]) == 0)):
        rows = pool.rows[kept]
        popularity = np.nan_to_num(query.columns.popularity[rows])
        order = np.lexsort((query.columns.keys[rows], -popularity, -score, place))
    return replace(pool, order=kept[order].astype(np.int32))
