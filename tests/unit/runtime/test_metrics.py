"""What dashboards can rely on."""

from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import ProcessCollector

from services.runtime import metrics
from services.runtime.workers.summed import Summed

_ALL = [
    m for m in vars(metrics).values() if isinstance(m, prometheus_client.metrics.MetricWrapperBase)
]
_BOUNDED = {
    "method", "outcome", "role", "release", "source", "version", "surface", "stage", "reason",
    "type", "state", "kind", "lane", "part", "written",
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


def test_workers_were_started_when_they_were_whatever_the_clock_says_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started() -> float:
        found = {s.name: s.value for metric in summed.collect() for s in metric.samples}
        return found.get("process_start_time_seconds", 0.0)

    summed = Summed(tmp_path, list)
    before = started()
    boot = ProcessCollector(registry=None)._boot_time()
    # Where a clock is set a little, the system was booted at another moment.
    monkeypatch.setattr(ProcessCollector, "_boot_time", lambda _: (boot or 0.0) + 1.0)
    assert started() == before


def test_a_worker_that_has_not_made_its_file_counts_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    assert [metric.name for metric in Summed(tmp_path, list).collect()]
