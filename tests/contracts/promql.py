"""What a Prometheus query mentions, and what the processes really expose.

Enough of PromQL to find the mistakes that leave a panel empty: a metric or a
label that does not exist. Whether a query computes what it should is proven
against a live server (test_live_prometheus.py).
"""

import re
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from services.runtime import metrics

_SELECTOR = re.compile(r"\b(?P<name>(?:plait_\w+|process_\w+|up\b))\s*(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'\s*(?P<label>\w+)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"\s*')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\((?P<labels>[^)]*)\)")
_PAIRS = {")": "(", "]": "[", "}": "{"}
# Given to every target by the scrape configurations.
TARGET_LABELS = frozenset({"job", "instance", "process"})


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric a query reads, as written and taken apart."""

    text: str
    name: str
    labels: frozenset[str]


def declared() -> dict[str, MetricWrapperBase]:
    """Return the metrics services/runtime/metrics.py declares, by Python name."""
    return {n: m for n, m in vars(metrics).items() if isinstance(m, MetricWrapperBase)}


def exposed() -> dict[str, frozenset[str]]:
    """Return every sample name the processes can expose, with its own labels."""
    # The second is prometheus_client's, of every process.
    names: dict[str, frozenset[str]] = {
        "up": frozenset(),
        "process_start_time_seconds": frozenset(),
    }
    for metric in declared().values():
        own = frozenset(metric._labelnames)
        name = metric._name
        if isinstance(metric, Histogram):
            names[f"{name}_bucket"] = own | {"le"}
            names[f"{name}_sum"] = names[f"{name}_count"] = own
        elif isinstance(metric, Counter):
            names[f"{name}_total"] = own
        elif isinstance(metric, Gauge):
            names[name] = own
    return names


def selectors(query: str) -> list[Selector]:
    """Return the metrics a query reads."""
    found = []
    for match in _SELECTOR.finditer(query):
        matchers = _MATCHER.findall(match["matchers"] or "")
        found.append(Selector(match[0].strip(), match["name"], frozenset(matchers)))
    return found


def problems(query: str) -> list[str]:
    """Return what is wrong with a query; empty if nothing was found."""
    known = exposed()
    read = selectors(query)
    wrong = [] if balanced(query) else ["brackets or quotes do not match"]
    if not read:
        wrong.append("reads no metric of ours")
    common = TARGET_LABELS | {"le"}
    for selector in read:
        if selector.name not in known:
            wrong.append(f"no process exposes {selector.name}")
            continue
        common |= known[selector.name]
        strange = selector.labels - known[selector.name] - TARGET_LABELS
        wrong.extend(f"{selector.name} has no label {label}" for label in strange)
    for match in _GROUPING.finditer(query):
        grouped = {label.strip() for label in match["labels"].split(",") if label.strip()}
        wrong.extend(f"groups by {label}, which no metric here has" for label in grouped - common)
    return wrong


def balanced(query: str) -> bool:
    """Do all brackets and quotes close?"""
    stack: list[str] = []
    for character in re.sub(r'"(?:[^"\\]|\\.)*"', "", query):
        if character in "([{":
            stack.append(character)
        elif character == '"' or (
            character in _PAIRS and (not stack or stack.pop() != _PAIRS[character])
        ):
            return False
    return not stack
