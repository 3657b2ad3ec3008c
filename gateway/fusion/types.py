"""What the fusion stages see: a query and a pool, in numpy, nothing else.

The pool is a structure of arrays: one entry per candidate, one row per source.
A stage is a pure function `(Query, Pool) -> Pool`; it may add a term, set a
rule, or drop candidates with a reason, and never removes a column silently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from artifacts.price_places import PricePlaces
from artifacts.ranker.features import Past

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

# Which part of the slate a candidate belongs to, in this order; see Pool.tier.
PINNED, HELD, NORMAL, SUNK, BURIED = range(5)
# Pool.place of a candidate that only its score orders.
BY_SCORE = np.int32(2**31 - 1)


def _empty(dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return an array of nothing, which may be shared: it cannot be written to."""
    nothing = np.zeros(0, dtype)
    nothing.setflags(write=False)
    return nothing


_NO_ROWS: Rows = _empty(np.int32)
_NO_BOOLS: Bools = _empty(np.bool_)


def _no_rows() -> Rows:
    return _NO_ROWS


def _new(key: int) -> bool:
    del key
    return True


NO_PAST = Past(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Columns:
    """The catalogue as arrays of n items; a consistent snapshot, never changed in place."""

    keys: Ints  # item keys [n]
    domain: Rows  # index into domain_names [n]; -1 unknown
    category: Rows  # index into category_names [n]; -1 unknown
    brand: Rows  # index into brand_names [n]; -1 unknown
    provider: Rows  # index into provider_names [n]; -1 unknown
    price: Floats  # NaN unknown [n]
    available: Bools  # [n]
    popularity: Floats  # long-run popularity, 0..1 [n]
    vectors: Floats  # unit item vectors [n, d]; a zero row means none
    domain_names: tuple[str, ...] = ()
    category_names: tuple[str, ...] = ()
    brand_names: tuple[str, ...] = ()
    provider_names: tuple[str, ...] = ()
    # Rows of the most popular items, best first; some thousands at most, perhaps none.
    sellers: Rows = field(default_factory=_no_rows)


NO_COLUMNS = Columns(
    keys=_empty(np.int64),
    domain=_NO_ROWS,
    category=_NO_ROWS,
    brand=_NO_ROWS,
    provider=_NO_ROWS,
    price=_empty(np.float32),
    available=_NO_BOOLS,
    popularity=_empty(np.float32),
    vectors=np.zeros((0, 0), np.float32),
)


class Trend(Protocol):
    """A market's trend: decayed popularity 0..1 by row, float32. An array is one."""

    def __len__(self) -> int:
        """Return how many rows it knows."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the trend of some rows."""
        ...


@dataclass(frozen=True, slots=True)
class BoostRule:
    """One soft rule: adds `weight` where `column` equals `value` ("item", "category", ...)."""

    column: str
    value: int  # row for "item", else the index into the column's names
    weight: float
    label: str  # as reported, for example "boost:category=YOGURT"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one request, resolved to catalogue rows and column indices."""

    exclude: Rows  # catalogue rows
    purchased: Rows  # catalogue rows to leave out as purchased; empty unless asked for
    disliked: Rows
    pin: Rows  # in this order
    bury: Rows
    include_unavailable: bool = False
    min_price: float | None = None
    max_price: float | None = None
    # Column index values allowed; None means no restriction. An empty tuple allows nothing.
    categories: tuple[int, ...] | None = None
    domains: tuple[int, ...] | None = None
    brands: tuple[int, ...] | None = None
    boosts: tuple[BoostRule, ...] = ()


class Ranker(Protocol):
    """A learned combination of the sources: takes the place of the convex one."""

    def alone(self, query: "Query") -> bool:
        """Say whether it has a preference where no source answers."""
        ...

    def __call__(self, query: "Query", pool: "Pool") -> tuple[Floats, Floats] | None:
        """Return the preference for each candidate, 0..1 [P], and what it is made of.

        None where it has none.
        """
        ...

    def parts(self, query: "Query", pool: "Pool", positions: Rows) -> tuple[Floats, Floats]:
        """Take the preference for some candidates [N] apart, into parts that sum to it.

        Returns each source's [S, N], and what it would be without any source [N].
        """
        ...


class Query(NamedTuple):
    """Everything a stage may read about one request.

    A tuple, as Pool is: several are made for every request, and tuples are made and
    changed in a fraction of the time of frozen dataclasses.
    """

    surface: str  # "HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK"
    sources: tuple[str, ...]  # names of the pool's source axis
    columns: Columns
    history: Rows  # catalogue rows, oldest to newest [L]; known items only
    history_weight: Floats  # type and recency weight of each [L]
    session: Rows  # rows of the current session's events, oldest to newest
    session_weight: Floats
    rules: RuleSet
    trend: Trend  # decayed popularity in this market, 0..1, aligned with columns [n]
    weights: Mapping[str, float]  # blend weight by source for this surface, sums to 1
    quantiles: Mapping[str, tuple[Floats, Floats]]  # source -> (probabilities, scores)
    # log(P(target domain | recent domain) / P(target domain)) at [recent, target] [D, D]
    domain_transition: Floats
    text: str = ""  # search query
    limit: int = 100  # how many to order carefully (diversity)
    diversity: float = 0.1
    w_trend: float = 0.05
    w_session: float = 0.1
    w_cost: float = 0.0  # this shopper's; below 0 where the dearer is preferred
    w_cross_domain: float = 0.05
    explain: bool = False
    # What the surface is about: the item of ITEM, the content of CART; rows, never shown.
    context: Rows = _NO_ROWS
    # Returns the rows that sell most in this market lately; some thousands at most, perhaps none.
    trending: Callable[[], Rows] = _no_rows
    # True where the history event was a purchase [L]; empty: not known, said as "viewed".
    history_bought: Bools = _NO_BOOLS
    # History events in a domain after which its cross-domain term has faded to half.
    cross_domain_fade: float = 5.0
    # 0 leaves the slate's mix of domains to the scores, 1 is the history's mix only.
    domain_calibration: float = 0.0
    # Of the first n places a provider gets at most this share, for every n; 1: no bound.
    provider_share: float = 1.0
    # Set by a fusion artifact that holds a learned ranker; None: the convex combination.
    ranker: Ranker | None = None
    # What the ranker knows of the shopper: further back than the history of the models.
    past: Past = NO_PAST
    # Where prices stand in their categories; None where the cost weighs nothing.
    prices: PricePlaces | None = None
    # Rows that are candidates even where no source names them, the likeliest first.
    own: Rows = _NO_ROWS
    # Rows of what sells most just now, greatest first: candidates whoever names them.
    leading: Rows = _NO_ROWS
    # SEARCH: the row of the item whose id was typed; at most one.
    named: Rows = _NO_ROWS
    # And those of the items that hold each of several words that were typed, ascending.
    held: Rows = _NO_ROWS
    # Says whether an item has come since the models were trained, by its key.
    is_new: Callable[[int], bool] = _new


class Pool(NamedTuple):
    """The candidates of one request. P of them, S sources."""

    rows: Rows  # catalogue rows [P], unique
    scores: Floats  # raw model scores [S, P], NaN where absent
    calibrated: Floats  # after calibration, 0..1 [S, P], NaN where absent
    weights: Floats  # blend weight by source after renormalising [S]
    # Additive terms of the final score, in the order they were added; each [P].
    terms: Mapping[str, Floats] = MappingProxyType({})
    # Why a candidate is out; index into `reasons`, 0 means it is in [P].
    dropped: npt.NDArray[np.uint8] = _empty(np.uint8)
    reasons: tuple[str, ...] = ("",)
    # Rules that fired: label -> which candidates [P].
    fired: Mapping[str, Bools] = MappingProxyType({})
    # Final order as indices into the pool, kept candidates only; set by `order`.
    order: Rows = _NO_ROWS
    # Source scores that were infinite or absurd and were put aside.
    invalid_scores: int = 0
    # PINNED, HELD, NORMAL, SUNK or BURIED: the slate shows one tier after the other [P].
    tier: npt.NDArray[np.int8] = _empty(np.int8)
    # Place within the tier that a stage has fixed, else BY_SCORE [P].
    place: Rows = _NO_ROWS
    # True where no source had anything to say: what sells, and what the ranker knows alone.
    fallback: bool = False
    # True where the learned ranker made the term "fused".
    learned: bool = False
    # What it made it of, where that is to be explained: pages are turned minutes later.
    features: Floats | None = None

    @property
    def total(self) -> Floats:
        """Final score of each candidate: the sum of the terms [P]."""
        total = np.zeros(len(self.rows), np.float32)
        for term in self.terms.values():
            total += term
        return total

    @property
    def kept(self) -> Bools:
        """Which candidates are still in [P]."""
        kept: Bools = self.dropped == 0
        return kept


Stage = Callable[[Query, Pool], Pool]
