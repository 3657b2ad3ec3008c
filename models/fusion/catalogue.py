"""The catalogue as the fusion's arrays, by row of its item keys: what tuning looks items up in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.formulas import Floats, log_scaled
from artifacts.keys import Keys
from models.data.schema import EVENT_TYPES
from models.fusion.domains import learn_domains

Rows = npt.NDArray[np.int32]

# How much an event moves its market's trend; as gateway/trends.py.
_TREND_WEIGHT = dict(zip(EVENT_TYPES, (0.1, 0.2, 0.5, 1.0, 0.5, 0.0), strict=True))
_MOST_QUANTITY = 5.0
_LEAST_PEAK = 5.0
# Numbers of trends in memory while the fusion is tuned (four bytes each).
_KEPT_NUMBERS = 64_000_000
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


def market_trends(
    catalogue: Catalogue, events: pl.DataFrame, now: float, half_life_days: float
) -> dict[str, Floats]:
    """Return each market's trend at `now` (seconds since epoch), 0..1 [n] each.

    The formula of serving: decayed sales, the square root of their part of the
    market's strongest. Events without a time say nothing about now: empty then.
    """
    if not events.height or events["time"].null_count():
        return {}
    table = events.select(
        "market",
        row=pl.Series(catalogue.rows(events["item_key"].to_numpy())),
        worth=pl.col("type").replace_strict(_TREND_WEIGHT, return_dtype=pl.Float64)
        * pl.col("quantity").clip(1.0, _MOST_QUANTITY)
        * 0.5 ** ((now - pl.col("time").dt.epoch("us") / 1e6) / 86_400 / half_life_days),
    ).filter(pl.col("worth") > 0)  # what counts nothing does not make a market, as in serving
    found = {
        str(name): part for (name,), part in table.partition_by("market", as_dict=True).items()
    }
    found[COMMON] = table
    return {name: _trend(part, len(catalogue.keys)) for name, part in found.items()}


class DailyTrends:
    """Trends as they were at the start of any day, made when asked for; the newest are kept."""

    def __init__(self, catalogue: Catalogue, events: pl.DataFrame, half_life_days: float) -> None:
        self._catalogue = catalogue
        self._events = events
        self._half_life_days = half_life_days
        # By day and market; a million items have room for sixty, the oldest goes first.
        self._most = max(8, _KEPT_NUMBERS // max(len(catalogue.keys), 1))
        self._found: dict[tuple[int, str], Floats] = {}
        self._markets = set(events["market"].unique().to_list())

    def __call__(self, market: str, now: float) -> Floats | None:
        """Return a market's trend [n] on the day of `now`, from earlier days alone.

        None where events have no times.
        """
        if not np.isfinite(now) or self._events["time"].null_count():
            return None
        asked = int(now // 86_400), market if market in self._markets else COMMON
        if asked not in self._found:
            if len(self._found) >= self._most:
                self._found.pop(next(iter(self._found)))
            self._found[asked] = self._of(*asked)
        return self._found[asked]

    def _of(self, day: int, market: str) -> Floats:
        start = float(day * 86_400)
        earlier = pl.col("time").dt.epoch("us") / 1e6 < start
        mine = pl.lit(value=True) if market == COMMON else pl.col("market") == market
        found = market_trends(
            self._catalogue, self._events.filter(earlier & mine), start, self._half_life_days
        )
        if market in found:
            return found[market]
        # As in serving, a market without events yet has the trend of all.
        nothing = np.zeros(len(self._catalogue.keys), np.float32)
        return nothing if market == COMMON else self._of(day, COMMON)


def _trend(part: pl.DataFrame, size: int) -> Floats:
    sold = np.bincount(part["row"].to_numpy(), part["worth"].to_numpy(), size)
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
