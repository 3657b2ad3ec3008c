"""The loops behind the ranker's features, compiled (artifacts/compiled.py).

Each fills rows of a table with a column for each candidate; what the rows are called, and
in which order they come, is features.py's business. P candidates, L events of the past.
"""

import numpy as np
import numpy.typing as npt

from artifacts.compiled import DOUBLES, FLOATS, INTS, NUMBER, ROWS, TABLE, WRITTEN_TABLE, compiled
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


@compiled(TABLE, TABLE, WRITTEN_TABLE)
def sources(scores: Floats, calibrated: Floats, out: Floats) -> int:
    """Fill score, rank and presence, source by source [3 S, P]; return how many answered."""
    answering = 0
    for source in range(len(scores)):
        at = np.flatnonzero(~np.isnan(scores[source]))
        if not len(at):
            continue
        answering += 1
        best_first = np.argsort(-scores[source][at], kind="mergesort")
        for place in range(len(at)):
            p = at[best_first[place]]
            out[3 * source, p] = calibrated[source, p]
            # 1 for the first of an answer, a half for the eleventh.
            out[3 * source + 1, p] = np.float32(10) / np.float32(10 + place)
            out[3 * source + 2, p] = 1
    return answering


@compiled(WRITTEN_TABLE, NUMBER, NUMBER)
def together(table: Floats, count: int, answering: int) -> None:
    """Fill best, mean, named_by and answering from what `count` sources gave [3 S + 4 .., P]."""
    below, size = 3 * count, table.shape[1]
    asked = np.float32(max(answering, 1))
    for p in range(size):
        best, total, named = np.float32(0), np.float32(0), np.float32(0)
        for source in range(count):
            best = max(best, table[3 * source, p])
            total += table[3 * source, p]
            named += table[3 * source + 2, p]
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
    sums = np.zeros((speeds, size))
    since, first = np.full(size, _NEVER), np.full(size, _NEVER)
    before = np.zeros(size, np.int64)
    visits = 1 if events else 0
    for i in range(events):
        if i and ages[i] - ages[i - 1] < -_VISIT_DAYS:
            visits += 1
        p = np.searchsorted(rows, past[i])
        if p == size or rows[p] != past[i]:
            continue
        days = max(ages[i], np.float32(_LEAST_DAYS))
        if not number[p]:
            first[p], before[p] = days, visits - 1
        since[p] = days
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
    """Fill events, visits a week, pause and share of repeats, alike for all [4, P]."""
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


@compiled(INTS, TABLE, FLOATS, INTS)
def looked_up(have: Keys, table: Floats, usual: Floats, keys: Keys) -> Floats:
    """Return the row of each key in a table by ascending keys; `usual` where it has none."""
    found = np.empty((len(keys), len(usual)), np.float32)
    for i in range(len(keys)):
        at = np.searchsorted(have, keys[i])
        found[i] = table[at] if at < len(have) and have[at] == keys[i] else usual
    return found
