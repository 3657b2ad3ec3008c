"""Why each item stands where it does, in numbers that add up.

The final score is the sum of the sources' parts and the named adjustments. The parts
are the terms of the weighted sum; of a learned ranker they are Shapley values
(artifacts/ranker/ranker.py), and what it would say without any source is the
adjustment "habits". Order is the score's, apart from
what rules and diversity moved, and both are reported.
"""

from dataclasses import dataclass

import numpy as np

from gateway.fusion.fuse import convex_parts
from gateway.fusion.reason import Reason, find_reason, reason_text
from gateway.fusion.types import NORMAL, Floats, Ints, Pool, Query, Rows

__all__ = ["Contribution", "Explanation", "Reason", "explain", "ranks", "reason_text"]


@dataclass(frozen=True, slots=True)
class Contribution:
    """One source's part in one item's fused score."""

    source: str
    score: float | None  # raw; None where the source had no opinion
    rank: int  # within the source, 1 first; 0 where it had no opinion
    calibrated: float  # 0..1
    weight: float  # after renormalising; 0 where a learned ranker combined the sources
    share: float  # of what sources added; sums to 1, or is 0 throughout if nothing was added
    value: float  # part of the final score; below 0 where the source spoke against the item


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that made one item's place."""

    row: int
    score: float
    contributions: tuple[Contribution, ...]
    adjustments: tuple[tuple[str, float], ...]  # every term but "fused": name, value
    rules: tuple[str, ...]  # labels of the rules that fired on it
    reason: Reason
    # Places won (+) or lost (-) to variety among the items that score alone orders.
    moved: int


def explain(query: Query, pool: Pool, positions: Rows) -> list[Explanation]:
    """Explain the candidates at `positions` (indices into the pool, as in pool.order)."""
    total = pool.total
    rank = ranks(pool.scores, query.columns.keys[pool.rows])
    moved = _moved(pool)
    parts, rest = _parts(query, pool, positions)
    added = np.maximum(parts, 0)
    whole = added.sum(axis=0)
    share = np.divide(added, whole, out=np.zeros_like(added), where=whole > 0)
    return [
        Explanation(
            row=int(pool.rows[at]),
            score=float(total[at]),
            contributions=_contributions(query, pool, (at, rank), share[:, n], parts[:, n]),
            adjustments=_adjustments(pool, at, float(rest[n])),
            rules=_rules(pool, at, int(moved[at])),
            reason=find_reason(query, pool, at),
            moved=int(moved[at]),
        )
        for n, at in enumerate(int(p) for p in positions)
    ]


def ranks(scores: Floats, keys: Ints) -> Rows:
    """Return each candidate's rank within each source, 1 first, 0 where absent [S, P].

    Equal scores rank by key [P], as the learned ranker reads them.
    """
    some = np.broadcast_to(keys, scores.shape)
    best_first = np.lexsort((some, -scores), axis=1)  # NaN sorts to the end
    numbers = np.broadcast_to(np.arange(1, scores.shape[1] + 1, dtype=np.int32), scores.shape)
    rank = np.empty(scores.shape, np.int32)
    np.put_along_axis(rank, best_first, numbers, axis=1)
    return np.where(np.isnan(scores), np.int32(0), rank)


def _parts(query: Query, pool: Pool, positions: Rows) -> tuple[Floats, Floats]:
    """Return each source's part of the term "fused" [S, N], and what is left of it [N]."""
    if pool.learned and query.ranker is not None:
        return query.ranker.parts(query, pool, positions)
    return convex_parts(pool, positions), np.zeros(len(positions), np.float32)


def _contributions(
    query: Query, pool: Pool, place: tuple[int, Rows], share: Floats, parts: Floats
) -> tuple[Contribution, ...]:
    at, rank = place
    return tuple(
        Contribution(
            source=source,
            score=None if np.isnan(pool.scores[s, at]) else float(pool.scores[s, at]),
            rank=int(rank[s, at]),
            calibrated=float(np.nan_to_num(pool.calibrated[s, at])),
            weight=0.0 if pool.learned else float(pool.weights[s]),
            share=float(share[s]),
            value=float(parts[s]),
        )
        for s, source in enumerate(query.sources)
    )


def _adjustments(pool: Pool, at: int, rest: float) -> tuple[tuple[str, float], ...]:
    named = [(name, float(term[at])) for name, term in pool.terms.items() if name != "fused"]
    return (("habits", rest), *named) if pool.learned else tuple(named)


def _rules(pool: Pool, at: int, moved: int) -> tuple[str, ...]:
    labels = [label for label, which in pool.fired.items() if which[at]]
    if moved:
        labels.append(f"diversity:{moved:+d}")
    return tuple(labels)


def _moved(pool: Pool) -> Rows:
    """Place by score minus place shown, among the kept candidates of the normal tier [P]."""
    moved = np.zeros(len(pool.rows), np.int32)
    shown = pool.order[pool.tier[pool.order] == NORMAL]
    by_score = np.argsort(-pool.total[shown], kind="stable")
    place = np.empty(len(shown), np.int32)
    place[by_score] = np.arange(len(shown), dtype=np.int32)
    moved[shown] = place - np.arange(len(shown), dtype=np.int32)
    return moved
