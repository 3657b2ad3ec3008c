"""What benchmarks.online draws: weights, and NDCG, over the visits."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.replay import Told
from cli.evaluation.page.svg import COLOURS, Plot, Scale, padded
from gateway.fusion.adapt import Doubles

_WIDTH, _HEIGHT, _LEGEND = 760, 320, 24
_POINTS, _SMOOTH = 120, 24
_SHADES = (
    "#2563eb", "#dc2626", "#16a34a", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f",
    "#475569", "#a16207",
)  # fmt: skip
_SHOWN = ("learned, fixed", "learned, adapted", "turned, fixed", "turned, adapted")


def pictures(told: Mapping[str, Mapping[str, Told]], sources: Sequence[str]) -> dict[str, str]:
    """Return SVG files by name: for each scenario the NDCG, and the weights' paths."""
    made = {}
    for number, (scenario, arms) in enumerate(told.items()):
        named = ("online-well", "online-ill")[number]
        shown = {name: _smooth(arms[name].ndcg) for name in _SHOWN}
        made[f"{named}-ndcg.svg"] = _picture(shown, "NDCG@10", scenario)
        path = arms["turned, adapted"].weights if number == 0 else arms["learned, adapted"].weights
        columns = {name: _thin(path[:, at]) for at, name in enumerate(sources)}
        made[f"{named}-weights.svg"] = _picture(columns, "weight", scenario)
    return made


def _thin(values: Doubles) -> list[tuple[float, float]]:
    at = np.linspace(0, len(values) - 1, _POINTS).astype(int)
    return [(float(i), float(values[i])) for i in at]


def _smooth(values: Doubles) -> list[tuple[float, float]]:
    """Return the mean of each of some runs of visits."""
    runs = np.array_split(values, min(_SMOOTH, len(values)))
    ends = np.cumsum([len(run) for run in runs])
    return [
        (float(end - len(run) / 2), float(run.mean())) for end, run in zip(ends, runs, strict=True)
    ]


def _picture(series: Mapping[str, Sequence[tuple[float, float]]], axis: str, title: str) -> str:
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    plot = Plot(
        _WIDTH, _HEIGHT + _LEGEND, Scale((0, max(xs)), (56, _WIDTH - 16)),
        Scale(padded(ys, floor=0 if axis == "weight" else None), (_HEIGHT - 48, 30)),
    )  # fmt: skip
    plot.x_axis("visits")
    plot.y_axis(axis)
    for number, (name, points) in enumerate(series.items()):
        plot.line(points, number, dashed="fixed" in name)
        left = 56 + number * 165
        plot.text((left + 22, _HEIGHT + 14), name)
        kind = f"line s{number}" + (" dashed" if "fixed" in name else "")
        plot.marks.append(
            f'<line class="{kind}" x1="{left}" x2="{left + 16}" '
            f'y1="{_HEIGHT + 10}" y2="{_HEIGHT + 10}"/>'
        )
    return _alone(plot.svg(f"{title}: {axis} by visits"))


def _alone(svg: str) -> str:
    """Return an inline picture as a file of its own, with its colours."""
    colours = "".join(f".s{n}{{stroke:{shade}}}" for n, shade in enumerate(_SHADES[:COLOURS]))
    style = (
        "svg{background:#fff}text{font:12px sans-serif;fill:#334155}"
        ".grid{stroke:#e2e8f0}.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:5 4}"
    )
    return (
        svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
            "</title>", f"</title><style>{style}{colours}</style>", 1
        )
        + "\n"
    )
