"""Stage: variety among the first places, by maximal marginal relevance.

Place by place it takes the candidate with the best (1 - d) * score - d *
nearness to what is already chosen. It fixes places, never scores: the final
score stays the sum of its terms.
"""

import numpy as np

from artifacts.compiled import NUMBER, TABLE, WRITTEN, compiled
from gateway.fusion.types import NORMAL, PINNED, Bools, Floats, Pool, Query, Rows

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
    return pool._replace(place=place)


def _greedy(query: Query, pool: Pool, head: Rows) -> Rows:
    """Return the chosen as indices into `head`, in order."""
    blend = np.float32(min(max(query.diversity, 0.0), 1.0))
    vectors = query.columns.vectors[pool.rows[head]]
    relevance: Floats = (1 - blend) * pool.total[head]
    # Row i: what is left of everybody's relevance once i is chosen.
    beside = relevance - np.maximum(blend * (vectors @ vectors.T), 0)
    gain = relevance.copy()
    pinned = pool.rows[pool.kept & (pool.tier == PINNED)]
    if len(pinned):
        near = blend * (vectors @ query.columns.vectors[pinned].T).max(axis=1)
        gain -= np.maximum(near, 0)
    places = min(query.limit, len(head))
    if query.max_per_provider is None:
        return _choose(gain, beside, places)
    provider = query.columns.provider
    return _choose_bounded(
        gain,
        beside,
        places,
        _Bound(query.max_per_provider, provider[pool.rows[head]], provider[pinned]),
    )


@compiled(WRITTEN, TABLE, NUMBER)
def _choose(gain: Floats, beside: Floats, places: int) -> Rows:
    """Take the best `places` times; each choice lowers what is like it. Changes `gain`."""
    chosen = np.empty(places, np.int32)
    for place in range(places):
        best = 0
        for i in range(1, len(gain)):
            if gain[i] > gain[best]:
                best = i
        chosen[place] = best
        gain[best] = -np.inf
        for i in range(len(gain)):
            gain[i] = min(gain[i], beside[best, i])
    return chosen


class _Bound:
    """Says whose turn is over: providers that have as many places as they may."""

    def __init__(self, most: int, provider: Rows, pinned: Rows) -> None:
        self._most = most
        self._provider = provider
        self._shown: dict[int, int] = {}
        for name in pinned.tolist():
            self._shown[name] = self._shown.get(name, 0) + 1
        full = [name for name, count in self._shown.items() if count >= most and name >= 0]
        self.full_at_first: Bools = np.isin(provider, np.array(full, np.int32))

    def full_after(self, at: int) -> Bools | None:
        """Count the choice `at`; return which entries are out from now on, None if none is."""
        name = int(self._provider[at])
        if name < 0:  # whose it is is not known: nobody's places
            return None
        self._shown[name] = self._shown.get(name, 0) + 1
        return self._provider == name if self._shown[name] >= self._most else None


def _choose_bounded(gain: Floats, beside: Floats, places: int, bound: _Bound) -> Rows:
    gain[bound.full_at_first] = -np.inf
    chosen: list[int] = []
    while len(chosen) < places and gain[best := int(gain.argmax())] > -np.inf:
        chosen.append(best)
        gain[best] = -np.inf
        np.minimum(gain, beside[best], out=gain)
        if (out := bound.full_after(best)) is not None:
            gain[out] = -np.inf
    return np.array(chosen, np.int32)
