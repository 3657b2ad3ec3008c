"""What the sources' answers say of each candidate: compiled loops (artifacts/compiled.py).

Each fills rows of a table with a column for each candidate. S sources, A answered, P
candidates.
"""

import numpy as np

from artifacts.compiled import FLOATS, INTS, NUMBER, TABLE, WRITTEN_TABLE, compiled
from artifacts.formulas import Floats
from artifacts.keys import Keys

# Rows of a source, one source's after the other.
OF_SOURCE = ("score", "rank", "named", "lead")
WIDTH = len(OF_SOURCE)
# A lead beyond it says no more.
_MOST = 8.0


@compiled(FLOATS, INTS)
def best_first(scores: Floats, keys: Keys) -> Keys:
    """Return the places of scores [m], greatest first, of equals the smaller key.

    `keys` [m]; empty: they ascend already.
    """
    order = np.argsort(-scores, kind="mergesort")
    if not len(keys):
        return order
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and scores[order[end]] == scores[order[start]]:
            continue
        if end - start > 1:
            equals = order[start:end].copy()
            order[start:end] = equals[np.argsort(keys[equals])]
        start = end
    return order


@compiled(TABLE, TABLE, INTS, WRITTEN_TABLE)
def sources(scores: Floats, calibrated: Floats, keys: Keys, out: Floats) -> int:
    """Fill OF_SOURCE, source by source [4 S, A]; return how many sources answered.

    The lead is the score's distance from the mean of the answer, in its deviations. Of
    equal scores the smaller of `keys` [A] ranks first; empty: they ascend.
    """
    answering = 0
    for source in range(len(scores)):
        at = np.flatnonzero(~np.isnan(scores[source]))
        if not len(at):
            continue
        answering += 1
        given = scores[source][at].astype(np.float64)
        mean = given.mean()
        spread = np.sqrt(((given - mean) ** 2).mean())
        order = best_first(scores[source][at], keys[at] if len(keys) else keys)
        for place in range(len(at)):
            p = at[order[place]]
            out[WIDTH * source, p] = calibrated[source, p]
            # 1 for the first of an answer, a half for the eleventh.
            out[WIDTH * source + 1, p] = np.float32(10) / np.float32(10 + place)
            out[WIDTH * source + 2, p] = 1
            lead = (scores[source, p] - mean) / spread if spread > 0 else 0.0
            out[WIDTH * source + 3, p] = min(max(lead, -_MOST), _MOST)
    return answering


@compiled(WRITTEN_TABLE, NUMBER, NUMBER)
def together(table: Floats, count: int, answering: int) -> None:
    """Fill best, mean, named_by and answering from what `count` sources gave [4 S + 4 .., P]."""
    below, size = WIDTH * count, table.shape[1]
    asked = np.float32(max(answering, 1))
    for p in range(size):
        best, total, named = np.float32(0), np.float32(0), np.float32(0)
        for source in range(count):
            best = max(best, table[WIDTH * source, p])
            total += table[WIDTH * source, p]
            named += table[WIDTH * source + 2, p]
        table[below, p] = best
        table[below + 1, p] = total / asked
        table[below + 2, p] = named / asked
        table[below + 3, p] = answering


@compiled(INTS, TABLE, FLOATS, INTS)
def looked_up(have: Keys, table: Floats, usual: Floats, keys: Keys) -> Floats:
    """Return the row of each key in a table by ascending keys; `usual` where it has none."""
    found = np.empty((len(keys), len(usual)), np.float32)
    for i in range(len(keys)):
        at = np.searchsorted(have, keys[i])
        found[i] = table[at] if at < len(have) and have[at] == keys[i] else usual
    return found
