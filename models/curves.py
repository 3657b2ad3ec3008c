"""Learning curves, kept among a manifest's metrics.

A manifest's metrics are names and numbers, so a curve is one metric for each
point: "curve.loss/120" is the loss at step 120. Whoever trains calls `add`;
whoever reports reads `curves_of`.
"""

import math
from collections.abc import Mapping

_PREFIX = "curve."
# A curve in a manifest needs no more points than a picture shows.
_MOST_POINTS = 100


class Curves:
    """Points of curves, by name, while a model trains."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[int, float]]] = {}

    def add(self, name: str, step: int, value: float) -> None:
        """Add a point; a curve that grows too long keeps every other one."""
        points = self._points.setdefault(name, [])
        points.append((step, value))
        if len(points) > 2 * _MOST_POINTS:
            del points[1::2]

    def metrics(self) -> dict[str, float]:
        """Return the points as metrics of a manifest."""
        found = {}
        for name, points in self._points.items():
            every = -(-len(points) // _MOST_POINTS)
            for step, value in points[::every]:
                found[f"{_PREFIX}{name}/{step}"] = value
        return found


def curves_of(metrics: Mapping[str, float]) -> dict[str, list[tuple[float, float]]]:
    """Return the curves among a manifest's metrics: name -> (step, value), by step.

    A loss that was no number is no point.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for name, value in metrics.items():
        curve, slash, step = name.removeprefix(_PREFIX).rpartition("/")
        named = name.startswith(_PREFIX) and slash and step.isdecimal()
        if named and math.isfinite(value):
            found.setdefault(curve, []).append((float(step), float(value)))
    return {name: sorted(points) for name, points in found.items()}
