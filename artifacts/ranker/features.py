"""What the learned ranker looks at: one row of numbers for each candidate.

The one idea: training and serving call this same function on the same things (the
sources' answers, the shopper's events with their ages, the catalogue's columns), so
what the ranker learned from is what it is asked with. The loops over candidates and
events are in loops.py, compiled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows
from artifacts.ranker import loops
from artifacts.ranker.loops import Doubles

Bools = npt.NDArray[np.bool_]

# Days after which an event counts half: this week's, this month's, this season's habits.
_HALF_LIVES = np.array([7.0, 28.0, 112.0], np.float32)
# Items of a shopper's own that are candidates.
OWN = 100


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
    provider: Rows  # [n]; -1 unknown
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


# Columns of what is known of an item's buyers (see models/fusion/habits.py): the share of
# them that come back for it, and the logs of the usual days between, of a buyer's purchases,
# of what sells now beside what usually does, of what sells now, of the days since the first.
HABITS = ("returning", "usual_interval", "per_buyer", "season", "recent", "first_sold")

_OF_SOURCE = ("score", "rank", "named", "lead")
_OF_ITEM = (
    "best", "mean", "named_by", "answering",
    "times", "times_7", "times_28", "times_112", "share_28", "share_112",
    "since", "since_first", "interval", "due", "rate", "of_visits", "last_visit",
    "visits_since", "times_visits", "irregular", "month", "last_interval",
    "category_28", "category_112", "category_since", "category_loyalty", "category_due",
    "brand_112", "domain_28", "domain_112",
    "category_times", "category_since_item", "category_variety", "category_price",
    "provider_112", "line",
    "price", "price_level", "trend", "popularity", "crossing", *HABITS,
    "events", "visits", "pause", "repeating", "basket",
)  # fmt: skip
_WIDTH = len(_OF_SOURCE)
_ROW = {name: number for number, name in enumerate(_OF_ITEM)}


def names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the name of every feature, in the order of the columns."""
    return (*(f"{source}.{what}" for source in sources for what in _OF_SOURCE), *_OF_ITEM)


def features(candidates: Candidates, past: Past, shelf: Shelf) -> Floats:
    """Return the features of every candidate, all finite, float32 [P, F]."""
    c = _packed(candidates)
    size, sources = len(c.rows), len(c.scores)
    table = np.zeros((_WIDTH * sources + len(_OF_ITEM), size), np.float32)
    if size:
        rows, ages = np.ascontiguousarray(past.rows), np.ascontiguousarray(past.age)
        worth = np.ascontiguousarray(past.worth)
        weights = loops.faded(ages, worth, _HALF_LIVES)
        answering = loops.sources(c.scores, c.calibrated, table)
        loops.together(table, sources, answering)
        item = table[_WIDTH * sources :]
        by_age = loops.times(c.rows, c.habits, rows, ages, worth, weights, item[_ROW["times"] :])
        _kinds(c.rows, (rows, ages, weights), shelf, item[_ROW["category_28"] :])
        whole = item[_ROW["category_112"]] * weights[2, -1]
        item[_ROW["category_loyalty"]] = by_age / (whole + 0.1)
        loops.prices(shelf.price, c.rows, rows, item[_ROW["price"] :])
        item[_ROW["trend"]], item[_ROW["crossing"]] = c.trend, c.crossing
        item[_ROW["popularity"]] = shelf.popularity[c.rows]
        habits = _ROW[HABITS[0]]
        item[habits : habits + len(HABITS)] = c.habits.T
        loops.shopper(rows, ages, item[_ROW["events"] :])
    return table.T


def _packed(candidates: Candidates) -> Candidates:
    """Return candidates whose arrays compiled code can read."""
    return replace(
        candidates,
        rows=np.ascontiguousarray(candidates.rows),
        scores=np.ascontiguousarray(candidates.scores),
        calibrated=np.ascontiguousarray(candidates.calibrated),
        habits=np.ascontiguousarray(candidates.habits),
    )


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


def named(table: Floats, sources: int) -> Bools:
    """Say which candidates each source named, from features [P, F] -> [P, S]."""
    said: Bools = table[:, 2 : _WIDTH * sources : _WIDTH] > 0
    return said


def blended(table: Floats, sources: Bools) -> Floats:
    """Return features [P, F] as they were had only `sources` [S] answered, which did answer.

    Any part of a question's candidates may be given.
    """
    fewer = np.array(table.T, order="C")
    for source in np.flatnonzero(~sources).tolist():
        fewer[_WIDTH * source : _WIDTH * (source + 1)] = 0
    loops.together(fewer, len(sources), int(sources.sum()))
    return fewer.T


def _kinds(rows: Rows, past: tuple[Rows, Floats, Doubles], shelf: Shelf, out: Floats) -> None:
    """Fill what the shopper does in each item's category, brand, domain and provider.

    `past`: rows, ages and weights; loyalty, which needs more, is left open.
    """
    events, ages, weights = past
    slow = weights[1:]
    loops.shares(shelf.category, rows, events, slow, out[0:2])
    when = np.empty((2, len(rows)), np.float32)
    loops.recency(shelf.category, rows, events, ages, when)
    out[2], out[4] = when
    loops.shares(shelf.brand, rows, events, weights[2:], out[5:6])
    loops.shares(shelf.domain, rows, events, slow, out[6:8])
    loops.alternatives(shelf.category, rows, events, out[8:11])
    loops.price_in_kind(shelf.category, shelf.price, rows, events, out[11])
    loops.shares(shelf.provider, rows, events, weights[2:], out[12:13])
    loops.lines(shelf.category, shelf.provider, rows, events, weights[2:], out[13])
