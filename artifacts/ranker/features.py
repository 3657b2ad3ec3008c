"""What the learned ranker looks at: one row of numbers for each candidate.

The one idea: training and serving call this same function on the same things (the
sources' answers, the shopper's events with their ages, the catalogue's columns), so
what the ranker learned from is what it is asked with. All of it is array work: nothing
loops over candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

# Days after which an event counts half: this week's, this month's, this season's habits.
_HALF_LIVES = (7.0, 28.0, 112.0)
# Items of a shopper's own that are candidates.
OWN = 100
# A shopper's own interval between purchases counts as much as this many of the item's usual.
_USUAL_INTERVALS = 2.0
# Age in days of what never happened.
_NEVER = 400.0
# Events this close to the newest one belong to the same visit.
_VISIT_DAYS = 0.25
# Least age in days: an event a minute ago is not infinitely recent.
_LEAST_DAYS = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A shopper's events that name a known item and recommend it, oldest first; L of them."""

    rows: Rows  # catalogue rows [L]
    age: Floats  # days before now [L]
    worth: Floats  # how certainly an event says that the item is wanted, 0..1 [L]


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """The catalogue's columns that count, by row; n items."""

    domain: Rows  # [n]; -1 unknown
    category: Rows  # [n]; -1 unknown
    brand: Rows  # [n]; -1 unknown
    price: Floats  # [n]; NaN unknown
    popularity: Floats  # 0..1 [n]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of one question; P of them, S sources."""

    rows: Rows  # ascending, unique [P]
    scores: Floats  # as the sources gave them, NaN where absent [S, P]
    calibrated: Floats  # 0..1, NaN where absent [S, P]
    trend: Floats  # of the market, 0..1 [P]
    crossing: Floats  # log P(domain | history) / P(domain), faded [P]
    habits: Floats  # how people buy the item: columns of HABITS [P, H]


# Columns of what is known of an item's buyers: the share of them that come back for it,
# and the log of the usual days between (see models/fusion/habits.py).
HABITS = ("returning", "usual_interval")

_OF_SOURCE = ("score", "rank", "named")
_OF_ITEM = (
    "best", "mean", "named_by", "answering",
    "times", "times_7", "times_28", "times_112", "share_28", "share_112",
    "since", "since_first", "interval", "due", "rate", "of_visits", "last_visit",
    "category_28", "category_112", "category_since", "category_loyalty", "category_due",
    "brand_112", "domain_28", "domain_112",
    "price", "price_level", "trend", "popularity", "crossing", *HABITS,
    "events", "visits", "pause", "repeating",
)  # fmt: skip


def names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the name of every feature, in the order of the columns."""
    return (*(f"{source}.{what}" for source in sources for what in _OF_SOURCE), *_OF_ITEM)


def features(candidates: Candidates, past: Past, shelf: Shelf) -> Floats:
    """Return the features of every candidate, all finite, float32 [P, F]."""
    size, sources = len(candidates.rows), len(candidates.scores)
    table = np.zeros((len(_OF_SOURCE) * sources + len(_OF_ITEM), size), np.float32)
    if size:
        age = np.maximum(past.age, _LEAST_DAYS)
        decayed = tuple(past.worth * np.exp2(age * np.float32(-1 / d)) for d in _HALF_LIVES)
        faded = _Faded(age, decayed, tuple(float(w.sum()) + 1e-6 for w in decayed))
        _sources(candidates, table[: 3 * sources])
        _together(table, sources, int((~np.isnan(candidates.scores)).any(axis=1).sum()))
        item = table[3 * sources + 4 :]
        by_age = _times(candidates, past, faded, item[:13])
        _kinds(candidates, past, shelf, (faded, by_age), item[13:21])
        _offers(candidates, past, shelf, item[21:28])
        _shopper(past, age, item[28:])
    return table.T


def own_rows(past: Past, most: int = OWN) -> Rows:
    """Return the rows of the items that a shopper has most and latest, at most `most` [<= most].

    They are candidates whatever the sources name: with the best source gone, what people
    buy again is still there to be ranked.
    """
    rows, which = np.unique(past.rows, return_inverse=True)
    if len(rows) > most:
        weight = np.bincount(which, past.worth * np.exp2(past.age / np.float32(-_HALF_LIVES[-1])))
        rows = rows[np.argpartition(-weight, most)[:most]]
    return rows


def blended(table: Floats, sources: Bools) -> Floats:
    """Return features [P, F] as they were had only `sources` [S] answered, which did answer.

    Any part of a question's candidates may be given.
    """
    fewer = table.T.copy()
    for source in np.flatnonzero(~sources).tolist():
        fewer[3 * source : 3 * source + 3] = 0
    _together(fewer, len(sources), int(sources.sum()))
    return fewer.T


@dataclass(frozen=True, slots=True, eq=False)
class _Faded:
    """A past at three speeds of forgetting."""

    age: Floats  # days [L]
    weight: tuple[Floats, ...]  # by half-life [L] each
    total: tuple[float, ...]


def _sources(c: Candidates, out: Floats) -> None:
    """Fill score, rank and presence, source by source [3 S, P]."""
    named = ~np.isnan(c.scores)
    place = np.float32(10) / np.arange(10, 10 + c.scores.shape[1], dtype=np.float32)
    for source in range(len(c.scores)):
        if not named[source].any():
            continue
        at = np.flatnonzero(named[source])
        best_first = at[np.argsort(-c.scores[source, at], kind="stable")]
        out[3 * source, at] = c.calibrated[source, at]
        # 1 for the first of an answer, a half for the eleventh.
        out[3 * source + 1, best_first] = place[: len(at)]
        out[3 * source + 2, at] = 1


def _together(table: Floats, sources: int, answering: int) -> None:
    """Fill best, mean, named_by and answering from the sources' own features [F, P]."""
    score, named = table[0 : 3 * sources : 3], table[2 : 3 * sources : 3]
    out = table[3 * sources : 3 * sources + 4]
    out[0] = score.max(axis=0)
    out[1] = score.sum(axis=0) / max(answering, 1)
    out[2] = named.sum(axis=0) / max(answering, 1)
    out[3] = answering


def _times(c: Candidates, past: Past, faded: _Faded, out: Floats) -> tuple[Doubles, ...]:
    """Fill how often and when the shopper had each item; return the times by half-life [P]."""
    size = len(c.rows)
    at = np.minimum(np.searchsorted(c.rows, past.rows), size - 1)
    mine = np.flatnonzero(c.rows[at] == past.rows)
    at, age = at[mine], faded.age[mine]
    by_age = tuple(_summed(at, weight[mine], size) for weight in faded.weight)
    number = np.bincount(at, minlength=size)
    # Oldest first: of several values written to one place the last stays.
    since, first = np.full((2, size), _NEVER, np.float32)
    since[at] = age
    first[at[::-1]] = age[::-1]
    visit = 1 + np.cumsum(np.diff(past.age, prepend=past.age[:1]) < -_VISIT_DAYS)
    visits_before = np.zeros(size, np.int64)
    visits_before[at[::-1]] = visit[mine][::-1] - 1
    visits = int(visit[-1]) if len(visit) else 0
    had = number > 0
    between = np.maximum(number - 1, 0) + _USUAL_INTERVALS
    interval = (first - since + _USUAL_INTERVALS * np.exp(c.habits[:, 1])) / between
    newest = float(faded.age[-1]) if len(faded.age) else _NEVER
    out[0] = np.log1p(np.bincount(at, past.worth[mine], size))
    out[1:4] = np.log1p(by_age)
    out[4], out[5] = by_age[1] / faded.total[1], by_age[2] / faded.total[2]
    out[6], out[7] = np.log(since), np.log(first)
    out[8] = np.log(interval) * had
    out[9] = np.where(had, np.minimum(since / interval, 8), -1)
    out[10] = np.log(np.maximum(number, 0.01) / (first + 7))
    out[11] = number / np.maximum(visits - visits_before, 1)
    out[12] = had & (since < newest + _VISIT_DAYS)
    return by_age


def _kinds(
    c: Candidates,
    past: Past,
    shelf: Shelf,
    weights: tuple[_Faded, tuple[Doubles, ...]],
    out: Floats,
) -> None:
    """Fill what the shopper does in each item's category, brand and domain."""
    faded, by_age = weights
    category = _Kind.of(shelf.category, past.rows, c.rows)
    for number, speed in enumerate((1, 2)):
        out[number] = category.sums(faded.weight[speed]) / faded.total[speed]
    last = np.full(category.size, _NEVER, np.float32)
    last[category.past] = faded.age
    since = last[category.asked]
    oldest = float(faded.age[0]) if len(faded.age) else _NEVER
    buys = np.bincount(category.past, minlength=category.size)[category.asked]
    out[2] = np.log(since)
    out[3] = by_age[2] / (out[1] * faded.total[2] + 0.1)
    out[4] = np.minimum(since * buys / (oldest + 1), 8)
    brand = _Kind.of(shelf.brand, past.rows, c.rows)
    out[5] = brand.sums(faded.weight[2]) / faded.total[2]
    domain = _Kind.of(shelf.domain, past.rows, c.rows)
    for number, speed in enumerate((1, 2)):
        out[6 + number] = domain.sums(faded.weight[speed]) / faded.total[speed]


def _offers(c: Candidates, past: Past, shelf: Shelf, out: Floats) -> None:
    """Fill price, price beside what the shopper usually pays, and what the market does."""
    price, paid = np.log1p(shelf.price[c.rows]), np.log1p(shelf.price[past.rows])
    known = ~np.isnan(paid)
    level = paid[known].mean() if known.any() else np.float32(np.nan)
    out[0], out[1] = np.nan_to_num(price), np.nan_to_num(price - level)
    out[2], out[3], out[4] = c.trend, shelf.popularity[c.rows], c.crossing
    out[5:7] = c.habits.T


def _shopper(past: Past, age: Floats, out: Floats) -> None:
    """Fill what is the same for all candidates: how much is known, and how fast it comes."""
    if not len(age):
        out[2] = np.log(_NEVER)
        return
    visits = 1 + int((np.diff(past.age) < -_VISIT_DAYS).sum())
    distinct = int((np.diff(np.sort(past.rows)) > 0).sum()) + 1
    out[0] = np.log1p(len(age))
    out[1] = np.log1p(7 * visits / (float(age[0]) + 7))
    out[2] = np.log(age[-1])
    out[3] = 1 - distinct / len(age)


def _summed(at: npt.NDArray[np.integer], weight: Floats, size: int) -> Doubles:
    """Add up weights by place, float64 [size]."""
    sums: Doubles = np.bincount(at, weight, size).astype(np.float64, copy=False)
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """A column of the catalogue for past and candidates, from 0, which is unknown."""

    past: Rows  # [L]
    asked: Rows  # [P]
    size: int

    @classmethod
    def of(cls, column: Rows, past: Rows, asked: Rows) -> "_Kind":
        mine, theirs = column[past] + 1, column[asked] + 1
        return cls(mine, theirs, int(max(mine.max(initial=0), theirs.max(initial=0))) + 1)

    def sums(self, weight: Floats) -> Doubles:
        """Return the weight of each candidate's kind in the past; 0 for unknown [P]."""
        sums = _summed(self.past, weight, self.size)
        sums[0] = 0
        found: Doubles = sums[self.asked]
        return found
