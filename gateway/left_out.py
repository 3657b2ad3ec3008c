"""What must not be shown must not cost the ranking candidates.

A source does not know what must not be shown: of a faithful shopper's best 200 the most
were bought before, and a shop's season ends without its models hearing of it. So it is
asked for as many more as may be left out, and of what it names the first count that may
be shown, as in training (models/evaluate/ranking.py).
"""

from math import ceil
from typing import NamedTuple

import numpy as np

from artifacts.compiled import BOOLS, FLAG, FLOATS, INTS, NUMBER, ROWS, compiled
from gateway.config import MOST_CANDIDATES
from gateway.fusion.types import Bools, Floats, Ints, Query, Rows
from gateway.types import Outcome, RuleSpec, SourceAnswer

# Less than this part of the shop sold out costs a source less than asking it for more would.
_FEW = 0.05


class LeftOut(NamedTuple):
    """Items that a request leaves out whatever the sources think of them."""

    keys: Ints  # ascending
    more: int  # how many of them sources may name
    sold_out: float  # items that are not on sale for each that is; 0: few, or shown too
    available: Bools  # by catalogue row [n]
    sold_out_too: bool  # whether the request wants what is sold out as well

    def asked(self, k: int) -> int:
        """Return how many to ask for where `k` are wanted."""
        more = self.more + ceil(min(k * self.sold_out, MOST_CANDIDATES))
        return max(k, min(k + more, MOST_CANDIDATES))

    def cut(self, answer: SourceAnswer, k: int, rows: Rows) -> SourceAnswer:
        """Return the answer's first `k` items that may be shown; `rows`: the catalogue's.

        What is left out of its first `k` stays, without a score: it can be told why, and
        neither ranks among the others nor sets a scale for them.
        """
        keys, scores = _first(
            answer.keys, answer.scores, self.keys, k, rows, self.available, self.sold_out_too
        )
        return answer._replace(keys=keys, scores=scores)

    def cuts(self, answer: SourceAnswer) -> bool:
        """Say whether there is anything to cut of an answer."""
        return bool(self.more or self.sold_out) and answer.outcome is Outcome.OK


NOTHING = LeftOut(np.zeros(0, np.int64), 0, 0.0, np.zeros(0, np.bool_), sold_out_too=True)


def left_out(query: Query, spec: RuleSpec, sold_out: float) -> LeftOut:
    """Return what is left out by the rules `spec`, of which `query` has the rows.

    `sold_out`: the part of what models name that is not on sale.
    """
    bought, excluded = query.rules.purchased, query.rules.exclude
    # Everything that was ever deleted may be among the excluded.
    more = len(bought) + min(len(spec.exclude), len(excluded))
    if spec.include_unavailable or sold_out < _FEW:
        sold_out = 0.0
    if not more and not sold_out:
        return NOTHING
    return LeftOut(
        np.sort(query.columns.keys[np.concatenate([bought, excluded])]),
        more,
        sold_out / max(1 - sold_out, 1e-3),
        query.columns.available,
        spec.include_unavailable,
    )


@compiled(INTS, FLOATS, INTS, NUMBER, ROWS, BOOLS, FLAG)
def _first(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    keys: Ints, scores: Floats, out: Ints, k: int, rows: Rows, available: Bools,
    sold_out_too: bool,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Keep the first `k` that may be shown, and those before place `k` that may not, scores NaN.

    The catalogue has others by now than it had when `available` was made.
    """
    found, given = np.empty(len(keys), np.int64), np.empty(len(keys), np.float32)
    count, shown = 0, 0
    for i in range(len(keys)):
        if shown == k:
            break
        row = rows[i]
        hidden = row < 0 or (not sold_out_too and row < len(available) and not available[row])
        if not hidden and len(out):
            at = np.searchsorted(out, keys[i])
            hidden = at < len(out) and out[at] == keys[i]
        if not keys[i] or (hidden and i >= k):
            continue
        found[count], given[count] = keys[i], np.float32(np.nan) if hidden else scores[i]
        count, shown = count + 1, shown + (not hidden)
    return found[:count].copy(), given[:count].copy()
