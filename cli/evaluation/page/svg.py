"""Plots as inline SVG: scales, axes and marks, no more than the page needs.

The one idea: a `Plot` maps data to pixels and collects marks as text; colours
are classes of the page's style (c0, c1, ...), so a plot follows light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

Pair = tuple[float, float]

# Distinct colours of the style sheet; more series than that repeat them.
COLOURS = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to pixels; either may be turned round."""

    data: Pair
    pixels: Pair

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.data
        share = (value - low) / (high - low) if high != low else 0.5
        return self.pixels[0] + share * (self.pixels[1] - self.pixels[0])

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values within the data's range, about so many."""
        low, high = self.data
        if not high > low:
            return [low]
        rough = (high - low) / about
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough)
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


@dataclass(slots=True)
class Plot:
    """One picture; x grows to the right, y upwards."""

    width: int
    height: int
    x: Scale
    y: Scale
    marks: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Pair], colour: int, *, dashed: bool = False) -> None:
        """Join points."""
        path = " ".join(f"{self.x(px):.1f},{self.y(py):.1f}" for px, py in points)
        dash = " dashed" if dashed else ""
        self.marks.append(f'<polyline class="line s{colour % COLOURS}{dash}" points="{path}"/>')

    def dot(self, point: Pair, colour: int, said: str, *, size: float = 4.5) -> None:
        """Put a point that says something when pointed at."""
        self.marks.append(
            f'<circle class="f{colour % COLOURS} dot" cx="{self.x(point[0]):.1f}" '
            f'cy="{self.y(point[1]):.1f}" r="{size:.1f}"><title>{escape(said)}</title></circle>'
        )

    def bar(self, ends: Pair, at: float, colour: int) -> None:
        """Draw an interval from left to right."""
        left, right = self.x(ends[0]), self.x(ends[1])
        self.marks.append(
            f'<line class="line s{colour % COLOURS}" x1="{left:.1f}" x2="{right:.1f}" '
            f'y1="{self.y(at):.1f}" y2="{self.y(at):.1f}"/>'
        )

    def text(self, pixel: Pair, said: str, *, anchor: str = "start", kind: str = "") -> None:
        """Write at a pixel."""
        self.marks.append(
            f'<text class="{kind}" x="{pixel[0]:.1f}" y="{pixel[1]:.1f}" '
            f'text-anchor="{anchor}">{escape(said)}</text>'
        )

    def rule(self, start: Pair, end: Pair, kind: str = "grid") -> None:
        """Draw a thin line between two pixels."""
        self.marks.append(
            f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
            f'x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
        )

    def x_axis(self, name: str, *, marked: Sequence[float] | None = None) -> None:
        """Draw vertical grid lines with their values below, and the name of the axis."""
        top, bottom = self.y.pixels[1], self.y.pixels[0]
        ticks = list(marked) if marked is not None else self.x.ticks()
        for tick in ticks:
            self.rule((self.x(tick), top), (self.x(tick), bottom))
            self.text((self.x(tick), bottom + 15), number(tick), anchor="middle", kind="tick")
        middle = sum(self.x.pixels) / 2
        self.text((middle, bottom + 32), name, anchor="middle", kind="axis")

    def y_axis(self, name: str) -> None:
        """Draw horizontal grid lines with their values, and the name above."""
        left, right = self.x.pixels
        for tick in self.y.ticks():
            self.rule((left, self.y(tick)), (right, self.y(tick)))
            self.text((left - 6, self.y(tick) + 4), number(tick), anchor="end", kind="tick")
        self.text((4, self.y.pixels[1] - 10), name, kind="axis")

    def svg(self, title: str) -> str:
        """Return the picture; `title` is what a screen reader says."""
        inside = "\n".join(self.marks)
        return (
            f'<svg role="img" viewBox="0 0 {self.width} {self.height}" '
            f'style="max-width:{self.width}px"><title>{escape(title)}</title>\n{inside}\n</svg>'
        )


def number(value: float) -> str:
    """Return a number as short as it can be read."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{round(value, 6):g}"


def padded(values: Sequence[float], *, floor: float | None = None) -> Pair:
    """Return a range around values with some air; not below `floor`."""
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    low = low - air if floor is None else max(low - air, floor)
    return low, high + air
