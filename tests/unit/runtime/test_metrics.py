"""What dashboards can rely on."""

import prometheus_client

from services.runtime import metrics

_ALL = [
    m for m in vars(metrics).values() if isinstance(m, prometheus_client.metrics.MetricWrapperBase)
]
_BOUNDED = {
    "method", "outcome", "role", "release", "source", "version", "surface", "stage", "reason",
    "type", "state", "kind", "lane", "part",
}  # fmt: skip


def test_every_metric_is_named_explained_and_bounded() -> None:
    assert len(_ALL) >= 15
    for metric in _ALL:
        described = next(iter(metric.describe()))
        assert described.name.startswith("plait_")
        assert described.documentation.endswith(".")
        assert set(metric._labelnames) <= _BOUNDED


def test_latencies_are_seconds_and_resolve_below_a_millisecond() -> None:
    latencies = [m for m in _ALL if isinstance(m, prometheus_client.Histogram)]
    for histogram in latencies:
        name = next(iter(histogram.describe())).name
        assert name.endswith(("_seconds", "_rows"))
        if name.endswith("_seconds"):
            assert sum(bound < 0.001 for bound in histogram._kwargs["buckets"]) >= 3
