"""A shopper's past, item by item: compiled loops (artifacts/compiled.py).

The one idea: events are gathered by item once, into a table with a column for each item
that was had, and everything else (candidates here, their categories and brands in
kinds.py) reads that. L events, D different items among them, P candidates, H speeds.
"""

import numpy as np
import numpy.typing as npt

from artifacts.compiled import (
    DOUBLES,
    FLOATS,
    INTS,
    NUMBER,
    TABLE,
    WRITTEN_TABLE,
    compiled,
)
from artifacts.formulas import Floats

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Rows of what is gathered of an item; SUMS is the first of one a speed.
COUNT, SINCE, _FIRST, _WORTH, _SQUARES, _GAP, _MONTHS, _RECENT, _BEFORE, _LAST, SUMS = range(11)
# Age in days of what never happened, and least age: an event a minute ago is not
# infinitely recent.
NEVER = 400.0
LEAST_DAYS = 0.25
# Beyond it a ratio says no more.
MOST = 8.0
# A shopper's own interval between purchases counts as much as this many of the item's usual.
_USUAL_INTERVALS = 2.0
# Events this close to the newest one belong to the same visit.
_VISIT_DAYS = 0.25
# Days of a month: four weeks.
_MONTH = 28.0
# Visits after which a purchase counts half.
_HALF_VISITS = 5.0
# Spreads keys over a table of a power of two (Knuth's multiplicative hashing).
_SPREAD = 0x9E3779B97F4A7C1
_SHIFT = 24


@compiled(INTS, INTS, NUMBER)
def _slot(table: Ints, items: Ints, key: int) -> int:
    """Return where a key stands in a table of item numbers, or where it would."""
    mask = len(table) - 1
    slot = ((key * _SPREAD) >> _SHIFT) & mask
    while table[slot] >= 0 and items[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@compiled(INTS)
def numbered(keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Return which number each key has [L], the keys by number [D], and a table to find them by.

    Numbers are given in the order in which keys first appear. Sorting a thousand takes
    five times as long.
    """
    size = 16
    while size < 2 * len(keys):
        size *= 2
    table = np.full(size, -1, np.int64)
    which, items, count = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64), 0
    for i in range(len(keys)):
        slot = _slot(table, items, keys[i])
        if table[slot] < 0:
            table[slot], items[count] = count, keys[i]
            count += 1
        which[i] = table[slot]
    return which, items[:count].copy(), table


@compiled(INTS, INTS, INTS)
def numbers(items: Ints, table: Ints, keys: Ints) -> Ints:
    """Return the number of each key among those `numbered`, -1 for none [P]."""
    found = np.empty(len(keys), np.int64)
    for i in range(len(keys)):
        found[i] = table[_slot(table, items, keys[i])]
    return found


@compiled(FLOATS, FLOATS, FLOATS)
def faded(age: Floats, worth: Floats, half_lives: Floats) -> Doubles:
    """Return the weight of each event at each speed of forgetting, and the sums [H, L + 1]."""
    weights = np.zeros((len(half_lives), len(age) + 1))
    for speed in range(len(half_lives)):
        left = 0.0
        for i in range(len(age)):
            # What was bought together is as old.
            if not i or age[i] != age[i - 1]:
                left = np.exp2(-max(age[i], np.float32(LEAST_DAYS)) / half_lives[speed])
            weights[speed, i] = worth[i] * left
            weights[speed, len(age)] += weights[speed, i]
        weights[speed, len(age)] += 1e-6
    return weights


@compiled(FLOATS)
def _visits(ages: Floats) -> int:
    visits = 0
    for i in range(len(ages)):
        visits += not i or ages[i] - ages[i - 1] < -_VISIT_DAYS
    return visits


@compiled(INTS, NUMBER, FLOATS, FLOATS, DOUBLES)
def gathered(which: Ints, items: int, ages: Floats, worth: Floats, weights: Doubles) -> Doubles:
    """Return what is known of each item that was had, a row each as named above [.., D].

    Events come oldest first; their `weights` are those of `faded`.
    """
    own = np.zeros((SUMS + len(weights), items))
    own[_GAP] = -1
    visits, visit, fresh = _visits(ages), 0, 0.0
    for i in range(len(which)):
        if not i or ages[i] - ages[i - 1] < -_VISIT_DAYS:
            visit += 1
            fresh = np.exp2((visit - visits) / _HALF_VISITS)
        d, days = which[i], max(ages[i], np.float32(LEAST_DAYS))
        if not own[COUNT, d]:
            own[_FIRST, d], own[_BEFORE, d] = days, visit - 1
        else:
            own[_GAP, d] = own[SINCE, d] - days
            own[_SQUARES, d] += own[_GAP, d] ** 2
        own[COUNT, d] += 1
        own[SINCE, d], own[_LAST, d] = days, visit
        own[_WORTH, d] += worth[i]
        own[_MONTHS, d] += ages[i] < _MONTH
        own[_RECENT, d] += worth[i] * fresh
        for speed in range(len(weights)):
            own[SUMS + speed, d] += weights[speed, i]
    return own


@compiled(INTS, TABLE, DOUBLES, FLOATS, DOUBLES, WRITTEN_TABLE)
def times(  # noqa: PLR0917 -- compiled code takes arrays, and names what it reads
    at: Ints, habits: Floats, own: Doubles, ages: Floats, weights: Doubles, out: Floats
) -> None:
    """Fill how often and when the shopper had each candidate [18, P]; `at`: its item's number."""
    events, speeds, visits = len(ages), len(weights), _visits(ages)
    newest = max(ages[-1], np.float32(LEAST_DAYS)) if events else NEVER
    for p in range(len(at)):
        d = at[p]
        if d < 0:
            out[6, p] = out[7, p] = np.log(NEVER)
            out[9, p] = -1
            out[10, p] = np.log(0.01 / (NEVER + 7))
            out[13, p] = np.log1p(visits)
            out[15, p] = 1
            out[17, p] = -1
            continue
        count, since, first = own[COUNT, d], own[SINCE, d], own[_FIRST, d]
        gaps = count - 1
        between = gaps + _USUAL_INTERVALS
        interval = (first - since + _USUAL_INTERVALS * np.exp(habits[p, 1])) / between
        out[0, p] = np.log1p(own[_WORTH, d])
        for speed in range(speeds):
            out[1 + speed, p] = np.log1p(own[SUMS + speed, d])
        out[4, p] = own[SUMS + 1, d] / weights[1, events]
        out[5, p] = own[SUMS + 2, d] / weights[2, events]
        out[6, p], out[7, p] = np.log(since), np.log(first)
        out[8, p] = np.log(interval)
        out[9, p] = min(since / interval, MOST)
        out[10, p] = np.log(count / (first + 7))
        out[11, p] = count / max(visits - own[_BEFORE, d], 1)
        out[12, p] = since < newest + _VISIT_DAYS
        out[13, p] = np.log1p(visits - own[_LAST, d])
        out[14, p] = np.log1p(own[_RECENT, d])
        mean = (first - since) / max(gaps, 1)
        squares = max(own[_SQUARES, d] - gaps * mean * mean, 0.0)
        variance = squares + _USUAL_INTERVALS * interval * interval
        out[15, p] = np.sqrt(variance / between) / interval
        out[16, p] = np.log1p(own[_MONTHS, d])
        out[17, p] = np.log1p(own[_GAP, d]) if gaps else -1


@compiled(FLOATS, INTS, INTS, DOUBLES, WRITTEN_TABLE)
def prices(price: Floats, rows: Ints, items: Ints, own: Doubles, out: Floats) -> None:
    """Fill log price, and the same beside the mean of the past's [2, P]; unknown is 0.

    `price` by catalogue row, of candidates `rows` and of what was had, `items`.
    """
    total, known = 0.0, 0.0
    for d in range(len(items)):
        paid = price[items[d]]
        if not np.isnan(paid):
            total += own[COUNT, d] * np.log1p(paid)
            known += own[COUNT, d]
    for p in range(len(rows)):
        asked = price[rows[p]]
        if np.isnan(asked):
            continue
        out[0, p] = np.log1p(asked)
        if known:
            out[1, p] = np.log1p(asked) - total / known


@compiled(FLOATS, NUMBER, WRITTEN_TABLE)
def shopper(ages: Floats, items: int, out: Floats) -> None:
    """Fill events, visits a week, pause, share of repeats and basket, alike for all [5, P]."""
    events = len(ages)
    if not events:
        out[2] = np.log(NEVER)
        return
    visits = _visits(ages)
    oldest = max(ages[0], np.float32(LEAST_DAYS))
    newest = max(ages[-1], np.float32(LEAST_DAYS))
    out[0] = np.log1p(events)
    out[1] = np.log1p(7 * visits / (oldest + 7))
    out[2] = np.log(newest)
    out[3] = 1 - items / events
    out[4] = np.log(events / visits)
