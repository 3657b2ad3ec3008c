"""The kinds of charts on the page, each from plain numbers to SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.evaluation.page.svg import Pair, Plot, Scale, number, padded

# Pixels a row takes with one value on it, what each more adds, and a letter about.
_ROW, _MORE, _LETTER = 26, 7, 6.6
_WIDTH = 860


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval."""

    value: float
    low: float
    high: float
    colour: int
    said: str


def intervals(rows: Sequence[tuple[str, Sequence[Dot]]], axis: str, *, zero: bool = False) -> str:
    """Draw a line for each row with its values on it; `zero` marks nought."""
    left = 24 + _LETTER * max(len(name) for name, _ in rows)
    most = max(len(dots) for _, dots in rows)
    height = (_ROW + _MORE * (most - 1)) * len(rows) + 60
    ends = [e for _, dots in rows for d in dots for e in (d.low, d.high)]
    range_ = padded([*ends, 0.0] if zero else ends)
    plot = Plot(
        _WIDTH, height, Scale(range_, (left, _WIDTH - 20)),
        Scale((len(rows) - 0.5, -0.5), (height - 45, 12)),
    )  # fmt: skip
    plot.x_axis(axis)
    if zero:
        plot.rule((plot.x(0), 12), (plot.x(0), height - 45), "zero")
    for place, (name, dots) in enumerate(rows):
        plot.text((left - 10, plot.y(place) + 4), name, anchor="end")
        shift = 0.72 / max(len(dots), 1) if len(dots) > 1 else 0.0
        for i, dot in enumerate(dots):
            at = place + (i - (len(dots) - 1) / 2) * shift
            plot.bar((dot.low, dot.high), at, dot.colour)
            plot.dot((dot.value, at), dot.colour, dot.said, size=4 if len(dots) > 1 else 5)
    return plot.svg(axis)


def lines(
    series: Mapping[str, Sequence[Pair]],
    axes: tuple[str, str],
    colours: Mapping[str, int],
    *,
    floor: float | None = None,
    marked: Sequence[float] | None = None,
    width: int = 560,
) -> str:
    """Draw a line with dots for each series."""
    height = 320
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    plot = Plot(
        width, height, Scale(padded(xs, floor=0 if min(xs) >= 0 else None), (56, width - 16)),
        Scale(padded(ys, floor=floor), (height - 48, 30)),
    )  # fmt: skip
    plot.x_axis(axes[0], marked=marked)
    plot.y_axis(axes[1])
    for name, points in series.items():
        plot.line(points, colours[name])
        size = 3.5 if len(points) <= 20 else 1.6
        for x, y in points:
            plot.dot((x, y), colours[name], f"{name}: {number(x)}, {y:.4g}", size=size)
    return plot.svg(f"{axes[1]} by {axes[0]}")


def scatter(
    points: Mapping[str, Pair],
    axes: tuple[str, str],
    colours: Mapping[str, int],
    *,
    curve: Sequence[tuple[Pair, str]] = (),
    curve_colour: int = 0,
) -> str:
    """Draw named points, and a curve through some more."""
    width, height = _WIDTH, 420
    every = [*points.values(), *(point for point, _ in curve)]
    plot = Plot(
        width, height, Scale(padded([x for x, _ in every]), (56, width - 20)),
        Scale(padded([y for _, y in every]), (height - 48, 30)),
    )  # fmt: skip
    plot.x_axis(axes[0])
    plot.y_axis(axes[1])
    if curve:
        plot.line([point for point, _ in curve], curve_colour, dashed=True)
        for point, said in curve:
            plot.dot(point, curve_colour, said, size=2.5)
    for name, point in points.items():
        plot.dot(point, colours[name], f"{name}: {point[0]:.4g}, {point[1]:.4g}", size=6)
    _labels(plot, points)
    return plot.svg(f"{axes[1]} against {axes[0]}")


def _labels(plot: Plot, points: Mapping[str, Pair]) -> None:
    """Write names beside their points, pushed apart where they would touch."""
    taken: list[tuple[float, float, float]] = []
    order = sorted(points, key=lambda name: plot.y(points[name][1]))
    for name in order:
        x, y = plot.x(points[name][0]), plot.y(points[name][1])
        size = _LETTER * len(name)
        left = x + 10 if x + 10 + size < plot.width else x - 10 - size
        at = y + 4
        while any(abs(at - t) < 13 and left < r and left + size > ll for ll, r, t in taken):
            at += 4
        taken.append((left, left + size, at))
        plot.text((left, at), name, kind="label")
