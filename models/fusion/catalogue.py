"""The catalogue as the fusion's arrays, by row of its item keys: what tuning looks items up in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.formulas import Floats, log_scaled
from artifacts.keys import Keys
from models.data.schema import EVENT_TYPES
from models.fusion.domains import learn_domains

Rows = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]
K = TypeVar("K")
V = TypeVar("V")

# How much an event moves its market's trend; as gateway/trends.py.
_TREND_WEIGHT = dict(zip(EVENT_TYPES, (0.1, 0.2, 0.5, 1.0, 0.5, 0.0), strict=True))
_MOST_QUANTITY = 5.0
_LEAST_PEAK = 5.0
# Half-lives after which an event is forgotten, and less than what one counts until then.
_FORGOTTEN, _NOTHING = 8.0, 1e-6
_DAY = 86_400.0
# Numbers of trends in memory while the fusion is tuned (twelve bytes each).
_KEPT_NUMBERS = 32_000_000
# The market that stands in for one that is unknown: all of them together.
COMMON = ""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """n items by ascending key; D domains."""

    keys: Keys  # int64 [n]
    domain: Rows  # int32 [n]; -1 unknown
    domain_names: tuple[str, ...]
    category: Rows  # int32 [n]; -1 unknown
    vectors: Floats  # unit vectors or zero rows, float32 [n, d]

    def rows(self, keys: Keys) -> Rows:
        """Return the row of each key of any shape, int32; every key must be known."""
        return np.searchsorted(self.keys, keys).astype(np.int32)


def make_catalogue(items: pl.DataFrame, vectors: Mapping[int, Floats] | Floats) -> Catalogue:
    """Build from an items frame; `vectors` float32 [n, d] in ascending key order."""
    ordered = items.sort("item_key")
    domain, domain_names = codes(ordered["domain"])
    category, _ = codes(ordered["category"])
    table = np.asarray(vectors, np.float32)
    keys = ordered["item_key"].to_numpy().astype(np.int64)
    return Catalogue(keys, domain, domain_names, category, table)


class MarketTrends:
    """The markets' trends as they were at any moment; what sold until a day began is kept.

    The formula of serving: decayed sales, the square root of their part of the market's
    strongest; after eight half-lives an event is forgotten.
    """

    def __init__(self, catalogue: Catalogue, events: pl.DataFrame, half_life_days: float) -> None:
        self._size = len(catalogue.keys)
        self._half_life = max(half_life_days, 1e-3) * _DAY
        self._timed = not events["time"].null_count()
        worth = pl.col("type").replace_strict(_TREND_WEIGHT, return_dtype=pl.Float64)
        worth *= pl.col("quantity").clip(1.0, _MOST_QUANTITY)
        # What counts nothing does not make a market, as in serving.
        sold = events.with_columns(worth=worth).filter(pl.col("worth") > 0).sort("time")
        self._time = sold["time"].dt.epoch("us").to_numpy() / 1e6
        self._row = catalogue.rows(sold["item_key"].to_numpy())
        self._worth = sold["worth"].to_numpy().astype(np.float32)
        names = sold["market"].unique().sort().to_list()
        self._markets = {name: number for number, name in enumerate(names, 1)}
        self._market = sold["market"].rank("dense").to_numpy()
        # By day or moment, and market; a million items have room for thirty of each.
        self._most = max(8, _KEPT_NUMBERS // max(self._size, 1))
        self._days: dict[tuple[int, str], Doubles] = {}
        self._found: dict[tuple[float, str], Floats] = {}

    def __call__(self, market: str, now: float) -> Floats | None:
        """Return a market's trend, 0..1 [n], from what happened before `now` (s since epoch).

        None where events have no times. A market without events has the trend of all.
        """
        if not np.isfinite(now) or not self._timed:
            return None
        asked = now, market
        if asked not in self._found:
            sold = self._sold(market, now)
            alone = market == COMMON or sold.any()
            self._keep(self._found, asked, _trend(sold if alone else self._sold(COMMON, now)))
        return self._found[asked]

    def _sold(self, market: str, now: float) -> Doubles:
        """Return what sold of each item until `now`, decayed [n]."""
        if market != COMMON and market not in self._markets:
            return np.zeros(self._size)
        begun = now // _DAY * _DAY
        day = int(begun // _DAY), market
        if day not in self._days:
            self._keep(self._days, day, self._between(*self._remembered(begun), market, begun))
        (oldest, newest), (since, until) = self._remembered(begun), self._remembered(now)
        sold = self._days[day] * 0.5 ** ((now - begun) / self._half_life)
        sold += self._between(newest, until, market, now)
        sold -= self._between(oldest, since, market, now)
        # Less than any event is what rounding leaves of what is forgotten.
        return np.where(sold > _NOTHING, sold, 0.0)

    def _keep(self, kept: dict[K, V], key: K, value: V) -> None:
        """Keep a value; the oldest goes first where there are too many."""
        if len(kept) >= self._most:
            kept.pop(next(iter(kept)))
        kept[key] = value

    def _remembered(self, now: float) -> tuple[int, int]:
        """Return from and up to which event what happened before `now` is remembered."""
        first, last = np.searchsorted(self._time, [now - _FORGOTTEN * self._half_life, now])
        return int(first), int(last)

    def _between(self, start: int, stop: int, market: str, now: float) -> Doubles:
        """Return what events from `start` to `stop` count at `now`, by row [n]."""
        part = slice(start, max(stop, start))
        row, worth = self._row[part], self._worth[part]
        counts = worth * 0.5 ** ((now - self._time[part]) / self._half_life)
        if market != COMMON:
            mine = self._market[part] == self._markets[market]
            row, counts = row[mine], counts[mine]
        return np.bincount(row, counts, self._size).astype(np.float64)


def _trend(sold: Doubles) -> Floats:
    trend: Floats = np.sqrt(sold / max(float(sold.max(initial=0.0)), _LEAST_PEAK))
    return trend.astype(np.float32)


def codes(names: pl.Series) -> tuple[Rows, tuple[str, ...]]:
    """Number the names in ascending order, int32 [n]; "" is -1. Return them with the names."""
    known = names.unique().sort()
    known = known.filter(known != "")
    codes = np.searchsorted(known.to_numpy(), names.to_numpy()).astype(np.int32)
    return np.where((names != "").to_numpy(), codes, np.int32(-1)), tuple(known.to_list())


def domain_tables(
    catalogue: Catalogue, events: pl.DataFrame, *, ordered: bool
) -> tuple[Floats, Floats]:
    """Return learn_domains' table and prior of the catalogue's domains, from events."""
    liked = events.filter(pl.col("type") != "dislike").sort("user_id", "time", "order")
    domain = catalogue.domain[catalogue.rows(liked["item_key"].to_numpy())].astype(np.int64)
    user = liked["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    named = domain >= 0
    size = len(catalogue.domain_names)
    return learn_domains(domain[named], user[named], size, ordered=ordered)


def popularity_of(catalogue: Catalogue, events: pl.DataFrame) -> Floats:
    """Return each item's number of events on a log scale, 0..1 [n]."""
    liked = events.filter(pl.col("type") != "dislike")
    rows = catalogue.rows(liked["item_key"].to_numpy())
    return log_scaled(np.bincount(rows, minlength=len(catalogue.keys)))
