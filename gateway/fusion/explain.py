"""Why each item stands where it does, in numbers that add up.

The final score is the sum of the sources' parts and the named adjustments. The parts
are the terms of the weighted sum; of a learned ranker they are Shapley values
(artifacts/ranker/ranker.py), and what it would say without any source is the
adjustment "habits". Order is the score's, apart from
what rules and diversity moved, and both are reported.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np

from artifacts.compiled import INTS, ROWS, TABLE, compiled
from gateway.fusion.fuse import convex_parts
from gateway.fusion.reason import Reason, reason_text, reasons
from gateway.fusion.types import NORMAL, Floats, Ints, Pool, Query, Rows

__all__ = ["Contribution", "Explanation", "Reason", "explain", "ranks", "reason_text"]

_T = TypeVar("_T")


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
    moved = _moved(pool)[positions].tolist()
    parts, rest = _parts(query, pool, positions)
    return [
        Explanation(
            row=row,
            score=score,
            contributions=contributions,
            adjustments=adjustments,
            rules=_rules(pool, at, places),
            reason=reason,
            moved=places,
        )
        for at, row, score, contributions, adjustments, reason, places in zip(
            positions.tolist(),
            pool.rows[positions].tolist(),
            pool.total[positions].tolist(),
            _contributions(query, pool, positions, parts),
            _adjustments(pool, positions, rest),
            reasons(query, pool, positions),
            moved,
            strict=True,
        )
    ]


@compiled(TABLE, INTS, ROWS)
def ranks(scores: Floats, keys: Ints, positions: Rows) -> Rows:
    """Return the rank of some candidates [N] within each source [S, P], 0 where absent [S, N].

    1 is the first. Equal scores rank by key [P], as the learned ranker reads them.
    """
    found = np.zeros((len(scores), len(positions)), np.int32)
    for s in range(len(scores)):
        for n in range(len(positions)):
            at = positions[n]
            mine = scores[s, at]
            if np.isnan(mine):
                continue
            found[s, n] = 1
            for p in range(scores.shape[1]):  # NaN is neither more nor equal
                other = scores[s, p]
                found[s, n] += other > mine or (other == mine and keys[p] < keys[at])
    return found


def _parts(query: Query, pool: Pool, positions: Rows) -> tuple[Floats, Floats]:
    """Return each source's part of the term "fused" [S, N], and what is left of it [N]."""
    if pool.learned and query.ranker is not None:
        return query.ranker.parts(query, pool, positions)
    return convex_parts(pool, positions), np.zeros(len(positions), np.float32)


def _contributions(
    query: Query, pool: Pool, positions: Rows, parts: Floats
) -> list[tuple[Contribution, ...]]:
    """Return what each source contributed to each candidate; `parts` [S, N]."""
    added = np.maximum(parts, 0)
    whole = added.sum(axis=0)
    share = np.divide(added, whole, out=np.zeros_like(added), where=whole > 0)
    keys = query.columns.keys[pool.rows]
    rank = ranks(np.ascontiguousarray(pool.scores), keys, positions.astype(np.int32))
    weight = [0.0] * len(query.sources) if pool.learned else pool.weights.tolist()
    scores = pool.scores[:, positions]
    calibrated = np.nan_to_num(pool.calibrated[:, positions])
    columns = [
        # By plain numbers: what numpy takes for one is twenty times what Python does.
        map(
            Contribution,
            repeat(source),
            [None if score != score else score for score in scores[s].tolist()],  # noqa: PLR0124 -- NaN
            rank[s].tolist(),
            calibrated[s].tolist(),
            repeat(weight[s]),
            share[s].tolist(),
            parts[s].tolist(),
        )
        for s, source in enumerate(query.sources)
    ]
    return _by_candidate(columns, len(positions))


def _adjustments(pool: Pool, positions: Rows, rest: Floats) -> list[tuple[tuple[str, float], ...]]:
    """Return every term but "fused" of each candidate, with its name; `rest` [N]."""
    named = {name: term[positions] for name, term in pool.terms.items() if name != "fused"}
    if pool.learned:
        named = {"habits": rest, **named}
    columns = [zip(repeat(name), term.tolist()) for name, term in named.items()]
    return _by_candidate(columns, len(positions))


def _by_candidate(columns: Sequence[Iterable[_T]], size: int) -> list[tuple[_T, ...]]:
    """Turn columns of `size` into rows; also none of them."""
    return list(zip(*columns, strict=True)) if columns else [()] * size


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
