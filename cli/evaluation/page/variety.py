"""The page's part on variety: what each mechanism costs, and what it brings."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cli.evaluation.page.svg import Pair, Plot, Scale, number, padded
from cli.evaluation.show import figure

Json = Mapping[str, Any]

WHAT = (
    "The fused ranking with each mechanism at several settings, the others off; all curves begin "
    "at the most relevant order. The grey line is 1 % below it; what costs more than 5 % is in the "
    "table only. A setting that serves is bold, and its dot larger."
)
# What a mechanism may bring, and where more of it is less variety.
_ACROSS = (("diversity", ""), ("coverage", ""),
           ("miscalibration", ", less is nearer to the history"),
           ("gini", " of providers, less is more equal"))  # fmt: skip
_COLUMNS = {"diversity": "Diversity", "coverage": "Coverage", "novelty": "Novelty",
            "miscalibration": "Miscal.", "gini": "Gini"}  # fmt: skip
# What the default may cost (docs/fusion.md).
_MOST = 0.01
# What a point may cost that is drawn: the curves are about the first few percent.
_DRAWN = 0.05


def curves(table: Json, metric: str) -> str:
    """Return a chart for each gain, and a table of all points; "" where nothing was tried."""
    sweeps = table["variety"]
    if not sweeps:
        return ""
    k = metric.rpartition("@")[2]
    across = [(f"{n}@{k}", said) for n, said in _ACROSS if f"{n}@{k}" in _first(sweeps)]
    charts = "".join(f"<div>{_chart(sweeps, name, said, metric)}</div>" for name, said in across)
    names = [sweep["mechanism"] for sweep in sweeps]
    key = "".join(f'<span><i class="k{i}"></i>{escape(n)}</span>' for i, n in enumerate(names))
    rows = "".join(_rows(sweep, metric) for sweep in sweeps)
    heads = "".join(f"<th>{_COLUMNS[n]}</th>" for n in _shown(_first(sweeps), k))
    made = (
        f'<div class="key">{key}</div><div class="pair">{charts}</div>'
        f"<table><thead><tr><th></th><th>{escape(metric)}</th><th>to most relevant</th>"
        f"<th>interval</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )
    if table["variety_users"] == table["users"]:
        return made
    return made + f'<p class="soft small">Of the first {table["variety_users"]:,} people only.</p>'


def _first(sweeps: Sequence[Json]) -> Json:
    metrics: Json = sweeps[0]["points"][0]["metrics"]
    return metrics


def _shown(metrics: Json, k: str) -> list[str]:
    return [name for name in _COLUMNS if f"{name}@{k}" in metrics]


def _chart(sweeps: Sequence[Json], across: str, said: str, metric: str) -> str:
    """Draw accuracy by one gain, a line for each mechanism."""
    width, height = 560, 320
    best = _first(sweeps)[metric]
    level = (1 - _MOST) * best
    drawn = [
        [p for p in sweep["points"] if p["metrics"][metric] >= (1 - _DRAWN) * best]
        for sweep in sweeps
    ]
    lines: list[list[Pair]] = [
        [(p["metrics"][across], p["metrics"][metric]) for p in points] for points in drawn
    ]
    every = [point for line in lines for point in line]
    plot = Plot(
        width, height, Scale(padded([x for x, _ in every]), (56, width - 16)),
        Scale(padded([*(y for _, y in every), level]), (height - 48, 30)),
    )  # fmt: skip
    plot.x_axis(across + said)
    plot.y_axis(metric)
    plot.rule((56, plot.y(level)), (width - 16, plot.y(level)), "zero")
    for colour, (sweep, line) in enumerate(zip(sweeps, lines, strict=True)):
        plot.line(line, colour)
        for point, at in zip(drawn[colour], line, strict=True):
            served = point["setting"] == sweep["served"]
            told = f"{sweep['mechanism']} {number(point['setting'])}: {at[0]:.4g}, {at[1]:.4g}"
            plot.dot(at, colour, told, size=5.5 if served else 3.5)
    return plot.svg(f"{metric} by {across}")


def _rows(sweep: Json, metric: str) -> str:
    k = metric.rpartition("@")[2]
    made = f'<tr class="group"><td>{escape(sweep["mechanism"])}'
    made += f"<small>{escape(sweep['what'])}</small></td></tr>"
    for point in sweep["points"]:
        metrics = point["metrics"]
        mark = ' class="best"' if point["setting"] == sweep["served"] else ""
        relative = "" if point["relative"] is None else f"{point['relative']:+.2%}"
        ends = f"{point['low']:+.4f} to {point['high']:+.4f}" if relative and point["low"] else ""
        cells = [figure(metric, metrics[metric]), relative, ends]
        values = {n: metrics[f"{n}@{k}"] for n in _shown(metrics, k)}
        cells += [f"{v:.2f}" if n == "novelty" else figure(n, v) for n, v in values.items()]
        inside = "".join(f"<td>{cell}</td>" for cell in cells)
        made += f"<tr><td{mark}>{number(point['setting'])}</td>{inside}</tr>"
    return made
