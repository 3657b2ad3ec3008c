"""What must not be shown must not cost the ranking candidates.

A source does not know what must not be shown: of a faithful shopper's best 200 the most
were bought before, a shop's season ends without its models hearing of it, and of a page
of one department all others are left out. So it is asked for as many more as may be left
out, and of what it names the first count that may be shown, as in training
(models/evaluate/ranking.py).
"""

from math import ceil
from typing import NamedTuple

import numpy as np

from artifacts.among import among
from artifacts.compiled import BOOLS, FLOATS, INTS, NUMBER, compiled
from gateway.config import MOST_CANDIDATES
from gateway.fusion.hard_rules import filtered, has_filters
from gateway.fusion.types import Bools, Floats, Ints, Query, Rows
from gateway.types import Outcome, RuleSpec, SourceAnswer

# Less than this part of the shop out of sight costs a source less than asking it for more would.
_FEW = 0.05
# Rows that tell which part of a large shop filters let through.
_SAMPLE = 4_096
# How many are asked for to have one: few steps, so that no item more or less changes an order.
_STEPS = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)


class LeftOut(NamedTuple):
    """Items that a request leaves out whatever the sources think of them."""

    keys: Ints  # ascending
    more: int  # how many of them sources may name
    times: float  # how many are named for one that is on sale and passes the filters
    available: Bools  # by catalogue row [n]
    sold_out_too: bool  # whether the request wants what is sold out as well
    query: Query | None  # whose filters put out what they do; None: it has none

    def asked(self, k: int) -> int:
        """Return how many to ask for where `k` are wanted."""
        most = ceil(min(k * self.times, MOST_CANDIDATES))
        return max(k, min(most + self.more, MOST_CANDIDATES))

    def cut(self, answer: SourceAnswer, k: int, rows: Rows) -> SourceAnswer:
        """Return the answer's first `k` items that may be shown; `rows`: the catalogue's.

        What is left out of its first `k` stays, without a score: it can be told why, and
        neither ranks among the others nor sets a scale for them.
        """
        keys, scores = _first(answer.keys, answer.scores, self.keys, self._out(rows), k)
        return answer._replace(keys=keys, scores=scores)

    def cuts(self, answer: SourceAnswer) -> bool:
        """Say whether there is anything to cut of an answer."""
        return self.matters and answer.outcome is Outcome.OK

    @property
    def matters(self) -> bool:
        """Whether so much is left out that answers are cut by it."""
        return bool(self.more or self.times > 1)

    def hides(self, keys: Ints, rows: Rows) -> Bools:
        """Say which items, at these `rows` of the catalogue, are left out [len(keys)]."""
        return self._out(rows) | among(keys, self.keys)

    def _out(self, rows: Rows) -> Bools:
        """Say which rows are unknown, sold out or put out by a filter [len(rows)]."""
        out = rows < 0
        # The catalogue has others by now than it had when `available` was made.
        inside = ~out & (rows < len(self.available))
        if self.query is not None:
            out[inside] = filtered(self.query, rows[inside])
        if not self.sold_out_too:
            out[inside] |= ~self.available[rows[inside]]
        return out


_NO_KEYS, _NO_ROWS = np.zeros(0, np.int64), np.zeros(0, np.bool_)
NOTHING = LeftOut(_NO_KEYS, 0, 1.0, _NO_ROWS, sold_out_too=True, query=None)


def left_out(query: Query, spec: RuleSpec, sold_out: float) -> LeftOut:
    """Return what is left out by the rules `spec`, of which `query` has the rows.

    `sold_out`: the part of what models name that is not on sale.
    """
    if query.surface == "RANK":  # the caller's own candidates: there are no more
        return NOTHING
    bought, excluded = query.rules.purchased, query.rules.exclude
    # Everything that was ever deleted may be among the excluded.
    more = len(bought) + min(len(spec.exclude), len(excluded))
    # What a query finds further down matches it less and less: better a short page of it.
    filters = has_filters(query) and query.surface != "SEARCH"
    part = 0.0 if spec.include_unavailable else sold_out
    if filters:
        part = max(part, _put_out(query))
    times = _times(part)
    if not more and times <= 1:
        return NOTHING
    return LeftOut(
        np.sort(query.columns.keys[np.concatenate([bought, excluded])]),
        more,
        times,
        query.columns.available,
        spec.include_unavailable,
        query if filters else None,
    )


def _times(part: float) -> float:
    """Return how many must be named to have one, where a part of the shop is left out."""
    if part < _FEW:
        return 1.0
    wanted = 1 / max(1 - part, 1e-3)
    return next((step for step in _STEPS if step >= wanted), float(MOST_CANDIDATES))


def _put_out(query: Query) -> float:
    """Return which part of the shop is sold out or put out by the filters of a request."""
    size = len(query.columns.keys)
    rows = np.arange(0, size, max(size // _SAMPLE, 1), dtype=np.int32)
    out = filtered(query, rows)
    if not query.rules.include_unavailable:
        out |= ~query.columns.available[rows]
    return float(out.mean()) if size else 0.0


@compiled(INTS, FLOATS, INTS, BOOLS, NUMBER)
def _first(keys: Ints, scores: Floats, out: Ints, put_out: Bools, k: int) -> tuple[Ints, Floats]:
    """Keep the first `k` that may be shown, and those before place `k` that may not, scores NaN."""
    found, given = np.empty(len(keys), np.int64), np.empty(len(keys), np.float32)
    count, shown = 0, 0
    for i in range(len(keys)):
        if shown == k:
            break
        hidden = put_out[i]
        if not hidden and len(out):
            at = np.searchsorted(out, keys[i])
            hidden = at < len(out) and out[at] == keys[i]
        if not keys[i] or (hidden and i >= k):
            continue
        found[count], given[count] = keys[i], np.float32(np.nan) if hidden else scores[i]
        count, shown = count + 1, shown + (not hidden)
    return found[:count].copy(), given[:count].copy()
