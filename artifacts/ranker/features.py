"""What the learned ranker looks at: one row of numbers for each candidate.

The one idea: training and serving call this same function on the same things (the
sources' answers, the shopper's events with their ages, the catalogue's columns), so
what the ranker learned from is what it is asked with. The loops over candidates and
events are compiled: answers.py, own.py, kinds.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows
from artifacts.ranker import answers, kinds, own
from artifacts.ranker.answers import OF_SOURCE, WIDTH
from artifacts.ranker.own import Doubles, Ints

Bools = npt.NDArray[np.bool_]
_ASCENDING: Ints = np.zeros(0, np.int64)

# Days after which an event counts half: this week's, this month's, this season's habits.
_HALF_LIVES = np.array([7.0, 28.0, 112.0], np.float32)
# Items of a shopper's own that are candidates, and the surfaces where they are: elsewhere
# the past is the session or the cart, and what it holds is known.
OWN, OWN_ON = 100, ("HOME",)


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
    """The candidates of one question; P of them, among A answered, S sources."""

    rows: Rows  # ascending, unique [P]
    scores: Floats  # as the sources gave them, NaN where absent [S, A]
    calibrated: Floats  # 0..1, NaN where absent [S, A]
    trend: Floats  # of the market, 0..1 [P]
    crossing: Floats  # log P(domain | history) / P(domain), faded [P]
    habits: Floats  # how people buy the item: columns of HABITS [P, H]
    # Which of the answered they are, ascending [P]; None: all of them. Ranks and leads are
    # among the answered, whoever of them is asked about.
    of_answered: Rows | None = None
    # Item keys of the answered, by which equals rank [A]; None: they ascend, as in training.
    answered_keys: Ints | None = None


# Columns of what is known of an item's buyers (see models/fusion/habits.py): the share of
# them that come back for it, and the logs of the usual days between, of a buyer's purchases,
# of what sells now beside what usually does, of what sells now, of the days since the first.
HABITS = ("returning", "usual_interval", "per_buyer", "season", "recent", "first_sold")

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
_ROW = {name: number for number, name in enumerate(_OF_ITEM)}


def names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the name of every feature, in the order of the columns."""
    return (*(f"{source}.{what}" for source in sources for what in OF_SOURCE), *_OF_ITEM)


def features(candidates: Candidates, past: Past, shelf: Shelf) -> Floats:
    """Return the features of every candidate, all finite, float32 [P, F]."""
    c = _packed(candidates)
    size, sources = len(c.rows), len(c.scores)
    table = np.zeros((WIDTH * sources + len(_OF_ITEM), size), np.float32)
    said = np.zeros((WIDTH * sources, c.scores.shape[1]), np.float32)
    if size:
        keys = _ASCENDING if c.answered_keys is None else c.answered_keys
        answering = answers.sources(c.scores, c.calibrated, keys, said)
        table[: len(said)] = said if c.of_answered is None else said[:, c.of_answered]
        answers.together(table, sources, answering)
        had, item = _gathered(past), table[WIDTH * sources :]
        _habits(c, had, shelf, item)
        item[_ROW["trend"]], item[_ROW["crossing"]] = c.trend, c.crossing
        item[_ROW["popularity"]] = shelf.popularity[c.rows]
        first = _ROW[HABITS[0]]
        item[first : first + len(HABITS)] = c.habits.T
        own.shopper(had.ages, len(had.items), item[_ROW["events"] :])
    return table.T


@dataclass(frozen=True, slots=True, eq=False)
class _Had:
    """A past by item: L events of D items."""

    ages: Floats  # [L]
    which: Ints  # number of each event's item [L]
    items: Ints  # catalogue rows by number [D]
    table: Ints  # to find numbers by
    weights: Doubles  # of the events at each speed, and their sums [H, L + 1]
    own: Doubles  # what is known of each item [.., D]


def _gathered(past: Past) -> _Had:
    ages, worth = np.ascontiguousarray(past.age), np.ascontiguousarray(past.worth)
    which, items, table = own.numbered(past.rows.astype(np.int64))
    weights = own.faded(ages, worth, _HALF_LIVES)
    known = own.gathered(which, len(items), ages, worth, weights)
    return _Had(ages, which, items, table, weights, known)


def _habits(c: Candidates, had: _Had, shelf: Shelf, item: Floats) -> None:
    """Fill what the shopper does with each item and in its category, brand, domain."""
    rows, known = c.rows.astype(np.int64), had.own
    at = own.numbers(had.items, had.table, rows)
    own.times(at, c.habits, known, had.ages, had.weights, item[_ROW["times"] :])
    own.prices(shelf.price, rows, had.items, known, item[_ROW["price"] :])
    category, out = shelf.category, item[_ROW["category_28"] :]
    kinds.shares(category, rows, had.items, known, had.weights, out[0:2])
    when = np.empty((2, len(rows)), np.float32)
    oldest = float(had.ages[0]) if len(had.ages) else own.NEVER
    kinds.recency(category, rows, had.items, known, oldest, when)
    out[2], out[4] = when
    slowest = np.where(at >= 0, known[-1][at], 0) if len(had.items) else 0
    out[3] = slowest / (out[1] * had.weights[-1, -1] + 0.1)
    kinds.shares(shelf.brand, rows, had.items, known, had.weights, out[5:6])
    kinds.shares(shelf.domain, rows, had.items, known, had.weights, out[6:8])
    kinds.alternatives(category, rows, at, had.items, had.which, out[8:11])
    kinds.prices(category, shelf.price, rows, had.items, known, out[11])
    kinds.shares(shelf.provider, rows, had.items, known, had.weights, out[12:13])
    total = float(had.weights[-1, -1])
    kinds.lines(category, shelf.provider, rows, had.items, known, total, out[13])


def _packed(candidates: Candidates) -> Candidates:
    """Return candidates whose arrays compiled code can read."""
    return replace(
        candidates,
        rows=np.ascontiguousarray(candidates.rows),
        scores=np.ascontiguousarray(candidates.scores),
        calibrated=np.ascontiguousarray(candidates.calibrated),
        habits=np.ascontiguousarray(candidates.habits),
    )


def own_rows(past: Past, most: int = OWN, keys: Ints | None = None) -> Rows:
    """Return the rows of the items that a shopper has most and latest, these first [<= most].

    They are candidates whatever the sources name: with the best source gone, what people
    buy again is still there to be ranked. Of equals the smaller of the catalogue's `keys` [n]
    comes first; None: they ascend.
    """
    which, items, _ = own.numbered(past.rows.astype(np.int64))
    weight = np.bincount(which, past.worth * np.exp2(past.age / np.float32(-_HALF_LIVES[-1])))
    first: Ints = np.lexsort((items if keys is None else keys[items], -weight))[:most]
    return items[first].astype(np.int32)


def named(table: Floats, sources: int) -> Bools:
    """Say which candidates each source named, from features [P, F] -> [P, S]."""
    said: Bools = table[:, 2 : WIDTH * sources : WIDTH] > 0
    return said


def blended(table: Floats, sources: Bools) -> Floats:
    """Return features [P, F] as they were had only `sources` [S] answered, which did answer.

    Any part of a question's candidates may be given.
    """
    fewer = np.array(table.T, order="C")
    for source in np.flatnonzero(~sources).tolist():
        fewer[WIDTH * source : WIDTH * (source + 1)] = 0
    answers.together(fewer, len(sources), int(sources.sum()))
    return fewer.T
