"""The metrics of all workers as those of one process.

Counters and histograms are sums, also over workers that have died. Gauges say what is
true of a living worker, the largest where they differ: a version that three workers
serve is served, not served three times. The process's own figures (CPU, memory) are
sums over the parent and its workers.
"""

import contextlib
import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from services.runtime import metrics

# Gauges that are 1 for what is there and absent otherwise; a worker can only write 0.
_PRESENCE = frozenset({"plait_model_info"})
_CPU = "process_cpu_seconds"
_SUMS = frozenset(
    {_CPU, "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"}
)


class Summed(Collector):
    """What the parent exposes; `workers` returns the process ids of those that live."""

    def __init__(self, directory: Path, workers: Callable[[], Iterable[int]]) -> None:
        self._directory = directory
        self._workers = workers
        # Kept: asked anew, the system may say a second more or less of when this one started.
        self._own = _process("self")

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        for metric in self._counted():
            if metric.name in _PRESENCE:
                metric.samples = [s for s in metric.samples if s.value]
            yield metric
        for own in (metrics.WORKERS, metrics.WORKER_RESTARTS):
            yield from own.collect()
        yield from self._processes()

    def _counted(self) -> Iterable[Metric]:
        files = [str(file) for file in self._directory.glob("*.db") if _begun(file)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found

    def _processes(self) -> Iterator[Metric]:
        others = [list(_process(str(pid)).collect()) for pid in self._workers()]
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        for metric in self._own.collect():
            if metric.name in _SUMS:
                rest = [m for other in others for m in other if m.name == metric.name]
                value = sum(s.value for m in (metric, *rest) for s in m.samples)
                if metric.name == _CPU:
                    value += ended.ru_utime + ended.ru_stime
                metric.samples = [Sample(metric.samples[0].name, {}, value)]
            yield metric


def _begun(file: Path) -> bool:
    """Say whether a worker's file can be read: it is empty until the worker has made it."""
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size > 0
    return False


def _process(pid: str) -> ProcessCollector:
    """Return what tells of a process, off Linux nothing."""
    return ProcessCollector(pid=lambda: pid, registry=None)
