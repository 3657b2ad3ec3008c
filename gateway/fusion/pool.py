"""Building the pool: the union of what the sources answered, as one table.

Candidates become columns, sources rows; NaN says "this source did not name
this candidate". Everything after this works on whole arrays.
"""

import math
from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from artifacts.compiled import FLOATS, INTS, NUMBER, ROWS, compiled
from gateway.fusion.fallback import popular_rows, shelf_rows
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
    anything else to be considered. So do the query's own, leading, named and pinned ones,
    and popular ones where too few are left that the rules allow, or no source names anything
    and the ranker knows the shopper; on RANK nothing is added, and a search that finds
    nothing stays empty.
    """
    named = [s for s in query.sources if s in candidates]
    lists = [np.asarray(candidates[s][0], np.int32) for s in named]
    added = [np.asarray(extra, np.int32), query.own, query.leading, query.named]
    if query.surface != "RANK":
        added.append(query.rules.pin)
    if query.ranker is not None and not any(map(len, lists)) and query.ranker.alone(query):
        added.append(shelf_rows(query))
    values = [np.asarray(candidates[s][1], np.float32) for s in named]
    numbers = [query.sources.index(s) for s in named]
    rows, scores = _united(query, [*lists, *added], values, numbers)
    if _short(query, rows, answered=bool(named)):
        rows, scores = _united(query, [*lists, *added, popular_rows(query)], values, numbers)
    return _fresh(rows, scores)


def _united(
    query: Query, lists: list[Rows], values: list[Floats], numbers: list[int]
) -> tuple[Rows, Floats]:
    """Return the distinct rows of the catalogue [P] in the lists, and their scores [S, P].

    The first lists are those of the sources `numbers`, with `values`.
    """
    every = np.concatenate(lists)
    scored = np.concatenate(values) if values else np.zeros(0, np.float32)
    ends = np.array([*accumulate(map(len, values))], np.int64)
    # Rows with their places below them: numbers sort faster than places by them.
    ordered = _placed(every)
    ordered.sort()
    found: tuple[Rows, Floats] = _unite(
        ordered, scored, ends, np.array(numbers, np.int64),
        len(query.columns.keys), len(query.sources),
    )  # fmt: skip
    return found


@compiled(ROWS)
def _placed(every: Rows) -> Ints:
    placed = np.empty(len(every), np.int64)
    for i in range(len(every)):
        placed[i] = (np.int64(every[i]) << 32) | i
    return placed


@compiled(INTS, FLOATS, INTS, INTS, NUMBER, NUMBER)
def _unite(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    ordered: Ints, values: Floats, ends: Ints, numbers: Ints, size: int, sources: int
) -> tuple[Rows, Floats]:
    distinct = np.empty(len(ordered), np.int32)
    count, last = 0, -1
    for placed in ordered:
        row = placed >> 32
        if row > last and row < size:
            distinct[count] = row
            count, last = count + 1, row
    scores = np.full((sources, count), np.float32(np.nan), np.float32)
    at, last = -1, -1
    for placed in ordered:
        row, i = placed >> 32, placed & 0xFFFFFFFF
        if row < 0 or row >= size:
            continue
        if row > last:
            at, last = at + 1, row
        if i < len(values) and not np.isnan(values[i]):
            source = numbers[np.searchsorted(ends, i, side="right")]
            # Of duplicates the best counts.
            if not scores[source, at] >= values[i]:
                scores[source, at] = values[i]
    return distinct[:count].copy(), scores


def _short(query: Query, rows: Rows, *, answered: bool) -> bool:
    """Say whether there are fewer than `limit` items that the rules allow, where that matters."""
    if query.surface == "RANK" or (query.surface == "SEARCH" and answered):
        return False
    return len(rows) < query.limit or int(np.count_nonzero(allowed(query, rows))) < query.limit


def _fresh(rows: Rows, scores: Floats) -> Pool:
    sources, size = scores.shape
    return Pool(
        rows=rows,
        scores=scores,
        calibrated=scores,  # until they are
        weights=np.zeros(sources, np.float32),
        dropped=np.zeros(size, np.uint8),
        tier=np.full(size, NORMAL, np.int8),
        place=np.full(size, BY_SCORE, np.int32),
    )


def with_term(pool: Pool, name: str, values: Floats) -> Pool:
    """Add a named term of the final score, float32 [P]; what is not finite counts as 0."""
    # One number tells of them all: it is not finite where one is not (or all are huge).
    if not math.isfinite(np.vdot(values, values)):
        values = np.where(np.isfinite(values), values, np.float32(0))
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
