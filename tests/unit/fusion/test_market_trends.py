"""What sells: the tuning's trends of any moment are those of the gateway."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from gateway.reads import MarketEvents
from gateway.trends import Trends
from gateway.types import EventType
from models.data.schema import EVENT_TYPES
from models.fusion.catalogue import MarketTrends
from tests.unit.fusion.builders import ITEMS
from tests.unit.fusion.learning import NOW, catalogue, events, trips


@pytest.mark.parametrize("hours", [0, 1, 17])
def test_trends_are_those_of_the_gateway_at_any_hour(hours: int) -> None:
    now = NOW + timedelta(hours=hours)
    rng = np.random.default_rng(3)
    size = 300
    rows = [
        {
            "item_key": 100 + int(rng.integers(ITEMS)),
            "type": EVENT_TYPES[int(rng.integers(len(EVENT_TYPES)))],
            "time": NOW - timedelta(hours=float(rng.integers(1, 900))),
            "quantity": float(rng.integers(1, 9)),
            "market": ("north", "south")[int(rng.integers(2))],
        }
        for _ in range(size)
    ]
    # Sold at the very moment, and so nothing that was known before it.
    table = events([*rows, {"item_key": 101, "quantity": 9.0, "time": now}])
    found = MarketTrends(catalogue(), table, 3.0)
    # The moments of a day share what sold before it began.
    earlier = now - timedelta(hours=hours)
    assert found("north", earlier.timestamp()) is not None
    now_ms = round(now.timestamp() * 1000)
    served = Trends(3.0, 8, now_ms)
    # What a gateway reads when it starts.
    oldest = datetime.fromtimestamp(served.oldest_ms() / 1000, UTC)
    table = table.filter(pl.col("time").is_between(oldest, now, closed="left"))
    times = table["time"].dt.epoch("ms").to_numpy()
    served.replay(
        MarketEvents(
            markets=table["market"].to_list(),
            keys=table["item_key"].to_numpy(),
            types=np.array([EventType[str(t).upper()] for t in table["type"]], np.int8),
            times=times,
            quantities=table["quantity"].to_numpy().astype(np.float32),
            last_seq=size,
        ),
        (table["item_key"].to_numpy() - 100).astype(np.int32),
    )
    for market in ("north", "south", "elsewhere"):
        expected = served.now(market, ITEMS, now_ms)[:]
        trend = found(market, now.timestamp())
        assert trend is not None
        np.testing.assert_allclose(trend, expected, atol=1e-6)


def test_trends_of_a_moment_know_nothing_of_it_and_later() -> None:
    trends = MarketTrends(catalogue(), trips(), 3.0)
    sold = {0: [], 24: [*range(8), 20], 25: [*range(8), 10, 11, 20]}
    for hours, rows in sold.items():
        found = trends("north", (NOW + timedelta(hours=hours)).timestamp())
        assert found is not None
        assert np.flatnonzero(found).tolist() == rows


def test_a_market_where_nothing_sold_has_the_trend_of_all() -> None:
    known = events(
        [{"item_key": 101}, {"item_key": 102, "type": "dislike", "market": "quiet"}],
    )
    trends = MarketTrends(catalogue(), known, 3.0)
    tomorrow = (NOW + timedelta(days=1)).timestamp()
    quiet, everywhere = trends("quiet", tomorrow), trends("", tomorrow)
    assert quiet is not None
    assert quiet[1] > 0
    np.testing.assert_array_equal(quiet, everywhere)
