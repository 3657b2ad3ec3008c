"""The limit finds what a machine can do, from nothing but how long calls took."""

import pytest

from gateway.admission.limit import Limit


def limit(start: int = 40, floor: int = 8, ceiling: int = 200) -> Limit:
    return Limit(target=0.1, floor=floor, ceiling=ceiling, start=start)


def windows(of: Limit, count: int, seconds: float, busy: int | None = None) -> None:
    """Fill so many windows with calls that took as long."""
    now = 0.0
    while count:
        now += 0.001
        count -= of.note(seconds, of.value if busy is None else busy, now)


def test_slow_calls_lower_the_limit_and_quick_ones_raise_it_again() -> None:
    found = limit()
    windows(found, 3, seconds=0.2)
    lowered = found.value
    assert lowered < 40
    windows(found, 10, seconds=0.05)
    assert found.value > lowered


def test_a_limit_that_nobody_reached_is_not_raised() -> None:
    found = limit()
    windows(found, 10, seconds=0.01, busy=3)
    assert found.value == 40


def test_too_slow_with_few_inside_means_even_fewer_not_less_than_the_limit() -> None:
    found = limit(start=200)
    windows(found, 1, seconds=0.2, busy=20)
    assert found.value == 16


def test_it_stays_between_floor_and_ceiling() -> None:
    found = limit()
    windows(found, 100, seconds=9.0)
    assert found.value == 8
    windows(found, 100, seconds=0.001)
    assert found.value == 200


def test_one_slow_call_among_quick_ones_moves_nothing() -> None:
    found = limit(start=20)
    for number in range(10):
        found.note(5.0 if number == 4 else 0.09, 5, number / 1000)
    assert found.value == 20
    assert found.typical == pytest.approx(0.09)


def test_a_window_of_few_calls_ends_by_time() -> None:
    found = limit()
    assert not found.note(0.05, 1, now=0.0)
    assert not found.note(0.05, 1, now=0.3)
    assert found.note(0.05, 1, now=0.6)
    assert found.load == pytest.approx(0.5)
