"""What a shopper's rules leave out must not cost the ranking candidates.

A source does not know what must not be shown: of a faithful shopper's best 200 the most
were bought before. So it is asked for as many more as may be left out, and of what it
names the first count that may be shown, as in training (models/evaluate/ranking.py).
"""

from typing import NamedTuple

import numpy as np

from artifacts.compiled import FLOATS, INTS, NUMBER, compiled
from gateway.config import MOST_CANDIDATES
from gateway.fusion.types import Floats, Ints, Query
from gateway.types import Outcome, RuleSpec, SourceAnswer


class LeftOut(NamedTuple):
    """Items that a request leaves out whatever the sources think of them."""

    keys: Ints  # ascending
    more: int  # how many of them sources may name

    def asked(self, k: int) -> int:
        """Return how many to ask for where `k` are wanted."""
        return max(k, min(k + self.more, MOST_CANDIDATES))

    def cut(self, answer: SourceAnswer, k: int) -> SourceAnswer:
        """Return the answer's first `k` items that may be shown.

        What is left out of its first `k` stays, without a score: it can be told why, and
        neither ranks among the others nor sets a scale for them.
        """
        if not self.more or answer.outcome is not Outcome.OK:
            return answer
        keys, scores = _first(answer.keys, answer.scores, self.keys, k)
        return answer._replace(keys=keys, scores=scores)


NOTHING = LeftOut(np.zeros(0, np.int64), 0)


def left_out(query: Query, spec: RuleSpec) -> LeftOut:
    """Return what is left out by the rules `spec`, of which `query` has the rows."""
    bought, excluded = query.rules.purchased, query.rules.exclude
    # Everything that was ever deleted may be among the excluded.
    more = len(bought) + min(len(spec.exclude), len(excluded))
    if not more:
        return NOTHING
    return LeftOut(np.sort(query.columns.keys[np.concatenate([bought, excluded])]), more)


@compiled(INTS, FLOATS, INTS, NUMBER)
def _first(keys: Ints, scores: Floats, out: Ints, k: int) -> tuple[Ints, Floats]:
    """Keep the first `k` that are not `out`, and those `out` before place `k`, scores NaN."""
    found, given = np.empty(len(keys), np.int64), np.empty(len(keys), np.float32)
    count, shown = 0, 0
    for i in range(len(keys)):
        if shown == k:
            break
        at = np.searchsorted(out, keys[i])
        hidden = at < len(out) and out[at] == keys[i]
        if not keys[i] or (hidden and i >= k):
            continue
        found[count], given[count] = keys[i], np.float32(np.nan) if hidden else scores[i]
        count, shown = count + 1, shown + (not hidden)
    return found[:count].copy(), given[:count].copy()
