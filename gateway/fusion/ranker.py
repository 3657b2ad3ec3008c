"""The learned ranker in the fusion: an artifact's network over the best of a pool.

Features and network are those of training (artifacts/ranker); this hands them the
columns of a query and a pool. The one idea beside it: four sources of 200 candidates are
a pool of five hundred, of which a page shows twenty, and what no source thinks much of is
not asked about. The shopper's own items, what sells just now and the weighted sum make a
shortlist; the rest stands behind it, in the weighted sum's order.
"""

import numpy as np

from artifacts.compiled import BOOLS, FLOATS, ROWS, compiled
from artifacts.ranker.features import Candidates, Shelf, features
from artifacts.ranker.ranker import LearnedRanker
from gateway.fusion.cross_domain import log_ratio
from gateway.fusion.fuse import convex, convex_parts
from gateway.fusion.types import Bools, Floats, Ints, Pool, Query, Rows

# Length of the shortlist: for each place that is filled with care, and at least. Less is
# faster, and loses behind the first page before it does on it (docs/fusion.md).
_FOR_A_PLACE, _LEAST = 4, 100


class PoolRanker:
    """Ranks pools by one version of the learned ranker; holds nothing of a request."""

    def __init__(self, learned: LearnedRanker) -> None:
        """`learned` comes from the fusion artifact."""
        self._learned = learned

    def __call__(self, query: Query, pool: Pool) -> tuple[Floats, Floats] | None:
        """Return the preference for each candidate, 0..1 [P], and the features it is made of.

        None without a source it knows, unless it ranks alone where none answered.
        """
        if not self._speaks(query, pool):
            return None
        if _ranks_all(query, pool):
            table = self._table(query, pool, None)
            return self._learned.preference(table), table
        summed = convex(query, pool)
        best = _shortlist(query, pool, summed)
        table = self._table(query, pool, best)
        ranked = self._learned.preference(table)
        preference = _behind(summed, best, float(ranked.min()))
        preference[best] = ranked
        return preference, table

    def parts(self, query: Query, pool: Pool, positions: Rows) -> tuple[Floats, Floats]:
        """Take the preference for some candidates [N] apart: sources' [S, N] and the rest [N].

        Behind the shortlist the parts are the weighted sum's, in proportion. What the pool
        has kept of the features is read: market and catalogue may be others by now.
        """
        if not self._speaks(query, pool):
            raise ValueError("there is nothing to take apart: no source is known to the ranker")
        parts = np.zeros((len(query.sources), len(positions)), np.float32)
        rest = np.zeros(len(positions), np.float32)
        ranked, best = np.ones(len(positions), np.bool_), np.arange(len(pool.rows), dtype=np.int32)
        if not _ranks_all(query, pool):
            summed = convex(query, pool)
            best = _shortlist(query, pool, summed)
            ranked = np.zeros(len(pool.rows), np.bool_)
            ranked[best] = True
            ranked = ranked[positions]
            behind = positions[~ranked]
            whole = summed[behind]
            scale = np.divide(
                pool.terms["fused"][behind], whole, out=np.zeros_like(whole), where=whole > 0
            )
            parts[:, ~ranked] = convex_parts(pool, behind) * scale
        place = self._places(query)
        answered = np.array([p >= 0 and not np.isnan(pool.scores[p]).all() for p in place])
        table = self._table(query, pool, best) if pool.features is None else pool.features
        of_ranked = table[np.searchsorted(best, positions[ranked])]
        found, rest[ranked] = self._learned.parts(of_ranked, answered)
        for source, p in zip(found, place, strict=True):
            if p >= 0:
                parts[p, ranked] = source
        return parts, rest

    def alone(self, query: Query) -> bool:
        """Say whether it has a preference where no source answers: for a shopper it knows."""
        return self._learned.alone and len(query.past.rows) > 0

    def _speaks(self, query: Query, pool: Pool) -> bool:
        if pool.fallback:
            return self.alone(query)
        known = [p for p in self._places(query) if p >= 0]
        return not np.isnan(pool.scores[known]).all()

    def _table(self, query: Query, pool: Pool, best: Rows | None) -> Floats:
        """Return the features of candidates, ascending indices into the pool; None: of all."""
        place = self._places(query)
        columns = query.columns
        rows = pool.rows if best is None else pool.rows[best]
        crossing = log_ratio(query, rows)
        keys = columns.keys[pool.rows]
        candidates = Candidates(
            rows=rows,
            scores=_at(pool.scores, place),
            calibrated=_at(pool.calibrated, place),
            trend=_trend(query, rows),
            crossing=np.zeros(len(rows), np.float32) if crossing is None else crossing,
            habits=self._learned.habits_of(keys if best is None else keys[best]),
            of_answered=best,
            answered_keys=keys,
        )
        shelf = Shelf(
            domain=columns.domain,
            category=columns.category,
            brand=columns.brand,
            provider=columns.provider,
            price=columns.price,
            popularity=columns.popularity,
        )
        return features(candidates, query.past, shelf)

    def _places(self, query: Query) -> list[int]:
        """Return where the ranker's sources stand among the query's; -1 where they do not."""
        names = query.sources
        return [names.index(s) if s in names else -1 for s in self._learned.sources]


def _ranks_all(query: Query, pool: Pool) -> bool:
    """Say whether every candidate is looked at: few are, or without sources no sum tells them."""
    return pool.fallback or len(pool.rows) <= shortlist_length(query)


def shortlist_length(query: Query) -> int:
    """Return how many candidates of a large pool are ranked by what was learned."""
    return max(_LEAST, _FOR_A_PLACE * query.limit)


def _shortlist(query: Query, pool: Pool, summed: Floats) -> Rows:
    """Return the candidates that are worth a closer look, ascending indices [N].

    What the rules allow before what they forbid.
    """
    size = shortlist_length(query)
    known = np.concatenate([query.own[: size // 2], query.leading[: size // 8]])
    return shortlist(summed, pool.kept, pool.rows, known, size, keys=query.columns.keys)


def shortlist(
    summed: Floats, fine: Bools, rows: Rows, known: Rows, size: int, *, keys: Ints | None = None
) -> Rows:
    """Return `size` of more candidates, ascending indices.

    Those that are not `fine` [P] come last, `known` rows first: the shopper's own, up to half,
    and some of what sells just now. The others are the weighted sum's best [P]. `rows`
    ascending [P]; of equals the smaller of the catalogue's `keys` [n], None: they ascend.
    """
    last = _lastness(summed, fine, rows, known)
    parted = np.argpartition(last, (size - 1, size))
    found, least = parted[:size], last[parted[size - 1]]
    if last[parted[size]] == least:
        below, equal = np.flatnonzero(last < least), np.flatnonzero(last == least)
        ties = rows[equal] if keys is None else keys[rows[equal]]
        equal = equal[np.argsort(ties)[: size - len(below)]]
        found = np.concatenate([below, equal])
    return np.sort(found).astype(np.int32)


@compiled(FLOATS, BOOLS, ROWS, ROWS)
def _lastness(summed: Floats, fine: Bools, rows: Rows, known: Rows) -> Floats:
    """Return numbers that put the candidates in order [P]; `rows` ascending."""
    last = -summed
    for row in known:
        p = np.searchsorted(rows, row)
        if p < len(rows) and rows[p] == row:
            last[p] = -np.float32(2) - summed[p]  # once, however often it is named
    for p in range(len(rows)):
        if not fine[p]:
            last[p] += np.float32(4)
    return last


def _behind(summed: Floats, best: Rows, least: float) -> Floats:
    """Return preferences up to half of `least`, in proportion to the weighted sum [P].

    Those of `best` are 0.
    """
    rest = summed.copy()
    rest[best] = 0
    most = float(rest.max())
    return rest * np.float32(0.5 * least / most) if most > 0 else rest


def _at(table: Floats, place: list[int]) -> Floats:
    """Return a table's rows at `place`, NaN for -1."""
    if min(place) >= 0:
        return table[place]
    found = np.full((len(place), table.shape[1]), np.nan, np.float32)
    for number, p in enumerate(place):
        if p >= 0:
            found[number] = table[p]
    return found


def _trend(query: Query, rows: Rows) -> Floats:
    trend: Floats = query.trend[rows] if len(query.trend) else np.zeros(len(rows), np.float32)
    return trend
