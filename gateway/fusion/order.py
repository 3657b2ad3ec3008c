"""Stage: the final order.

Tier by tier (pinned, held, normal, sunk, buried); within a tier the places a stage
has fixed, then by score. Ties among the first places fall to the more popular item
and then to the smaller key, the others to the key alone: rows are others after a restart,
and equal requests get equal slates all the same.
"""

import numpy as np
import numpy.typing as npt

from artifacts.compiled import BYTES, FLOATS, INTS, NUMBER, ROWS, SMALLS, compiled
from gateway.fusion.types import Floats, Ints, Pool, Query, Rows

_PLACE_BITS = 24
_MOST_PLACES = (1 << _PLACE_BITS) - 1


def order(query: Query, pool: Pool) -> Pool:
    """Set pool.order: indices of the kept candidates, first place first."""
    total = pool.total
    kept, key = _keyed(pool.dropped, pool.tier, pool.place, total, total.view(np.int32))
    by_key = key.argsort(kind="stable")
    # Behind the first places lie many whose score is 0: popularity is not worth its price.
    found, tied = _taken(kept, key, by_key, query.columns.keys, pool.rows, query.limit)
    if tied:
        rows = pool.rows[kept]
        popularity = np.nan_to_num(query.columns.popularity[rows])
        found = kept[np.lexsort((query.columns.keys[rows], -popularity, key))]
    return pool._replace(order=found)


@compiled(BYTES, SMALLS, ROWS, FLOATS, ROWS)
def _keyed(
    dropped: npt.NDArray[np.uint8], tiers: npt.NDArray[np.int8], places: Rows, total: Floats,
    bits: Rows,
) -> tuple[Rows, Ints]:  # fmt: skip
    """Return the kept candidates, and a number for each that rises with its place [K].

    Places are few: with the tier above and the score below they fit one number, and one
    sort of numbers is several times faster than a sort by several keys.
    """
    kept = np.flatnonzero(dropped == 0).astype(np.int32)
    key = np.empty(len(kept), np.int64)
    for i in range(len(kept)):
        p = kept[i]
        # The bits of a float, read as a number, rise with it; those of a negative one
        # fall, and -0.0 is another number than 0.0.
        rising = np.int64(bits[p]) if total[p] != 0 else np.int64(0)
        if rising < 0:
            rising ^= 0x7FFFFFFF
        place = np.int64(min(places[p], _MOST_PLACES))
        tier = np.int64(tiers[p])
        key[i] = (((tier << _PLACE_BITS) | place) << 32) + (0x7FFFFFFF - rising)
    return kept, key


def best_first(query: Query, rows: Rows, score: Floats, most: int) -> Ints:
    """Return the places of the `most` greatest scores [m], greatest first.

    Of equals the more popular, then by key; `rows`: which of the catalogue's they are [m].
    """
    best = np.argsort(-score, kind="stable")
    columns = query.columns
    found: Ints = _settled(best, score, rows, columns.popularity, columns.keys, most)
    return found


@compiled(INTS, FLOATS, ROWS, FLOATS, INTS, NUMBER)
def _settled(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    best: Ints, score: Floats, rows: Rows, popularity: Floats, keys: Ints, most: int
) -> Ints:
    """Return the first `most` of `best`, equals by popularity, unknown counting 0, and key."""
    found, start = best.copy(), 0
    for i in range(1, len(found) + 1):
        if i < len(found) and score[found[i]] == score[found[start]]:
            continue
        if i - start > 1:
            equals = found[start:i].copy()
            equals = equals[np.argsort(keys[rows[equals]])]
            popular = popularity[rows[equals]]
            popular = np.where(np.isnan(popular), np.float32(0), popular)
            found[start:i] = equals[np.argsort(-popular, kind="mergesort")]
        if i >= most:
            break
        start = i
    return found[:most].copy()


@compiled(ROWS, INTS, INTS, INTS, ROWS, NUMBER)
def _taken(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    kept: Rows, key: Ints, by_key: Ints, items: Ints, rows: Rows, limit: int
) -> tuple[Rows, bool]:
    """Return the kept in order, and whether two of the first `limit` + 1 are equals.

    Of equals behind those the smaller of `items` comes first, the catalogue's keys; `rows`:
    which of them the candidates are.
    """
    found, start = kept[by_key], 0
    for i in range(1, len(found) + 1):
        if i < len(found) and key[by_key[i]] == key[by_key[i - 1]]:
            if i <= limit:
                return found, True
            continue
        if i - start > 1:
            equals = found[start:i].copy()
            found[start:i] = equals[np.argsort(items[rows[equals]])]
        start = i
    return found, False
