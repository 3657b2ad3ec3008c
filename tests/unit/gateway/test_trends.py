"""Popularity that halves with time, market by market."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reads import MarketEvents
from gateway.trends import COMMON, Trends
from gateway.types import EventType

DAY = 86_400_000
NOW = 1_800_000_000_000


def trends(half_life_days: float = 1.0, max_markets: int = 8) -> Trends:
    return Trends(half_life_days, max_markets, NOW)


def buy(made: Trends, market: str, row: int, count: int = 1, time_ms: int = NOW) -> None:
    for _ in range(count):
        made.add(market, row, EventType.PURCHASE, 1.0, time_ms)


def test_what_sells_now_beats_what_sold_more_two_half_lives_ago() -> None:
    made = trends()
    buy(made, "m", 0, 7, NOW - 2 * DAY)
    buy(made, "m", 1, 2)
    vector = made.now("m", 3, NOW)[:]
    assert vector[1] > vector[0] > vector[2] == 0


def test_markets_have_trends_of_their_own_and_unknown_ones_share_the_common_trend() -> None:
    made = trends()
    buy(made, "here", 0, 9)
    buy(made, "there", 1, 6)
    assert made.now("here", 2, NOW)[:].argmax() == 0
    assert made.now("there", 2, NOW)[:].argmax() == 1
    np.testing.assert_array_equal(made.now("nowhere", 2, NOW)[:], made.now(COMMON, 2, NOW)[:])
    assert made.now(COMMON, 2, NOW)[:].all()


def test_one_event_in_a_quiet_market_is_no_craze() -> None:
    made = trends()
    buy(made, "m", 0)
    assert 0 < made.now("m", 1, NOW)[0] < 0.5


def test_markets_beyond_the_limit_count_for_the_common_trend_only() -> None:
    made = trends(max_markets=1)
    buy(made, "first", 0, 6)
    buy(made, "second", 1, 6)
    np.testing.assert_array_equal(made.now("second", 2, NOW)[:], made.now(COMMON, 2, NOW)[:])
    assert made.now("first", 2, NOW)[1] == 0


def test_a_trend_is_read_as_of_the_moment_it_is_looked_at() -> None:
    made = trends()
    buy(made, "m", 0, 9)
    given_out = made.now("m", 40, NOW)
    assert given_out[1] == 0
    buy(made, "m", 1, 18)
    assert given_out[np.array([1, 0, 2])].tolist() == pytest.approx([1, 0.5**0.5, 0])


def test_what_trends_is_known_without_looking_at_every_row() -> None:
    made = trends()
    made.add("m", 9_999, EventType.VIEW, 1.0, NOW)
    for row in range(3_000):
        buy(made, "m", row, 1 + row % 2)
    found = made.trending("m", NOW)
    assert len(found) == 2_048
    assert set(range(1, 3_000, 2)) <= set(found.tolist())
    buy(made, "m", 5_000)
    assert 5_000 in made.trending("m", NOW + 1)
    assert 5_000 not in found
    assert len(made.trending("m", NOW + DAY)) == 2_048
    assert not len(trends().trending("m", NOW))


def test_what_is_gone_is_no_measure_of_what_is_left_until_it_is_back() -> None:
    made = trends()
    for row, count in enumerate((80, 40, 20)):
        buy(made, "m", row, count)
    all_rows = np.arange(3, dtype=np.int32)
    before = made.now("m", 3, NOW)[:]
    made.leave_out(all_rows[1:2], all_rows[1:2])
    made.leave_out(all_rows[:1], all_rows[:2])
    for market in ("m", COMMON):
        np.testing.assert_allclose(made.now(market, 3, NOW)[:], 1.0)
    made.take_back(all_rows[:1])
    np.testing.assert_array_equal(made.now("m", 3, NOW)[:], before)


def test_it_grows_with_the_catalogue_and_ignores_what_is_not_in_it() -> None:
    made = trends()
    buy(made, "m", -1)
    buy(made, "m", 500)
    assert len(made.now("m", 10, NOW)) == 10
    assert made.now("m", 600, NOW)[500] > 0


def test_snapshots_bring_the_trends_back_as_they_were() -> None:
    made = trends()
    buy(made, "m", 0, 6, NOW - DAY)
    buy(made, "m", 2, 4)
    keys = np.array([10, 20, 30], np.int64)
    later = NOW + DAY
    stored = made.snapshots(keys, later)
    again = Trends(1.0, 8, later)
    # The catalogue has other rows after a restart: key 30 comes first, 10 is gone.
    again.restore(stored, {m: np.array([-1, 0], np.int32) for m in stored})
    np.testing.assert_allclose(again.now("m", 1, later)[0], made.now("m", 3, later)[2], rtol=0.3)
    assert again.now("m", 1, later)[0] > 0


@pytest.mark.parametrize("clock", [0, NOW - 30 * 365 * DAY])
def test_a_clock_that_is_not_set_yet_loses_no_trends(clock: int) -> None:
    keys, known = np.array([10, 20], np.int64), np.arange(2, dtype=np.int32)
    before = trends(1.0)
    for _ in range(9):
        before.add("m", 0, EventType.PURCHASE, 1.0, NOW - DAY)
    stored = before.snapshots(keys, NOW)

    early = Trends(1.0, 8, clock)
    early.restore(stored, {m: known[np.isin(keys, s.keys)] for m, s in stored.items()})
    early.replay(
        MarketEvents(
            markets=["m"], keys=keys[1:], types=np.array([EventType.PURCHASE], np.int8),
            times=np.array([NOW], np.int64), quantities=np.ones(1, np.float32), last_seq=7,
        ),
        known[1:],
    )  # fmt: skip
    assert np.isfinite(early.now("nobody's", 2, clock)[:]).all()
    early.set_half_life(2.0, clock)
    early.set_half_life(1.0, clock)
    kept = early.snapshots(keys, clock)
    # The clock is set, here and at the next start.
    after = Trends(1.0, 8, NOW)
    after.restore(kept, {m: known[np.isin(keys, s.keys)] for m, s in kept.items()})
    for found in (early, after):
        shown = found.now("m", 2, NOW)[:]
        assert shown[0] == pytest.approx(np.sqrt(4.5 / 5), rel=0.01)
        assert shown[1] == pytest.approx(np.sqrt(1 / 5), rel=0.01)


def test_a_clock_that_leaps_ahead_and_back_costs_nothing_that_was_counted() -> None:
    made = trends(1.0)
    buy(made, "m", 0, 9)
    before = made.now("m", 2, NOW)[:].tolist()
    assert made.trending("m", NOW).tolist() == [0]
    for years in (1, 3, 300):
        ahead = NOW + years * 365 * DAY
        assert not made.now("m", 2, ahead)[:].any()
        assert not len(made.trending("m", ahead))
    assert made.now("m", 2, NOW)[:].tolist() == before
    # Nor does the list of what trends only grow from then on.
    for row in range(1, 2_049):
        buy(made, "m", row, 2)
    assert len(made.trending("m", NOW)) == 2_048


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(1, 5)), max_size=30))
def test_counting_in_bulk_and_one_by_one_agree(rows: list[tuple[int, int, int]]) -> None:
    one, bulk = trends(), trends()
    for row, age, kind in rows:
        one.add("m", row, EventType(kind), 1.0, NOW - age * DAY)
    bulk.replay(
        MarketEvents(
            markets=["m"] * len(rows),
            keys=np.ones(len(rows), np.int64),
            types=np.array([kind for _, _, kind in rows], np.int8),
            times=np.array([NOW - age * DAY for _, age, _ in rows], np.int64),
            quantities=np.ones(len(rows), np.float32),
            last_seq=7,
        ),
        np.array([row for row, _, _ in rows], np.int32),
    )
    for market in ("m", COMMON):
        np.testing.assert_allclose(
            one.now(market, 10, NOW)[:], bulk.now(market, 10, NOW)[:], rtol=1e-5
        )
    assert bulk.last_seq == 7


@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 4000)), min_size=1, max_size=40),
    st.floats(0.05, 30),
)
def test_values_stay_within_0_and_1_however_long_it_runs(
    rows: list[tuple[int, int]], half_life: float
) -> None:
    made = trends(half_life)
    now = NOW
    for row, days in rows:
        now += days * DAY
        made.add("m", row, EventType.PURCHASE, 1e6, now)
        vector = made.now("m", 20, now)[:]
        assert np.isfinite(vector).all()
        assert vector.min() >= 0
        assert vector.max() == pytest.approx(1.0, abs=1e-3)


def test_a_market_of_events_that_count_nothing_has_the_trend_of_all_after_a_start_too() -> None:
    """Here a dislike, there an item that the catalogue lacks by now."""
    kinds = [EventType.PURCHASE, EventType.DISLIKE, EventType.PURCHASE]
    made = trends(max_markets=1)
    made.replay(
        MarketEvents(
            markets=["sold", "disliked", "gone"],
            keys=np.array([1, 1, 2]),
            types=np.array(kinds, np.int8),
            times=np.full(3, NOW),
            quantities=np.ones(3, np.float32),
            last_seq=3,
        ),
        np.array([0, 0, -1], np.int32),
    )
    for market in ("disliked", "gone"):
        assert made.now(market, 1, NOW)[0] == made.now(COMMON, 1, NOW)[0] > 0
    # Nor does it take the place of one that sells.
    buy(made, "sold", 0)
    assert made.now("sold", 1, NOW)[0] > 0


def test_what_a_restart_forgets_counts_nothing_before_it_either() -> None:
    made = trends(1.0)
    buy(made, "m", 0, 9)
    buy(made, "m", 1, 1, NOW - 9 * DAY)
    keys, rows = np.array([10, 20], np.int64), np.arange(2, dtype=np.int32)
    for days in (1, 3):
        later = NOW + days * DAY
        stored = made.snapshots(keys, later)
        again = Trends(1.0, 8, later)
        again.restore(stored, {m: rows[np.isin(keys, s.keys)] for m, s in stored.items()})
        shown = made.now("m", 2, later)[:]
        np.testing.assert_allclose(again.now("m", 2, later)[:], shown, rtol=1e-6)
        assert again.leading("m", later).tolist() == made.leading("m", later).tolist()
        assert bool(shown[1]) == (days == 1)
