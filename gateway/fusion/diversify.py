"""Stage: variety among the first places, by maximal marginal relevance.

Place by place it takes the candidate with the best (1 - d) * score - d *
nearness to what is already chosen. It fixes places, never scores: the final
score stays the sum of its terms.
"""

from dataclasses import replace

import numpy as np

from gateway.fusion.types import NORMAL, PINNED, Floats, Pool, Query, Rows

# Results of a query resemble each other because they match; RANK is the caller's own list.
_AS_SCORED = ("SEARCH", "RANK")


def diversify(query: Query, pool: Pool) -> Pool:
    """Fix the order of the first `limit` places; the rest stays ordered by score.

    Items without a vector are unlike everything. With `max_per_provider` no
    provider takes more of these places, pinned items included.
    """
    bound = query.max_per_provider
    if (query.diversity <= 0 and bound is None) or query.surface in _AS_SCORED:
        return pool
    open_places = np.flatnonzero(pool.kept & (pool.tier == NORMAL))
    if len(open_places) < 2 or query.limit < 1:
        return pool
    score = pool.total[open_places]
    # Twice the places asked for is choice enough, and bounds the work; a stable sort
    # over ascending rows makes ties deterministic.
    head = open_places[np.argsort(-score, kind="stable")[: max(2 * query.limit, 50)]]
    chosen = head[_greedy(query, pool, head.astype(np.int32))]
    place = pool.place.copy()
    place[chosen] = np.arange(len(chosen), dtype=np.int32)
    return replace(pool, place=place)


def _greedy(query: Query, pool: Pool, head: Rows) -> Rows:
    """Return the chosen as indices into `head`, in order."""
    blend = np.float32(min(max(query.diversity, 0.0), 1.0))
    pinned = pool.rows[pool.kept & (pool.tier == PINNED)]
    vectors = query.columns.vectors[pool.rows[head]]
    likeness = blend * np.maximum(vectors @ vectors.T, 0)
    closest: Floats = np.zeros(len(head), np.float32)
    if len(pinned):
        near = vectors @ query.columns.vectors[pinned].T
        closest = np.maximum(blend * near.max(axis=1), 0)
    relevance = (1 - blend) * pool.total[head]
    provider = query.columns.provider[pool.rows[head]]
    bound = query.max_per_provider
    shown = dict(zip(*_counts(query.columns.provider[pinned]), strict=True))
    if bound is not None:
        for name, count in shown.items():
            if count >= bound:
                relevance[provider == name] = -np.inf
    chosen: list[int] = []
    gain = np.empty_like(relevance)
    for _ in range(min(query.limit, len(head))):
        best = int(np.subtract(relevance, closest, out=gain).argmax())
        if relevance[best] == -np.inf:
            break
        chosen.append(best)
        relevance[best] = -np.inf
        np.maximum(closest, likeness[best], out=closest)
        if bound is not None and (name := int(provider[best])) >= 0:
            shown[name] = shown.get(name, 0) + 1
            if shown[name] >= bound:
                relevance[provider == name] = -np.inf
    return np.array(chosen, np.int32)


def _counts(provider: Rows) -> tuple[list[int], list[int]]:
    names, counts = np.unique(provider[provider >= 0], return_counts=True)
    return names.tolist(), counts.tolist()
