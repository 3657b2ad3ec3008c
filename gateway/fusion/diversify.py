"""Stage: variety among the first places.

Unlike items, the shopper's own mix of domains, and a bound on providers, place by
place (artifacts/slate.py has the formulas). It fixes places, never scores: the final
score stays the sum of its terms.
"""

import numpy as np

from artifacts.slate import Bound, Mix, Variety, choose
from gateway.fusion.order import best_first
from gateway.fusion.types import NORMAL, PINNED, Floats, Pool, Query, Rows

# Results of a query resemble each other because they match; RANK is the caller's own list.
_AS_SCORED = ("SEARCH", "RANK")
# Elsewhere an item, a cart or a session says which domains are wanted, not the history.
_BY_HISTORY = "HOME"


def diversify(query: Query, pool: Pool) -> Pool:
    """Fix the order of the first `limit` places; the rest stays ordered by score.

    Items without a vector are unlike everything; what is not known of a domain or a
    provider counts nowhere. Pinned items count as shown.
    """
    if not _asked_for(query) or query.surface in _AS_SCORED:
        return pool
    open_places = np.flatnonzero(pool.kept & (pool.tier == NORMAL))
    if len(open_places) < 2 or query.limit < 1:
        return pool
    score = pool.total[open_places]
    # Twice the places asked for is choice enough, and bounds the work.
    best = best_first(query, pool.rows[open_places], score, max(2 * query.limit, 50))
    head = open_places[best]
    chosen = head[_chosen(query, pool, (pool.rows[head], score[best]))]
    place = pool.place.copy()
    place[chosen] = np.arange(len(chosen), dtype=np.int32)
    return pool._replace(place=place)


def _asked_for(query: Query) -> bool:
    return query.diversity > 0 or query.domain_calibration > 0 or query.provider_share < 1


def _chosen(query: Query, pool: Pool, head: tuple[Rows, Floats]) -> Rows:
    """Return the chosen as indices into `head` (catalogue rows, scores), in order."""
    rows, scores = head
    vectors = query.columns.vectors
    pinned = pool.rows[pool.kept & (pool.tier == PINNED)]
    variety = Variety(
        query.diversity,
        _mix(query, rows, pinned) if query.domain_calibration > 0 else None,
        _bound(query, rows, pinned) if query.provider_share < 1 else None,
    )
    return choose(scores, vectors[rows], query.limit, variety, vectors[pinned])


def _mix(query: Query, rows: Rows, pinned: Rows) -> Mix | None:
    """Return the history's mix of domains, of categories where there is one domain.

    None where the history says nothing, and on surfaces that ask about something else.
    """
    columns = query.columns
    several = len(columns.domain_names) > 1
    group = columns.domain if several else columns.category
    names = columns.domain_names if several else columns.category_names
    past = group[query.history]
    liked = (past >= 0) & (query.history_weight > 0)
    if query.surface != _BY_HISTORY or not liked.any():
        return None
    likes = np.bincount(past[liked], query.history_weight[liked], len(names))
    shares = (likes / likes.sum()).astype(np.float32)
    return Mix(query.domain_calibration, shares, group[rows], group[pinned])


def _bound(query: Query, rows: Rows, pinned: Rows) -> Bound:
    provider = query.columns.provider
    return Bound(query.provider_share, provider[rows], provider[pinned])
