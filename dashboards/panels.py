"""A dashboard as plain data: rows of panels, panels of queries.

The one idea: a panel is a question an on-call engineer asks, its description is
what to do about the answer. build.py turns this into Grafana's JSON; the tests
run every query against a real Prometheus.

Queries use only metrics of services/runtime/metrics.py and only their own
labels, so they work whatever labels a scrape configuration adds.
"""

from dataclasses import dataclass

# Grafana replaces these: the shortest window that holds enough scrapes, and the
# sources picked at the top of the page.
WINDOW = "$__rate_interval"
SOURCE = 'source=~"$source"'


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel; `legend` may name labels as {{label}}."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's name of a unit; `width` counts of 24 columns."""

    title: str
    description: str
    unit: str
    targets: tuple[Target, ...]
    width: int = 8
    # Drawn as a single number rather than as lines over time.
    stat: bool = False
    # Values from here on are drawn as wrong; only for single numbers.
    bad_from: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, matchers: str = "", by: str = "") -> str:
    """Return the per-second rate of a counter, summed by labels ("a, b")."""
    selector = f"{metric}{{{matchers}}}" if matchers else metric
    return f"sum{f' by ({by})' if by else ''} (rate({selector}[{WINDOW}]))"


def quantile(q: float, histogram: str, matchers: str = "", by: str = "") -> str:
    """Return a quantile of a histogram, by labels ("a, b")."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', matchers, labels)})"


def mean(histogram: str, by: str, matchers: str = "") -> str:
    """Return the mean of a histogram's observations, by labels."""
    total, count = (rate(f"{histogram}_{part}", matchers, by) for part in ("sum", "count"))
    return f"{total} / {count}"


def quantiles(histogram: str, matchers: str = "") -> tuple[Target, ...]:
    """Return p50, p95 and p99 over all labels."""
    return tuple(
        Target(quantile(q, histogram, matchers), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)
    )


def one_by_one(histogram: str, by: str, name: str, hint: str, matchers: str = "") -> list[Panel]:
    """Return three panels, p50, p95 and p99 of a histogram, a line for each value of `by`."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return [
        Panel(
            title=f"{name}, p{round(100 * q)}",
            description=hint,
            unit="s",
            targets=(Target(quantile(q, histogram, matchers, by), legend),),
        )
        for q in (0.5, 0.95, 0.99)
    ]


def share(part: str, whole: str, matchers: str = "") -> str:
    """Return part / whole of two rates, 0 where nothing of the part was counted yet."""
    return f"({rate(part, matchers)} or vector(0)) / {rate(whole)}"
