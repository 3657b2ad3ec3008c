"""Stage: the final order.

Tier by tier (pinned, normal, buried, sunk); within a tier the places a stage
has fixed, then by score. Ties among the first places fall to the more popular item
and then to the smaller key, the others to the catalogue's order, so equal requests
get equal slates.
"""

import numpy as np

from gateway.fusion.types import Floats, Ints, Pool, Query

_PLACE_BITS = 24
_MOST_PLACES = (1 << _PLACE_BITS) - 1


def order(query: Query, pool: Pool) -> Pool:
    """Set pool.order: indices of the kept candidates, first place first."""
    kept = np.flatnonzero(pool.kept)
    score = pool.total[kept]
    # Places are few: with tier above and score below they fit one number, and one sort
    # of numbers is several times faster than a sort by several keys.
    place = np.minimum(pool.place[kept], _MOST_PLACES).astype(np.int64)
    place |= pool.tier[kept].astype(np.int64) << _PLACE_BITS
    key = (place << 32) + _falling(score)
    order = np.argsort(key, kind="stable")
    # Behind the first places lie many whose score is 0; their order is not worth its price.
    head = key[order[: query.limit + 1]]
    if (head[1:] == head[:-1]).any():
        rows = pool.rows[kept]
        popularity = np.nan_to_num(query.columns.popularity[rows])
        order = np.lexsort((query.columns.keys[rows], -popularity, key))
    return pool._replace(order=kept[order].astype(np.int32))


def _falling(score: Floats) -> Ints:
    """Return whole numbers in 0 .. 2^32 - 1 that fall as the score rises, equal for equals.

    The bits of a float, read as a number, rise with it; those of a negative one fall.
    """
    bits = (score + np.float32(0)).view(np.int32).astype(np.int64)  # -0.0 becomes 0.0
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    falling: Ints = 0x7FFFFFFF - rising
    return falling
