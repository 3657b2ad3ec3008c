"""What sells in each market these days: popularity that halves with time.

Forward decay: instead of shrinking every old count as time goes by, a new event
counts more the later it happens, on a scale that starts at a fixed moment. The
comparison of items is the same and an event costs one addition.
(Cormode et al. 2009, "Forward decay".)
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from artifacts.ranker.shelf import LEADING, strongest
from gateway.fusion.types import Floats, Ints, Rows
from gateway.reads import Doubles, MarketEvents, MarketTrend
from gateway.types import EventType

# The market every event counts for, and the one that stands in for an unknown one.
COMMON = ""
_TYPE_WEIGHT = np.zeros(8)
_TYPE_WEIGHT[EventType.VIEW] = 0.1
_TYPE_WEIGHT[EventType.CLICK] = 0.2
_TYPE_WEIGHT[EventType.CART] = 0.5
_TYPE_WEIGHT[EventType.PURCHASE] = 1.0
_TYPE_WEIGHT[EventType.LIKE] = 0.5
# A bulk buyer is one shopper, not a crowd.
_MOST_QUANTITY = 5.0
# The strongest item of a quiet market counts as if this many purchases were the peak.
_LEAST_PEAK = 5.0
# Past this many half-lives an event is worth nothing (2^-8).
FORGOTTEN = 8.0
# What is left of a view then, and as little of anything: nothing too, here and in the file.
_LEAST = 2.0**-FORGOTTEN * _TYPE_WEIGHT[EventType.VIEW]
# Half-lives after which the scale starts anew, before its numbers grow beyond 2^500.
_MOST_GROWTH = 500.0
# A clock that is wrong may be asked about what floats do not hold.
_LARGEST = 1_000.0
# A market's strongest rows are looked for anew after this long: what rises meanwhile is
# added at once, what falls may stay a minute.
_STALE_MS = 60_000
_TRENDING = 2_048


class _Market:
    """Forward-decayed weights by catalogue row, and which are the greatest."""

    def __init__(self, size: int) -> None:
        self.weights: Doubles = np.zeros(size)
        self.peak = 0.0
        self.strongest: Rows = np.zeros(0, np.int32)
        self.leading: Rows = np.zeros(0, np.int32)
        self.made_ms = -_STALE_MS
        self.risen: set[int] = set()


class MarketNow:
    """A market's trend by row, 0..1, worked out for the rows that are asked for.

    The square root of each item's part of the strongest one's decayed sales: sales
    are so skewed that on a straight scale all but a few would be 0. An array of all
    rows would be made anew after every event; this is as of the moment it is read.
    """

    def __init__(self, market: _Market, size: int, growth: float) -> None:
        """`size` rows count; `growth`: what an event counts now."""
        self._market = market
        self._size = size
        self._least_peak = _LEAST_PEAK * growth
        # As little is not kept over a restart.
        self._least = _LEAST * growth

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the trend of a row or of rows of any shape, float32; rows below len()."""
        weights = self._market.weights[: self._size][rows]
        weights = np.where(weights > self._least, weights, 0.0)
        peak = max(self._market.peak, self._least_peak)
        # An item that is gone may have more.
        return np.sqrt(np.minimum(weights / peak, 1.0)).astype(np.float32)


class TrendThen:
    """The trend of some rows as it was at a moment that is gone."""

    def __init__(self, rows: Rows, values: Floats) -> None:
        """`rows` ascending, and the trend of each [P]."""
        self._rows = rows
        self._values = values

    def __len__(self) -> int:
        return int(self._rows[-1]) + 1 if len(self._rows) else 0

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the trend of those rows, of any shape, float32."""
        return self._values[np.searchsorted(self._rows, rows)]


class Trends:
    """Decayed popularity by market. All methods belong to the event loop."""

    def __init__(
        self,
        half_life_days: float,
        max_markets: int,
        now_ms: int,
        keys: Callable[[], Ints] | None = None,
    ) -> None:
        """`keys` returns the item key of each row, by which equals are told apart."""
        self._keys = keys
        self._half_life_ms = max(half_life_days, 1e-3) * 86_400_000.0
        self._max_markets = max_markets
        self._start_ms = now_ms
        self._markets: dict[str, _Market] = {COMMON: _Market(0)}
        # The newest event that is counted here.
        self.last_seq = 0

    def set_half_life(self, days: float, now_ms: int) -> None:
        """Let what is counted so far stand as of now, and fade by another half-life."""
        half_life_ms = max(days, 1e-3) * 86_400_000.0
        if half_life_ms == self._half_life_ms:
            return
        now_ms = self._present(now_ms)
        growth, self._half_life_ms, self._start_ms = self._growth(now_ms), half_life_ms, now_ms
        for market in self._markets.values():
            market.weights = market.weights / growth
            market.peak /= growth
            market.made_ms = -_STALE_MS

    def _growth(self, time_ms: float) -> float:
        """How much an event at this time counts beside one at the start."""
        return math.exp2(min((time_ms - self._start_ms) / self._half_life_ms, _LARGEST))

    def _present(self, now_ms: int) -> int:
        """Return the time it is: not before the scale's start, whatever the clock says.

        A machine that starts before its clock is set knows events of what is the future
        to it; beside these, what happens now would count nothing at all.
        """
        return max(now_ms, self._start_ms)

    def oldest_ms(self) -> int:
        """Return the time before which events no longer matter."""
        return int(self._start_ms - FORGOTTEN * self._half_life_ms)

    def restore(self, snapshots: Mapping[str, MarketTrend], rows_of: Mapping[str, Rows]) -> None:
        """Take in stored snapshots, largest markets first; `rows_of` maps their keys to rows."""
        for name in sorted(snapshots, key=lambda m: -float(snapshots[m].weights.sum())):
            stored, market = snapshots[name], self._market(name)
            if market is None:
                continue
            self._keep_in_range(stored.time_ms)
            known = rows_of[name] >= 0
            rows = rows_of[name][known]
            self._fit(market, int(rows.max(initial=-1)) + 1)
            market.weights[rows] = stored.weights[known] * self._growth(stored.time_ms)
            market.peak = float(market.weights.max(initial=0.0))
            market.made_ms = -_STALE_MS

    def replay(self, events: MarketEvents, rows: Rows) -> None:
        """Count stored events [E] at start; `rows` are those of their items, -1 unknown."""
        self._keep_in_range(int(events.times.max(initial=self._start_ms)))
        grown = np.exp2((events.times - self._start_ms) / self._half_life_ms)
        quantity = np.clip(events.quantities, 1.0, _MOST_QUANTITY)
        worth = _TYPE_WEIGHT[events.types] * quantity * grown
        names, where, counts = np.unique(
            np.array(events.markets, object).astype(str), return_inverse=True, return_counts=True
        )
        # As one by one: what counts nothing does not make a market.
        known = (rows >= 0) & (worth > 0)
        self._count(COMMON, rows[known], worth[known])
        for index in np.argsort(-counts, kind="stable").tolist():
            mine = known & (where == index)
            if str(names[index]) != COMMON:
                self._count(str(names[index]), rows[mine], worth[mine])
        # Not the larger of both: a repaired file may have lost the newest events, and
        # counts on from what it has.
        self.last_seq = events.last_seq

    def _count(self, name: str, rows: Rows, worth: Doubles) -> None:
        market = self._market(name) if len(rows) else None
        if market is None:
            return
        self._fit(market, int(rows.max()) + 1)
        np.add.at(market.weights, rows, worth)
        market.peak = float(market.weights.max())
        market.made_ms = -_STALE_MS

    def add(self, market: str, row: int, kind: EventType, quantity: float, time_ms: int) -> None:
        """Count one event, in its market and in the common one."""
        worth = float(_TYPE_WEIGHT[kind]) * min(max(quantity, 1.0), _MOST_QUANTITY)
        if row < 0 or not worth:
            return
        self._keep_in_range(time_ms)
        worth *= self._growth(time_ms)
        for name in {market, COMMON}:
            found = self._market(name)
            if found is not None:
                self._fit(found, row + 1)
                found.weights[row] += worth
                found.peak = max(found.peak, float(found.weights[row]))
                found.risen.add(row)
                if len(found.risen) > _TRENDING:  # the next that asks looks at all rows
                    found.risen.clear()
                    found.made_ms = -_STALE_MS

    def leave_out(self, rows: Rows, gone: Rows) -> None:
        """Measure by the strongest item that is left: `rows` went just now, `gone` at any time.

        What was counted of them stays, for the case that they come back.
        """
        for market in self._markets.values():
            size = len(market.weights)
            if market.weights[rows[rows < size]].max(initial=0.0) >= market.peak > 0.0:
                left = market.weights.copy()
                left[gone[gone < size]] = 0.0
                market.peak = float(left.max())

    def take_back(self, rows: Rows) -> None:
        """Measure by these rows too: their items may have been gone."""
        for market in self._markets.values():
            known = market.weights[rows[rows < len(market.weights)]]
            market.peak = max(market.peak, float(known.max(initial=0.0)))

    def now(self, market: str, size: int, now_ms: int) -> MarketNow:
        """Return a market's trend over the first `size` rows; the common one's if it has none.

        Changes nothing: a clock that leaps ahead and back must not cost what was counted.
        """
        found = self._markets.get(market, self._markets[COMMON])
        self._fit(found, size)
        return MarketNow(found, size, self._growth(self._present(now_ms)))

    def trending(self, market: str, now_ms: int) -> Rows:
        """Return the rows that sell most in a market, no order; the array never changes."""
        found = self._looked_at(market, now_ms)
        if found.risen:
            risen = np.fromiter(found.risen, np.int32)
            found.strongest = np.union1d(found.strongest, risen).astype(np.int32)
            found.risen.clear()
        return found.strongest

    def leading(self, market: str, now_ms: int) -> Rows:
        """Return the few rows that sell most in a market, greatest first, a minute ago or less."""
        return self._looked_at(market, now_ms).leading

    def _looked_at(self, market: str, now_ms: int) -> _Market:
        """Return a market, or the common one, whose strongest rows were found a minute ago or less.

        What has risen since is left to who asks for all of them: it is not for every ranking.
        """
        found = self._markets.get(market, self._markets[COMMON])
        if not 0 <= now_ms - found.made_ms < _STALE_MS:  # older, or the clock was set back
            keys = None if self._keys is None else self._keys()
            least = _LEAST * self._growth(self._present(now_ms))
            weights = np.where(found.weights > least, found.weights, 0.0)
            found.strongest = strongest(weights, _TRENDING, keys)
            found.leading = found.strongest[:LEADING]
            found.made_ms = now_ms
            found.risen.clear()
        return found

    def snapshots(self, keys: Ints, now_ms: int) -> dict[str, MarketTrend]:
        """Return every market decayed to `now_ms`; `keys` are the catalogue's, by row."""
        self._keep_in_range(now_ms)
        now_ms = self._present(now_ms)
        found = {}
        for name, market in self._markets.items():
            weights = market.weights[: len(keys)] / self._growth(now_ms)
            rows = np.flatnonzero(weights > _LEAST)
            found[name] = MarketTrend(keys[rows], weights[rows], now_ms)
        return found

    def _keep_in_range(self, time_ms: int) -> None:
        """Start the scale anew before its numbers grow too large."""
        half_lives = (time_ms - self._start_ms) / self._half_life_ms
        if half_lives < _MOST_GROWTH:
            return
        shrink = math.exp2(-half_lives)
        self._start_ms = time_ms
        for market in self._markets.values():
            market.weights = market.weights * shrink
            market.peak *= shrink
            market.made_ms = -_STALE_MS

    def _market(self, name: str) -> _Market | None:
        """Return a market, made if there is room; None where there is none left."""
        market = self._markets.get(name)
        # One place beyond the limit for the common market.
        if market is None and len(self._markets) <= self._max_markets:
            market = self._markets[name] = _Market(0)
        return market

    def _fit(self, market: _Market, size: int) -> None:
        if len(market.weights) < size:
            more = max(size, len(market.weights) * 5 // 4)
            market.weights = np.concatenate([market.weights, np.zeros(more - len(market.weights))])
