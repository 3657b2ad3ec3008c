"""Which numbers of a report go into which chart; "" where there is nothing to draw."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cli.evaluation.page.charts import Dot, intervals, lines, scatter
from cli.evaluation.page.svg import COLOURS
from cli.evaluation.show import against, telling

Json = Mapping[str, Any]
Colours = Mapping[str, int]

# Rows that a slice's line shows at once; more cannot be told apart.
_SHOWN = 5


def colours(table: Json) -> Colours:
    """Return a colour for each row, the same in every chart."""
    return {row["name"]: place % COLOURS for place, row in enumerate(table["rows"])}


def main(table: Json, metric: str) -> str:
    """Return every row with its interval."""
    shades = colours(table)
    rows = []
    for row in table["rows"]:
        low, high = row["intervals"][metric]
        value = row["metrics"][metric]
        said = f"{row['name']}: {value:.4f}, {low:.4f} to {high:.4f}"
        rows.append((row["name"], [Dot(value, low, high, shades[row["name"]], said)]))
    return intervals(rows, metric)


def differences(table: Json, metric: str) -> str:
    """Return what models and fusions are above or below what they are compared with."""
    pairs = against(_named(table, metric))
    shades = colours(table)
    rows = []
    for found in table["differences"]:
        if found["metric"] == metric and pairs.get(found["row"]) == found["against"]:
            gap, low, high = found["difference"], found["low"], found["high"]
            said = f"{found['row']} minus {found['against']}: {gap:+.4f}, {low:+.4f} to {high:+.4f}"
            name = f"{found['row']} - {found['against']}"
            rows.append((name, [Dot(gap, low, high, shades[found["row"]], said)]))
    return intervals(rows, f"difference in {metric}", zero=True) if rows else ""


def by_k(table: Json, report: Json, shades: Colours) -> str:
    """Return the main metric, and recall, by k."""
    ks = report["ks"]
    if len(ks) < 2:
        return ""
    first = report["main"].rpartition("@")[0]
    made = []
    for kind in (first, "full_ndcg" if first == "condensed_ndcg" else "recall"):
        series = {
            row["name"]: [(k, row["metrics"][f"{kind}@{k}"]) for k in ks] for row in table["rows"]
        }
        made.append(lines(series, ("k", kind), shades, floor=0.0, marked=ks))
    return _pair(made) + _key(list(shades), shades)


def slices(table: Json, metric: str, shades: Colours) -> str:
    """Return the rows that matter most, by slice."""
    names = telling(_named(table, metric), _SHOWN)
    rows = []
    for part in table["slices"]:
        dots = []
        for name in names:
            low, high = part["intervals"][name]
            value = part["metrics"][name][metric]
            said = f"{part['name']}, {name}: {value:.4f}, {low:.4f} to {high:.4f}"
            dots.append(Dot(value, low, high, shades[name], said))
        rows.append((f"{part['name']} ({part['users']:,})", dots))
    return _key(names, shades) + intervals(rows, metric)


def diversity(table: Json, metric: str, shades: Colours) -> str:
    """Return accuracy against diversity of all rows, and the curve of the fused one."""
    k = metric.rpartition("@")[2]
    across = f"diversity@{k}"
    if not all(across in row["metrics"] for row in table["rows"]):
        across = f"coverage@{k}"
    if not all(across in row["metrics"] for row in table["rows"]):
        return ""
    points = {
        row["name"]: (row["metrics"][across], row["metrics"][metric]) for row in table["rows"]
    }
    curve = [
        ((point["metrics"][across], point["metrics"][metric]), f"diversity {point['setting']:g}")
        for sweep in table["variety"]
        if sweep["mechanism"] == "diversity"
        for point in sweep["points"]
    ]
    fused = shades.get("fused", 0)
    axes = (across, metric)
    made = scatter(points, axes, shades, curve=curve, curve_colour=fused)
    users = table["variety_users"]
    if not curve or users == table["users"]:
        return made
    return made + f'<p class="soft small">The curve is of the first {users:,} people only.</p>'


def calibration(table: Json, shades: Colours) -> str:
    """Return the rate of hits by calibrated score, a line for each model."""
    series = {
        name: [(b["score"], b["rate"]) for b in bins]
        for name, bins in table["calibration"].items()
        if name in shades and len(bins) > 1
    }
    if not series:
        return ""
    axes = ("calibrated score", "share that were targets")
    made = lines(series, axes, shades, floor=0.0, width=860)
    return _key(list(series), shades) + made


def curves(table: Json, shades: Colours) -> str:
    """Return a small chart for each curve of each model."""
    made = []
    for model, found in table["curves"].items():
        for name, points in found.items():
            if len(points) > 1:
                title = f"{model}: {name}"
                colour = shades.get(model, 0)
                made.append(lines({title: points}, ("step", title), {title: colour}))
    return _pair(made) if made else ""


def _named(table: Json, metric: str) -> list[tuple[str, str, float]]:
    return [(row["name"], row["kind"], row["metrics"][metric]) for row in table["rows"]]


def _key(names: Sequence[str], shades: Colours) -> str:
    inside = "".join(
        f'<span><i class="k{shades[name]}"></i>{escape(name)}</span>' for name in names
    )
    return f'<div class="key">{inside}</div>'


def _pair(charts: Sequence[str]) -> str:
    return '<div class="pair">' + "".join(f"<div>{c}</div>" for c in charts) + "</div>"
