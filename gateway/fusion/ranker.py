"""The learned ranker in the fusion: an artifact's network over a pool.

Features and network are those of training (artifacts/ranker); this hands them the
columns of a query and a pool.
"""

import numpy as np

from artifacts.ranker.features import Candidates, Shelf, features
from artifacts.ranker.ranker import LearnedRanker
from gateway.fusion.cross_domain import log_ratio
from gateway.fusion.types import Floats, Pool, Query, Rows


class PoolRanker:
    """Ranks pools by one version of the learned ranker; holds nothing of a request."""

    def __init__(self, learned: LearnedRanker) -> None:
        """`learned` comes from the fusion artifact."""
        self._learned = learned

    def __call__(self, query: Query, pool: Pool) -> Floats | None:
        """Return the preference for each candidate, 0..1 [P]; None without a source it knows."""
        table = self._table(query, pool)
        return None if table is None else self._learned.preference(table)

    def parts(self, query: Query, pool: Pool, positions: Rows) -> tuple[Floats, Floats]:
        """Take the preference for some candidates [N] apart: sources' [S, N] and the rest [N]."""
        table = self._table(query, pool)
        if table is None:
            raise ValueError("there is nothing to take apart: no source is known to the ranker")
        place = self._places(query)
        answered = np.array([p >= 0 and not np.isnan(pool.scores[p]).all() for p in place])
        found, rest = self._learned.parts(table[positions], answered)
        parts = np.zeros((len(query.sources), len(positions)), np.float32)
        for source, p in zip(found, place, strict=True):
            if p >= 0:
                parts[p] = source
        return parts, rest

    def _table(self, query: Query, pool: Pool) -> Floats | None:
        place = self._places(query)
        known = [p for p in place if p >= 0]
        if np.isnan(pool.scores[known]).all():
            return None
        columns, crossing = query.columns, log_ratio(query, pool.rows)
        candidates = Candidates(
            rows=pool.rows,
            scores=_at(pool.scores, place),
            calibrated=_at(pool.calibrated, place),
            trend=_trend(query, pool.rows),
            crossing=np.zeros(len(pool.rows), np.float32) if crossing is None else crossing,
            habits=self._learned.habits_of(columns.keys[pool.rows]),
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
