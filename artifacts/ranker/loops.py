"""The loops behind the ranker's features, compiled (artifacts/compiled.py).

Each fills rows of a table with a column for each candidate; what the rows are called, and
in which order they come, is features.py's business. P candidates, L events of the past.
"""

import numpy as np
import numpy.typing as npt

from artifacts.compiled import (
    DOUBLES,
    FLOATS,
    INTS,
    NUMBER,
    ROWS,
    TABLE,
    WRITTEN,
    WRITTEN_TABLE,
    compiled,
)
from artifacts.formulas import Floats, Rows
from artifacts.keys import Keys

Doubles = npt.NDArray[np.float64]

# A shopper's own interval between purchases counts as much as this many of the item's usual.
_USUAL_INTERVALS = 2.0
# Age in days of what never happened.
_NEVER = 400.0
# Events this close to the newest one belong to the same visit.
_VISIT_DAYS = 0.25
# Least age in days: an event a minute ago is not infinitely recent.
_LEAST_DAYS = 0.25
# Beyond it a ratio says no more.
_MOST = 8.0
# Part of a shopper's past that every category has besides.
_OF_NOBODY = 1e-3
# Days of a month: four weeks.
_MONTH = 28.0
# Visits after which a purchase counts half.
_HALF_VISITS = 5.0


@compiled(TABLE, TABLE, WRITTEN_TABLE)
def sources(scores: Floats, calibrated: Floats, out: Floats) -> int:
    """Fill score, rank, presence and lead, source by source [4 S, P]; return how many answered.

    The lead is the score's distance from the mean of the answer, in its deviations.
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
        best_first = np.argsort(-scores[source][at], kind="mergesort")
        for place in range(len(at)):
            p = at[best_first[place]]
            out[4 * source, p] = calibrated[source, p]
            # 1 for the first of an answer, a half for the eleventh.
            out[4 * source + 1, p] = np.float32(10) / np.float32(10 + place)
            out[4 * source + 2, p] = 1
            lead = (scores[source, p] - mean) / spread if spread > 0 else 0.0
            out[4 * source + 3, p] = min(max(lead, -_MOST), _MOST)
    return answering


@compiled(WRITTEN_TABLE, NUMBER, NUMBER)
def together(table: Floats, count: int, answering: int) -> None:
    """Fill best, mean, named_by and answering from what `count` sources gave [4 S + 4 .., P]."""
    below, size = 4 * count, table.shape[1]
    asked = np.float32(max(answering, 1))
    for p in range(size):
        best, total, named = np.float32(0), np.float32(0), np.float32(0)
        for source in range(count):
            best = max(best, table[4 * source, p])
            total += table[4 * source, p]
            named += table[4 * source + 2, p]
        table[below, p] = best
        table[below + 1, p] = total / asked
        table[below + 2, p] = named / asked
        table[below + 3, p] = answering


@compiled(FLOATS, FLOATS, FLOATS)
def faded(age: Floats, worth: Floats, half_lives: Floats) -> Doubles:
    """Return the weight of each event at each speed of forgetting, and the sums [H, L + 1]."""
    weights = np.zeros((len(half_lives), len(age) + 1))
    for speed in range(len(half_lives)):
        for i in range(len(age)):
            days = max(age[i], np.float32(_LEAST_DAYS))
            weights[speed, i] = worth[i] * np.exp2(-days / half_lives[speed])
            weights[speed, len(age)] += weights[speed, i]
        weights[speed, len(age)] += 1e-6
    return weights


@compiled(ROWS, TABLE, ROWS, FLOATS, FLOATS, DOUBLES, WRITTEN_TABLE)
def times(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    rows: Rows, habits: Floats, past: Rows, ages: Floats, worth: Floats, weights: Doubles,
    out: Floats,
) -> Doubles:  # fmt: skip
    """Fill how often and when the shopper had each item; return the last speed's sums [P].

    `rows` ascending and unique, `past` oldest first.
    """
    size, events, speeds = len(rows), len(past), len(weights)
    number, worths = np.zeros(size, np.int64), np.zeros(size)
    sums, recent = np.zeros((speeds, size)), np.zeros(size)
    since, first = np.full(size, _NEVER), np.full(size, _NEVER)
    squares, gap, month = np.zeros(size), np.full(size, -1.0), np.zeros(size)
    before, last = np.zeros(size, np.int64), np.zeros(size, np.int64)
    visits, visit = 0, 0
    for i in range(events):
        visits += not i or ages[i] - ages[i - 1] < -_VISIT_DAYS
    for i in range(events):
        visit += not i or ages[i] - ages[i - 1] < -_VISIT_DAYS
        p = np.searchsorted(rows, past[i])
        if p == size or rows[p] != past[i]:
            continue
        days = max(ages[i], np.float32(_LEAST_DAYS))
        if not number[p]:
            first[p], before[p] = days, visit - 1
        else:
            gap[p] = since[p] - days
            squares[p] += gap[p] ** 2
        month[p] += ages[i] < _MONTH
        recent[p] += worth[i] * np.exp2((visit - visits) / _HALF_VISITS)
        since[p], last[p] = days, visit
        number[p] += 1
        worths[p] += worth[i]
        for speed in range(speeds):
            sums[speed, p] += weights[speed, i]
    newest = max(ages[-1], np.float32(_LEAST_DAYS)) if events else _NEVER
    for p in range(size):
        had = number[p] > 0
        between = max(number[p] - 1, 0) + _USUAL_INTERVALS
        interval = (first[p] - since[p] + _USUAL_INTERVALS * np.exp(habits[p, 1])) / between
        out[0, p] = np.log1p(worths[p])
        for speed in range(speeds):
            out[1 + speed, p] = np.log1p(sums[speed, p])
        out[4, p] = sums[1, p] / weights[1, events]
        out[5, p] = sums[2, p] / weights[2, events]
        out[6, p], out[7, p] = np.log(since[p]), np.log(first[p])
        out[8, p] = np.log(interval) if had else 0
        out[9, p] = min(since[p] / interval, _MOST) if had else -1
        out[10, p] = np.log(max(number[p], 0.01) / (first[p] + 7))
        out[11, p] = number[p] / max(visits - before[p], 1)
        out[12, p] = had and since[p] < newest + _VISIT_DAYS
        out[13, p] = np.log1p(visits - last[p])
        out[14, p] = np.log1p(recent[p])
        gaps = max(number[p] - 1, 0)
        own = (first[p] - since[p]) / max(gaps, 1)
        variance = max(squares[p] - gaps * own * own, 0.0) + _USUAL_INTERVALS * interval * interval
        out[15, p] = np.sqrt(variance / between) / interval if had else 1
        out[16, p] = np.log1p(month[p])
        out[17, p] = np.log1p(gap[p]) if gaps else -1
    by_age: Doubles = sums[speeds - 1]
    return by_age


@compiled(ROWS, ROWS, ROWS, DOUBLES, WRITTEN_TABLE)
def shares(column: Rows, rows: Rows, past: Rows, weights: Doubles, out: Floats) -> None:
    """Fill the part of the past that each candidate's kind has, speed by speed [H, P].

    `column` by catalogue row; -1 is unknown and has no part.
    """
    events, most = len(past), -1
    for i in range(events):
        most = max(most, column[past[i]])
    for speed in range(len(out)):
        sums = np.zeros(most + 1)
        for i in range(events):
            if column[past[i]] >= 0:
                sums[column[past[i]]] += weights[speed, i]
        for p in range(len(rows)):
            kind = column[rows[p]]
            out[speed, p] = sums[kind] / weights[speed, events] if 0 <= kind <= most else 0


@compiled(ROWS, ROWS, ROWS, FLOATS, WRITTEN_TABLE)
def recency(column: Rows, rows: Rows, past: Rows, ages: Floats, out: Floats) -> None:
    """Fill when and how regularly the shopper had something of each kind: log days, due [2, P].

    What has no kind is one of its own.
    """
    events, most = len(past), -1
    for i in range(events):
        most = max(most, column[past[i]])
    last, count = np.full(most + 2, _NEVER), np.zeros(most + 2)
    for i in range(events):
        kind = column[past[i]] + 1
        last[kind] = max(ages[i], np.float32(_LEAST_DAYS))
        count[kind] += 1
    oldest = max(ages[0], np.float32(_LEAST_DAYS)) if events else _NEVER
    for p in range(len(rows)):
        kind = column[rows[p]] + 1
        since = last[kind] if kind < len(last) else _NEVER
        had = count[kind] if kind < len(last) else 0.0
        out[0, p] = np.log(since)
        out[1, p] = min(since * had / (oldest + 1), _MOST)


@compiled(ROWS, ROWS, ROWS, WRITTEN_TABLE)
def alternatives(column: Rows, rows: Rows, past: Rows, out: Floats) -> None:
    """Fill what the shopper has of each candidate's kind [3, P].

    How often, and how often since the candidate itself (both as logs); different items in
    proportion to purchases. All 0 where there is nothing of the kind. `rows` ascending and
    unique, `past` oldest first.
    """
    events, size, most = len(past), len(rows), -1
    for i in range(events):
        most = max(most, column[past[i]])
    count, distinct, until = np.zeros(most + 1), np.zeros(most + 1), np.zeros(size)
    for i in range(events):
        kind = column[past[i]]
        if kind >= 0:
            count[kind] += 1
            p = np.searchsorted(rows, past[i])
            if p < size and rows[p] == past[i]:
                until[p] = count[kind]
    ordered = np.sort(past)
    for i in range(events):
        kind = column[ordered[i]]
        if kind >= 0 and (not i or ordered[i] != ordered[i - 1]):
            distinct[kind] += 1
    for p in range(size):
        kind = column[rows[p]]
        if 0 <= kind <= most and count[kind]:
            out[0, p] = np.log1p(count[kind])
            out[1, p] = np.log1p(count[kind] - until[p])
            out[2, p] = distinct[kind] / count[kind]


@compiled(ROWS, FLOATS, ROWS, ROWS, WRITTEN)
def price_in_kind(column: Rows, price: Floats, rows: Rows, past: Rows, out: Floats) -> None:
    """Fill the log price beside the mean of what is had of the same kind [P]; unknown is 0."""
    most = -1
    for i in range(len(past)):
        most = max(most, column[past[i]])
    total, known = np.zeros(most + 1), np.zeros(most + 1)
    for i in range(len(past)):
        kind, paid = column[past[i]], price[past[i]]
        if kind >= 0 and not np.isnan(paid):
            total[kind] += np.log1p(paid)
            known[kind] += 1
    for p in range(len(rows)):
        kind, asked = column[rows[p]], price[rows[p]]
        if 0 <= kind <= most and known[kind] and not np.isnan(asked):
            out[p] = np.log1p(asked) - total[kind] / known[kind]


@compiled(ROWS, ROWS, ROWS, ROWS, DOUBLES, WRITTEN)
def lines(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    category: Rows, provider: Rows, rows: Rows, past: Rows, weights: Doubles, out: Floats
) -> None:
    """Fill the part of what is had in each candidate's category that its provider makes [P].

    `weights` are those of one speed, with their sum [1, L + 1], of which a thousandth is
    had in every category of nobody's: a part of little is little. What has no category or
    no provider has no part.
    """
    events, makers, kinds = len(past), 0, 0
    for i in range(events):
        makers = max(makers, provider[past[i]] + 1)
        kinds = max(kinds, category[past[i]] + 1)
    pairs, whole = np.full(events, -1), np.zeros(kinds)
    for i in range(events):
        kind, maker = category[past[i]], provider[past[i]]
        if kind >= 0:
            whole[kind] += weights[0, i]
            pairs[i] = kind * makers + maker if maker >= 0 else -1
    order = np.argsort(pairs)
    ordered, until = pairs[order], np.zeros(events + 1)
    for i in range(events):
        until[i + 1] = until[i] + weights[0, order[i]]
    for p in range(len(rows)):
        kind, maker = category[rows[p]], provider[rows[p]]
        if 0 <= kind < kinds and 0 <= maker < makers:
            pair = kind * makers + maker
            first = np.searchsorted(ordered, pair)
            last = np.searchsorted(ordered, pair, side="right")
            had = until[last] - until[first]
            out[p] = had / (whole[kind] + _OF_NOBODY * weights[0, events])


@compiled(FLOATS, ROWS, ROWS, WRITTEN_TABLE)
def prices(price: Floats, rows: Rows, past: Rows, out: Floats) -> None:
    """Fill log price, and the same beside the mean of the past's [2, P]; unknown is 0."""
    total, known = 0.0, 0
    for i in range(len(past)):
        paid = price[past[i]]
        if not np.isnan(paid):
            total += np.log1p(paid)
            known += 1
    for p in range(len(rows)):
        asked = price[rows[p]]
        if np.isnan(asked):
            continue
        out[0, p] = np.log1p(asked)
        if known:
            out[1, p] = np.log1p(asked) - total / known


@compiled(ROWS, FLOATS, WRITTEN_TABLE)
def shopper(past: Rows, ages: Floats, out: Floats) -> None:
    """Fill events, visits a week, pause, share of repeats and basket, alike for all [5, P]."""
    events = len(past)
    if not events:
        out[2] = np.log(_NEVER)
        return
    visits, distinct = 1, 1
    ordered = np.sort(past)
    for i in range(1, events):
        visits += ages[i] - ages[i - 1] < -_VISIT_DAYS
        distinct += ordered[i] != ordered[i - 1]
    oldest = max(ages[0], np.float32(_LEAST_DAYS))
    newest = max(ages[-1], np.float32(_LEAST_DAYS))
    out[0] = np.log1p(events)
    out[1] = np.log1p(7 * visits / (oldest + 7))
    out[2] = np.log(newest)
    out[3] = 1 - distinct / events
    out[4] = np.log(events / visits)


@compiled(INTS, TABLE, FLOATS, INTS)
def looked_up(have: Keys, table: Floats, usual: Floats, keys: Keys) -> Floats:
    """Return the row of each key in a table by ascending keys; `usual` where it has none."""
    found = np.empty((len(keys), len(usual)), np.float32)
    for i in range(len(keys)):
        at = np.searchsorted(have, keys[i])
        found[i] = table[at] if at < len(have) and have[at] == keys[i] else usual
    return found
