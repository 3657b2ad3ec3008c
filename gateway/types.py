"""What the parts of the gateway hand each other: small frozen data, no protos.

Item ids (the shop's strings) live at the border; inside, an item is its key
(int64) or its catalogue row (int32).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from artifacts.compiled import FLOATS, INTS, compiled
from gateway.fusion.adapt import Evidence
from gateway.fusion.types import Bools, Floats, Ints, Pool, Query, Rows

# Clocks differ by so much at most: what lies further ahead was stamped by one that is wrong.
MOST_AHEAD_MS = 600_000

Times = npt.NDArray[np.int64]  # milliseconds since 1970
Types = npt.NDArray[np.int8]  # EventType


class EventType(IntEnum):
    """What a shopper did; numbers as in the API."""

    VIEW = 1
    CLICK = 2
    CART = 3
    PURCHASE = 4
    LIKE = 5
    DISLIKE = 6
    SEARCH = 7


class Outcome(Enum):
    """How one source did; names as in the API."""

    OK = "OK"
    LATE = "LATE"
    ERROR = "ERROR"
    SHED = "SHED"
    OPEN = "OPEN"
    SKIPPED = "SKIPPED"


# Of one number of an image.
IMAGE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One thing the shop sells."""

    item_id: str
    key: int
    title: str = ""
    text: str = ""
    domain: str = ""
    category: str = ""
    brand: str = ""
    price: float | None = None
    available: bool = True
    provider: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    # Vector of its image, float32 little endian; empty: none.
    image: bytes = b""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a shopper did. `key` 0: no item (a search)."""

    user_id: str
    key: int
    type: EventType
    time_ms: int
    event_id: str = ""
    quantity: float = 1.0
    price: float | None = None
    market: str = ""
    query: str = ""
    ranking_id: str = ""  # of the ranking that it followed from
    # That the store gave it; 0: none as yet.
    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events that name an item, in the order they came, as columns; N of them.

    An event_id comes once, with the last that had it.
    """

    keys: Ints  # [N]
    types: Types  # [N]
    times: Times  # [N]
    ids: Ints  # hashes of event ids [N]
    named: Bools  # which of them have one [N]
    numbers: Ints  # that the store gave them; 0: none as yet [N]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, told: Iterable[tuple[int, int, int, str, int]]) -> "EventColumns":
        """Make them of (key, type, time in ms, event_id, number); key 0 names no item."""
        distinct = {one[3] or place: one for place, one in enumerate(told) if one[0]}
        if not distinct:
            return NO_EVENTS
        keys, types, times, ids, numbers = zip(*distinct.values(), strict=True)
        return cls(
            keys=np.array(keys, np.int64),
            types=np.array(types, np.int8),
            times=np.array(times, np.int64),
            ids=np.fromiter(map(hash, ids), np.int64, len(ids)),
            named=np.array(ids, object).astype(np.bool_),
            numbers=np.array(numbers, np.int64),
        )


NO_EVENTS = EventColumns(
    keys=np.zeros(0, np.int64),
    types=np.zeros(0, np.int8),
    times=np.zeros(0, np.int64),
    ids=np.zeros(0, np.int64),
    named=np.zeros(0, np.bool_),
    numbers=np.zeros(0, np.int64),
)


def columns_of(events: Iterable[Event]) -> EventColumns:
    """Return those of some events that name an item as columns."""
    return EventColumns.of((e.key, e.type, e.time_ms, e.event_id, e.number) for e in events)


@dataclass(frozen=True, slots=True)
class Trail:
    """A shopper's newest events that name an item, oldest first; L of them.

    `purchased`, `disliked` and `judged` reach back over all events, not only these.
    """

    keys: Ints  # [L]
    types: Types  # [L]
    times: Times  # [L]
    # What tells an event from others: the hash of its id, without one minus its number [L].
    ids: Ints
    purchased: Ints  # item keys, the latest last
    disliked: Ints  # item keys, the latest last
    # Items liked or disliked, the latest last, and when last: an older opinion changes nothing.
    judged: Ints  # item keys [J]
    judged_ms: Times  # ascending [J]
    # The newest event, anyone's, that was in the file when it was read: what came before it and
    # is not here was left out.
    seen: int


@dataclass(frozen=True, slots=True)
class Boost:
    """Adds `weight` to items whose `column` ("item", "category", ...) is `value`."""

    column: str
    value: str
    weight: float


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """The rules of a request as the caller wrote them."""

    exclude: tuple[str, ...] = ()
    exclude_purchased: bool = False
    include_unavailable: bool = False
    min_price: float | None = None
    max_price: float | None = None
    categories: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    boosts: tuple[Boost, ...] = ()
    pin: tuple[str, ...] = ()
    bury: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a ranking, validated."""

    surface: str  # "HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK"
    user_id: str = ""
    market: str = ""
    events: EventColumns = NO_EVENTS  # that came with it
    item_ids: tuple[str, ...] = ()
    text: str = ""
    page_size: int = 20
    page_token: str = ""
    rules: RuleSpec = RuleSpec()
    explain: bool = False
    diversity: float | None = None


class Question(NamedTuple):
    """What a source is asked about one shopper; `candidates` None: your best k."""

    history: Ints  # item keys, oldest first [L]
    history_weight: Floats  # [L]
    text: str = ""
    k: int = 200
    candidates: Ints | None = None  # item keys [C]
    # Ask for the user or query vector too.
    embedding: bool = False
    # Model version that must answer; "": whichever the source serves by default.
    version: str = ""
    # For models that ask for them: the event types [L], and seconds since each event [L].
    history_type: Ints | None = None
    history_age: Floats | None = None


class SourceAnswer(NamedTuple):
    """What came back from one source; arrays are empty unless `outcome` is OK."""

    source: str
    outcome: Outcome
    # Item keys [K], aligned with scores; for a score question the candidates asked about.
    keys: Ints
    scores: Floats  # NaN: no opinion [K]
    version: str = ""
    embedding: Floats | None = None  # [d]
    seconds: float = 0.0
    detail: str = ""  # short, safe to show; empty when OK
    invalid: int = 0  # scores that were infinite, or NaN where the source named the item
    wanted: str = ""  # version of the canary that the shopper is in, whoever answered

    @property
    def opinions(self) -> int:
        """How many items the source gave a usable score."""
        return int(_usable(self.keys, self.scores))


@compiled(INTS, FLOATS)
def _usable(keys: Ints, scores: Floats) -> int:
    count = 0
    for i in range(len(keys)):
        count += keys[i] != 0 and np.isfinite(scores[i])
    return count


@dataclass(frozen=True, slots=True)
class Facts:
    """What an explanation is made from; kept only for rankings that asked for one.

    The query comes without its columns: rows stay what they are, so the catalogue of the
    moment serves as well for the words, and no old snapshot of it is held for the sake of a
    page. The numbers are the pool's.
    """

    query: Query
    pool: Pool


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a ranking went, in seconds."""

    total: float
    merge: float  # from the last answer to the finished ranking
    stages: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A finished ranking: every page of it is cut from these arrays."""

    ranking_id: str
    ask: Ask
    rows: Rows  # catalogue rows, best first [R]
    scores: Floats  # [R]
    positions: Rows  # index of each into the pool of `facts` [R]
    answers: tuple[SourceAnswer, ...]  # one per source, without their arrays
    candidate_counts: tuple[int, ...]  # aligned with answers
    fallback: bool
    unknown_items: int
    unknown_candidates: int  # named by sources, not in the catalogue
    timings: Timings
    dropped: tuple[tuple[int, str], ...] = ()  # (row, reason), at most 100
    dropped_counts: tuple[tuple[str, int], ...] = ()  # by reason
    # RANK: ids the catalogue lacks, put behind the rest in the order given.
    unknown_ids: tuple[str, ...] = ()
    # RANK: ids the catalogue lacks and a rule forbids, and why; with `dropped` at most 100.
    forbidden_ids: tuple[tuple[str, str], ...] = ()
    facts: Facts | None = None
    # What its weights can learn from it; None where they do not adapt.
    evidence: Evidence | None = None
    # Made for an earlier request and shown again: no source was asked for this one.
    again: bool = False
    # Made without the shopper's recorded events: they could not be read in time.
    unread: bool = False

    @property
    def asked(self) -> int:
        """How many sources were asked, or would have been but for their breaker."""
        return sum(a.outcome is not Outcome.SKIPPED for a in self.answers)

    @property
    def answered(self) -> int:
        """How many sources' answers were used."""
        return sum(a.outcome is Outcome.OK for a in self.answers)

    @property
    def partial(self) -> bool:
        """Whether a source that was asked is missing."""
        return self.answered < self.asked


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a ranking."""

    ranking: Ranking
    places: Rows  # indices into ranking.rows, ascending
    next_token: str = ""  # "" after the last page
