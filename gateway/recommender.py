"""The request path: state, sources, pool, stages, ranking.

Read `Recommender.rank` from top to bottom and you know what happens to a
request. Nothing here can fail for want of a model: whatever answers is used, and
with nothing at all the market's trends are the answer.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from gateway.catalogue import Catalogue
from gateway.fusion.adapt import Evidence
from gateway.fusion.pipeline import build_pool
from gateway.fusion.types import NO_COLUMNS, Pool, Query
from gateway.merging import Merge, Merger
from gateway.paging import new_ranking_id
from gateway.retrieval import Gathered, Retrieval
from gateway.situation import Situation, Situations
from gateway.traffic import Traffic
from gateway.trails import UNREAD, Trails
from gateway.trends import TrendThen
from gateway.types import Ask, Facts, Ranking, SourceAnswer, Timings

_MOST_DROPPED = 100
_NO_KEYS = np.zeros(0, np.int64)
_NO_SCORES = np.zeros(0, np.float32)


class Recommender:
    """Makes rankings. One for the process; holds nothing of a request."""

    def __init__(
        self,
        situations: Situations,
        catalogue: Catalogue,
        trails: Trails,
        retrieval: Retrieval,
        *,
        merger: Merger,
        traffic: Traffic,
        evidence: Callable[[Query, Pool], Evidence | None] = lambda _query, _pool: None,
    ) -> None:
        """`evidence`: what weights can learn from a ranking, where they adapt."""
        self._evidence = evidence
        self._traffic = traffic
        self._situations = situations
        self._catalogue = catalogue
        self._trails = trails
        self._retrieval = retrieval
        self._merger = merger

    async def rank(self, ask: Ask, until: float, expires: float = math.inf) -> Ranking:
        """Make a ranking; sources must have answered by `until` (time.perf_counter()).

        Raises DeadlineExceeded, and merges nothing, where its turn comes after `expires`.
        """
        self._traffic.enter()
        try:
            return await self._rank(ask, until, expires)
        finally:
            self._traffic.leave()

    async def _rank(self, ask: Ask, until: float, expires: float) -> Ranking:
        start = time.perf_counter()
        trail = await self._trails.get(ask.user_id, until)
        situation = self._situations.build(ask, trail, int(time.time() * 1000))
        read = time.perf_counter()
        gathered = await self._retrieval.gather(situation, until)
        answered = time.perf_counter()
        merge = Merge(gathered.query, partial(self._pool, situation, gathered), expires)
        pool = await self._merger.merge(merge)
        done = time.perf_counter()
        stages = (("read_state", read - start), ("fan_out", answered - read), *merge.stages)
        timings = Timings(total=done - start, merge=done - answered, stages=stages)
        made = self._ranking(situation, gathered, pool, timings)
        return replace(made, unread=True) if trail is UNREAD else made

    def _pool(self, situation: Situation, gathered: Gathered) -> Pool:
        theirs = self._catalogue.rows(situation.candidates)
        return build_pool(gathered.query, gathered.candidates, theirs)

    def _ranking(
        self, situation: Situation, gathered: Gathered, pool: Pool, timings: Timings
    ) -> Ranking:
        answers = tuple(gathered.answers[name] for name in situation.query.sources)
        dropped = _dropped(gathered.query, pool) if situation.ask.explain else ()
        forbidden = situation.forbidden_ids[: _MOST_DROPPED - len(dropped)]
        return Ranking(
            ranking_id=new_ranking_id(),
            ask=situation.ask,
            rows=pool.rows[pool.order],
            scores=pool.total[pool.order],
            positions=pool.order,
            answers=tuple(map(_slim, answers)),
            candidate_counts=tuple(a.opinions for a in answers),
            fallback=pool.fallback,
            unknown_items=situation.unknown_items,
            unknown_candidates=gathered.unknown,
            timings=timings,
            dropped=dropped,
            dropped_counts=_by_reason(pool),
            unknown_ids=situation.unknown_ids,
            forbidden_ids=forbidden if situation.ask.explain else (),
            facts=_facts(gathered.query, pool) if situation.ask.explain else None,
            evidence=self._evidence(gathered.query, pool),
        )


def _facts(query: Query, pool: Pool) -> Facts:
    """What explains a ranking, without the catalogue: a snapshot kept is memory kept.

    The market moves on until a page is turned: its trend is what it was.
    """
    trend = TrendThen(pool.rows, query.trend[pool.rows])
    return Facts(query._replace(columns=NO_COLUMNS, prices=None, trend=trend), pool)


def _slim(answer: SourceAnswer) -> SourceAnswer:
    """Keep what a reply says of a source, not what it answered."""
    return answer._replace(keys=_NO_KEYS, scores=_NO_SCORES, embedding=None)


def _dropped(query: Query, pool: Pool) -> tuple[tuple[int, str], ...]:
    """Return (row, reason) of what was left out, what would have stood highest first."""
    out = np.flatnonzero(pool.dropped)
    keys = query.columns.keys[pool.rows[out]]
    best = out[np.lexsort((keys, -pool.total[out]))][:_MOST_DROPPED]
    return tuple((int(pool.rows[at]), pool.reasons[pool.dropped[at]]) for at in best)


def _by_reason(pool: Pool) -> tuple[tuple[str, int], ...]:
    if len(pool.reasons) == 1:
        return ()
    counts = np.bincount(pool.dropped, minlength=len(pool.reasons)).tolist()
    return tuple((r, n) for r, n in zip(pool.reasons[1:], counts[1:], strict=True) if n)
