"""Reading a process's Prometheus endpoint, and quantiles from its histograms.

A histogram keeps counts per bucket, so a quantile is an estimate: linear within
the bucket it falls into, as in Prometheus's own histogram_quantile.
"""

import http.client
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from services.runtime.ports import bare_host

Labels = Mapping[str, str]
# The values of `method` in plait_request_seconds under which models answer questions.
_ANSWERING = tuple(
    f"/inference.GRPCInferenceService/{method}" for method in ("ModelInfer", "ModelStreamInfer")
)


@dataclass(frozen=True, slots=True)
class Buckets:
    """One histogram: cumulative counts by upper bound (seconds), their sum and number."""

    bounds: dict[float, float] = field(default_factory=dict)
    total: float = 0.0
    count: float = 0.0

    def quantile(self, q: float) -> float | None:
        """Return the estimated quantile 0 <= q <= 1, None without observations.

        Above the last finite bound that bound is returned: the truth is at least it.
        """
        if not self.count:
            return None
        target, below, lower = q * self.count, 0.0, 0.0
        for bound in sorted(self.bounds):
            reached = self.bounds[bound]
            if reached >= target and reached > below:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * (target - below) / (reached - below)
            below, lower = reached, bound if math.isfinite(bound) else lower
        return lower

    def plus(self, other: "Buckets") -> "Buckets":
        """Return both histograms together; their bounds must be equal."""
        if not self.bounds or not other.bounds:
            return other if not self.bounds else self
        bounds = {b: n + other.bounds.get(b, 0.0) for b, n in self.bounds.items()}
        return Buckets(bounds, self.total + other.total, self.count + other.count)

    def minus(self, earlier: "Buckets") -> "Buckets":
        """Return what was observed since `earlier`, a reading of the same histogram."""
        bounds = {b: n - earlier.bounds.get(b, 0.0) for b, n in self.bounds.items()}
        return Buckets(bounds, self.total - earlier.total, self.count - earlier.count)


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything a process said about itself at one moment."""

    samples: tuple[Sample, ...]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name whose labels match, 0.0 if there are none."""
        return sum(s.value for s in self.samples if s.name == name and _matches(s.labels, labels))

    def values(self, name: str, label: str, **labels: str) -> tuple[str, ...]:
        """Return the values a label takes on the samples of a name whose others match."""
        found = (
            s.labels[label]
            for s in self.samples
            if s.name == name and label in s.labels and _matches(s.labels, labels)
        )
        return tuple(dict.fromkeys(found))

    def histogram(self, name: str, **labels: str) -> Buckets:
        """Return the histograms of a name whose labels match, added up."""
        bounds: dict[float, float] = {}
        for s in self.samples:
            if s.name == f"{name}_bucket" and _matches(s.labels, labels):
                bound = float(s.labels["le"])
                bounds[bound] = bounds.get(bound, 0.0) + s.value
        return Buckets(
            bounds, self.sum(f"{name}_sum", **labels), self.sum(f"{name}_count", **labels)
        )


def answering(scrape: Scrape) -> Buckets:
    """Return how long a model service took to answer questions."""
    single, open_call = (
        scrape.histogram("plait_request_seconds", method=method) for method in _ANSWERING
    )
    return single.plus(open_call)


def scrape(host: str, port: int, timeout: float = 2.0) -> Scrape:
    """Read http://host:port/metrics; raises OSError if nothing answers or not with 200."""
    connection = http.client.HTTPConnection(bare_host(host), port, timeout=timeout)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{host}:{port} is no metrics endpoint ({error})") from None
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{host}:{port}/metrics answered {response.status}")
    return parse(body)


def parse(text: str) -> Scrape:
    """Parse the text exposition format; raises OSError where it is something else."""
    try:
        return Scrape(
            tuple(
                Sample(s.name, dict(s.labels), float(s.value))
                for family in text_string_to_metric_families(text)
                for s in family.samples
            )
        )
    except ValueError as error:
        raise OSError(f"not Prometheus metrics ({error})") from None


def _matches(labels: Labels, wanted: Labels) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
