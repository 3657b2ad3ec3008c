"""Values that are counted together are the values that were observed one by one."""

import math
import threading

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.runtime.histogram import MOST, Histogram

BOUNDS = (0.001, 0.01, 0.1)


def exposed(kind: type[prometheus_client.Histogram], values: list[float]) -> list[str]:
    registry = CollectorRegistry()
    histogram = kind("seconds", "Some time.", ["stage"], buckets=BOUNDS, registry=registry)
    for value in values:
        histogram.labels("merge").observe(value)
    return [
        line
        for line in generate_latest(registry).decode().splitlines()
        if line.startswith(("seconds_bucket", "seconds_count"))
    ]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.0, 0.001, 0.0010001, 0.01, 0.1, 0.1000001, 7.0, math.inf],
        [0.005] * (3 * MOST + 1),
    ],
)
def test_it_counts_as_the_librarys_does(values: list[float]) -> None:
    assert exposed(Histogram, values) == exposed(prometheus_client.Histogram, values)


def test_whoever_looks_sees_the_newest_value() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Some time.", buckets=BOUNDS, registry=registry)
    for number in range(1, 5):
        histogram.observe(0.5)
        assert registry.get_sample_value("seconds_count") == number
        assert registry.get_sample_value("seconds_sum") == pytest.approx(0.5 * number)


def test_nothing_is_lost_between_threads_that_observe_and_one_that_looks() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Some time.", buckets=BOUNDS, registry=registry)
    each, threads = 20_000, 4

    def observe() -> None:
        for _ in range(each):
            histogram.observe(0.005)

    working = [threading.Thread(target=observe) for _ in range(threads)]
    for thread in working:
        thread.start()
    seen = [0.0]
    while any(thread.is_alive() for thread in working):
        seen.append(registry.get_sample_value("seconds_count") or 0.0)
    for thread in working:
        thread.join()
    assert seen == sorted(seen)
    assert registry.get_sample_value("seconds_count") == each * threads
