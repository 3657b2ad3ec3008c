"""Metrics are named, explained and bounded, so that a dashboard can trust them."""

import re

import pytest
from prometheus_client import Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from tests.contracts.promql import declared

# Every label takes one of a few values, known when a process starts or a model is
# loaded. A user, an item or a query here would fill Prometheus' memory.
BOUNDED = {
    "kind",  # of call that is admitted: a surface, EVENTS, CATALOGUE, PROFILES
    "lane",  # of admission: rankings, events, catalogue, profiles
    "method",  # of our own protos
    "outcome",  # of a fixed list
    "part",  # of a fixed list
    "reason",  # of a fixed list
    "release",
    "role",
    "source",
    "stage",
    "state",  # of a fixed list
    "surface",
    "type",  # of event
    "version",  # of a model being served
    "written",  # here or elsewhere
}
each_metric = pytest.mark.parametrize("metric", declared().values(), ids=lambda m: m._name)


@each_metric
def test_a_metric_says_whose_it_is_and_what_it_counts(metric: MetricWrapperBase) -> None:
    assert metric._name.startswith("plait_")
    assert re.fullmatch(r"[a-z_]+", metric._name)
    assert metric._documentation.endswith(".")
    assert len(metric._documentation) > 20


@each_metric
def test_labels_are_bounded(metric: MetricWrapperBase) -> None:
    assert set(metric._labelnames) <= BOUNDED
    assert len(metric._labelnames) <= 3


def test_times_are_seconds_and_resolve_below_a_millisecond() -> None:
    histograms = [m for m in declared().values() if isinstance(m, Histogram)]
    times = [h for h in histograms if h._name.endswith("_seconds")]
    assert {h._name for h in histograms} - {h._name for h in times} == {"plait_batch_rows"}
    for histogram in times:
        bounds = histogram._upper_bounds
        assert list(bounds) == sorted(set(bounds))
        assert sum(b < 0.001 for b in bounds) >= 3
        assert 0.1 in bounds, "the latency alert looks at this bound"


def test_only_counters_are_totals() -> None:
    gauges = [m._name for m in declared().values() if isinstance(m, Gauge)]
    assert [name for name in gauges if name.endswith("_total")] == []
