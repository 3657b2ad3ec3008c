"""The p95 of lately, within 5 %, following changes and forgetting the past."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.quantile import Quantile
from tests.unit.gateway.replicas.clock import Clock


@given(st.lists(st.floats(0.0002, 20.0), min_size=20, max_size=300), st.floats(0.5, 0.99))
def test_it_is_the_quantile_of_what_was_seen_at_most_a_bucket_too_high(
    seen: list[float], q: float
) -> None:
    found = Quantile(q, Clock())
    for seconds in seen:
        found.observe(seconds)
    exact = float(np.quantile(seen, q, method="inverted_cdf"))
    value = found.value
    assert value is not None
    # A rank that falls exactly between two observations may round to either.
    below = max((s for s in seen if s < exact), default=exact)
    assert below * 0.9999 <= value <= exact * 1.0501


def test_there_is_no_saying_from_a_few() -> None:
    found = Quantile(0.95, Clock())
    for _ in range(19):
        found.observe(0.003)
    assert found.value is None


def test_it_follows_a_source_that_became_slower() -> None:
    clock = Clock()
    found = Quantile(0.95, clock, half_life=10.0)
    for seconds in [0.003] * 1000 + [0.03] * 100:
        found.observe(seconds)
        clock.wait(0.05)
    assert found.value == pytest.approx(0.03, rel=0.06)


def test_what_was_seen_long_ago_says_nothing() -> None:
    clock = Clock()
    found = Quantile(0.95, clock, half_life=10.0)
    for _ in range(100):
        found.observe(0.003)
    assert found.value is not None
    clock.wait(100.0)
    assert found.value is None


def test_days_of_steady_load_leave_it_as_it_is() -> None:
    clock = Clock()
    found = Quantile(0.95, clock, half_life=1.0)
    for n in range(5_000):
        found.observe(0.002 if n % 10 else 0.02)
        clock.wait(0.02)
    assert found.value == pytest.approx(0.02, rel=0.06)


def test_it_is_worked_out_at_most_ten_times_a_second() -> None:
    clock = Clock()
    found = Quantile(0.5, clock)
    for _ in range(20):
        found.observe(0.002)
    before = found.value
    for _ in range(100):
        found.observe(0.2)
    assert found.value == before
    clock.wait(0.11)
    assert found.value == pytest.approx(0.2, rel=0.06)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e6])
def test_durations_beyond_the_buckets_go_to_the_outermost(seconds: float) -> None:
    found = Quantile(0.95, Clock())
    for _ in range(20):
        found.observe(seconds)
    assert found.value is not None


@pytest.mark.parametrize("read_first", [True, False])
def test_a_night_without_a_call_is_only_forgotten(read_first: bool) -> None:
    clock = Clock()
    found = Quantile(0.95, clock, half_life=10.0)
    for _ in range(100):
        found.observe(0.003)
    clock.wait(8 * 3600.0)
    if read_first:
        assert found.value is None
    for _ in range(100):
        found.observe(0.03)
    clock.wait(1.0)
    assert found.value == pytest.approx(0.03, rel=0.06)
