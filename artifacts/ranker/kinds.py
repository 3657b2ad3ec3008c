"""What a shopper does in a candidate's category, brand, domain: compiled loops.

Each fills rows of a table with a column for each candidate, from what is gathered of the
items that were had (own.py). `column` has the kind of every catalogue row, -1 where it is
unknown; candidates are `rows` of the catalogue [P], items that were had `items` [D].
"""

import numpy as np

from artifacts.compiled import (
    DOUBLES,
    FLOATS,
    INTS,
    NUMBER,
    REAL,
    ROWS,
    WRITTEN,
    WRITTEN_TABLE,
    compiled,
)
from artifacts.formulas import Floats, Rows
from artifacts.ranker.own import (
    COUNT,
    LEAST_DAYS,
    MOST,
    NEVER,
    SINCE,
    SUMS,
    Doubles,
    Ints,
    numbered,
    numbers,
)

# Part of a shopper's past that every category has besides.
_OF_NOBODY = 1e-3


@compiled(ROWS, INTS)
def count(column: Rows, items: Ints) -> int:
    """Return a number above all kinds that were had."""
    most = 0
    for d in range(len(items)):
        most = max(most, column[items[d]] + 1)
    return most


@compiled(ROWS, INTS, INTS, DOUBLES, DOUBLES, WRITTEN_TABLE)
def shares(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    column: Rows, rows: Ints, items: Ints, own: Doubles, weights: Doubles, out: Floats
) -> None:
    """Fill the part of the past that each candidate's kind has, at the slowest speeds [S, P].

    `weights` are those of all speeds, their sums last. Unknown kinds have no part.
    """
    kinds, first = count(column, items), len(weights) - len(out)
    for speed in range(len(out)):
        sums, whole = np.zeros(kinds), weights[first + speed, -1]
        for d in range(len(items)):
            if column[items[d]] >= 0:
                sums[column[items[d]]] += own[SUMS + first + speed, d]
        for p in range(len(rows)):
            kind = column[rows[p]]
            out[speed, p] = sums[kind] / whole if 0 <= kind < kinds else 0


@compiled(ROWS, INTS, INTS, DOUBLES, REAL, WRITTEN_TABLE)
def recency(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    column: Rows, rows: Ints, items: Ints, own: Doubles, oldest: float, out: Floats
) -> None:
    """Fill when and how regularly the shopper had something of each kind: log days, due [2, P].

    What has no kind is one of its own. `oldest`: age of the first event in days.
    """
    kinds = count(column, items)
    last, had = np.full(kinds + 1, NEVER), np.zeros(kinds + 1)
    for d in range(len(items)):
        kind = column[items[d]] + 1
        last[kind] = min(last[kind], own[SINCE, d]) if had[kind] else own[SINCE, d]
        had[kind] += own[COUNT, d]
    span = max(oldest, LEAST_DAYS) + 1
    for p in range(len(rows)):
        kind = column[rows[p]] + 1
        since = last[kind] if kind <= kinds else NEVER
        often = had[kind] if kind <= kinds else 0.0
        out[0, p] = np.log(since)
        out[1, p] = min(since * often / span, MOST)


@compiled(ROWS, INTS, INTS, INTS, INTS, WRITTEN_TABLE)
def alternatives(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    column: Rows, rows: Ints, at: Ints, items: Ints, which: Ints, out: Floats
) -> None:
    """Fill what the shopper has of each candidate's kind [3, P].

    How often, and how often since the candidate itself (both as logs); different items in
    proportion to purchases. All 0 where there is nothing of the kind. `which` item each
    event is of, oldest first; `at`: the number of each candidate among them.
    """
    kinds = count(column, items)
    had, distinct, until = np.zeros(kinds), np.zeros(kinds), np.zeros(len(items))
    kind_of = np.empty(len(items), np.int64)
    for d in range(len(items)):
        kind_of[d] = column[items[d]]
        if kind_of[d] >= 0:
            distinct[kind_of[d]] += 1
    for i in range(len(which)):
        kind = kind_of[which[i]]
        if kind >= 0:
            had[kind] += 1
            until[which[i]] = had[kind]
    for p in range(len(rows)):
        kind = column[rows[p]]
        if 0 <= kind < kinds and had[kind]:
            out[0, p] = np.log1p(had[kind])
            out[1, p] = np.log1p(had[kind] - (until[at[p]] if at[p] >= 0 else 0))
            out[2, p] = distinct[kind] / had[kind]


@compiled(ROWS, FLOATS, INTS, INTS, DOUBLES, WRITTEN)
def prices(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    column: Rows, price: Floats, rows: Ints, items: Ints, own: Doubles, out: Floats
) -> None:
    """Fill the log price beside the mean of what is had of the same kind [P]; unknown is 0."""
    kinds = count(column, items)
    total, known = np.zeros(kinds), np.zeros(kinds)
    for d in range(len(items)):
        kind, paid = column[items[d]], price[items[d]]
        if kind >= 0 and not np.isnan(paid):
            total[kind] += own[COUNT, d] * np.log1p(paid)
            known[kind] += own[COUNT, d]
    for p in range(len(rows)):
        kind, asked = column[rows[p]], price[rows[p]]
        if 0 <= kind < kinds and known[kind] and not np.isnan(asked):
            out[p] = np.log1p(asked) - total[kind] / known[kind]


@compiled(ROWS, ROWS, INTS, NUMBER)
def _pairs(category: Rows, provider: Rows, rows: Ints, makers: int) -> Ints:
    """Return a number for the category and provider of each row; -1 where one is not had."""
    found = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        kind, maker = category[rows[i]], provider[rows[i]]
        found[i] = kind * makers + maker if kind >= 0 and 0 <= maker < makers else -1
    return found


@compiled(ROWS, ROWS, INTS, INTS, DOUBLES, REAL, WRITTEN)
def lines(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    category: Rows, provider: Rows, rows: Ints, items: Ints, own: Doubles, total: float,
    out: Floats,
) -> None:  # fmt: skip
    """Fill the part of what is had in each candidate's category that its provider makes [P].

    Weights are those of the slowest speed, their sum `total`, of which a thousandth is had
    in every category of nobody's: a part of little is little. What has no category or no
    provider has no part.
    """
    kinds, makers, slow = count(category, items), count(provider, items), len(own) - 1
    whole = np.zeros(kinds)
    wanted = _pairs(category, provider, rows, makers)
    which, pairs, table = numbered(wanted)
    theirs = numbers(pairs, table, _pairs(category, provider, items, makers))
    had = np.zeros(len(pairs))
    for d in range(len(items)):
        if category[items[d]] >= 0:
            whole[category[items[d]]] += own[slow, d]
        if theirs[d] >= 0:
            had[theirs[d]] += own[slow, d]
    for p in range(len(rows)):
        kind = category[rows[p]]
        if wanted[p] >= 0 and kind < kinds:
            out[p] = had[which[p]] / (whole[kind] + _OF_NOBODY * total)
