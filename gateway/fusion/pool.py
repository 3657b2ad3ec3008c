"""Building the pool: the union of what the sources answered, as one table.

Candidates become columns, sources rows; NaN says "this source did not name
this candidate". Everything after this works on whole arrays.
"""

from collections.abc import Mapping

import numpy as np

from gateway.fusion.fallback import popular_rows
from gateway.fusion.hard_rules import allowed
from gateway.fusion.types import BY_SCORE, NORMAL, Bools, Floats, Ints, Pool, Query, Rows

Candidates = Mapping[str, tuple[Rows, Floats]]
_EMPTY = np.zeros(0, np.int32)


def build_pool(query: Query, candidates: Candidates, extra: Rows = _EMPTY) -> Pool:
    """Unite the sources' candidates, rows ascending and unique.

    `candidates` maps a source to its catalogue rows int32 [k] and scores float32
    [k]; a source that is not in it did not answer. Rows outside the catalogue
    (-1: not known here) are skipped; of duplicates within a source the best score
    counts. `extra` rows join without a score: the caller's own on RANK, or
    anything the gateway wants considered. Pinned rows join too, and popular ones
    where too few are left that the rules allow; on RANK nothing is added, and a
    search that finds nothing stays empty.
    """
    named = [s for s in query.sources if s in candidates]
    lists = [np.asarray(candidates[s][0], np.int32) for s in named]
    added = [np.asarray(extra, np.int32)]
    if query.surface != "RANK":
        added.append(query.rules.pin)
    rows, where, first = _union(query, [*lists, *added])
    if _short(query, rows, answered=bool(named)):
        rows, where, first = _union(query, [*lists, *added, popular_rows(query)])
    scores = np.full((len(query.sources), len(rows)), np.nan, np.float32)
    if named:
        values = np.concatenate([np.asarray(candidates[s][1], np.float32) for s in named])
        numbers = [query.sources.index(s) for s in named]
        source = np.repeat(np.array(numbers, np.intp), [len(listed) for listed in lists])
        _fill(scores, source, where[: len(values)] - first, values)
    return _fresh(rows, scores)


def _fill(scores: Floats, source: Ints, at: Ints, values: Floats) -> None:
    """Write values [N] to their sources' rows of the table [S, P], the best of duplicates."""
    inside = (at >= 0) & (at < scores.shape[1])
    if not inside.all():
        source, at, values = source[inside], at[inside], values[inside]
    flat, cells = scores.reshape(-1), source * scores.shape[1] + at
    flat[cells] = values
    # Where another value stands now, something was named twice. fmax keeps the number
    # where the other is NaN.
    lost = (flat[cells] != values) & ~np.isnan(values)
    if lost.any():
        np.fmax.at(flat, cells, values)


def _union(query: Query, lists: list[Rows]) -> tuple[Rows, Ints, int]:
    """Return the distinct rows of the catalogue, where each entry went, and how many lie before.

    Entry i of the lists, end to end, is rows[where[i] - before] if that is inside.
    """
    distinct, where = np.unique(np.concatenate(lists), return_inverse=True)
    before, end = np.searchsorted(distinct, (0, len(query.columns.keys)))
    return distinct[before:end], where, int(before)


def _short(query: Query, rows: Rows, *, answered: bool) -> bool:
    """Say whether there are fewer than `limit` items that the rules allow, where that matters."""
    if query.surface == "RANK" or (query.surface == "SEARCH" and answered):
        return False
    return len(rows) < query.limit or int(allowed(query, rows).sum()) < query.limit


def _fresh(rows: Rows, scores: Floats) -> Pool:
    sources, size = scores.shape
    return Pool(
        rows=rows,
        scores=scores,
        calibrated=np.full_like(scores, np.nan),
        weights=np.zeros(sources, np.float32),
        dropped=np.zeros(size, np.uint8),
        tier=np.full(size, NORMAL, np.int8),
        place=np.full(size, BY_SCORE, np.int32),
    )


def with_term(pool: Pool, name: str, values: Floats) -> Pool:
    """Add a named term of the final score, float32 [P]; what is not finite counts as 0."""
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.float32(0))
    return pool._replace(terms={**pool.terms, name: values.astype(np.float32, copy=False)})


def drop(pool: Pool, out: Bools, reason: str) -> Pool:
    """Take the candidates `out` [P] off the slate, for `reason`; the first reason stays."""
    out = out & (pool.dropped == 0)
    if not out.any():
        return pool
    reasons = pool.reasons if reason in pool.reasons else (*pool.reasons, reason)
    dropped = np.where(out, np.uint8(reasons.index(reason)), pool.dropped)
    return pool._replace(dropped=dropped, reasons=reasons)


def fire(pool: Pool, label: str, which: Bools) -> Pool:
    """Note that a rule fired on the candidates `which` [P]."""
    return pool._replace(fired={**pool.fired, label: which}) if which.any() else pool
