"""The page: what was judged, how the rows compare, and where each is good or bad.

It is made from the report's JSON alone, so it can be made again from a kept file.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from cli.evaluation.ablation.show import ablation_html
from cli.evaluation.page import plots, variety
from cli.evaluation.page.style import STYLE
from cli.evaluation.page.text import (
    about,
    facts,
    fusion,
    rows_table,
    slices_table,
    subsets_table,
)

Json = Mapping[str, Any]


def page(report: Json) -> str:
    """Return a report (models/evaluate/report.py, as JSON) as one HTML document."""
    title = f"{report['dataset']}, {report['protocol']}"
    body = "\n".join(part for table in report["tables"] for part in _table(table, report))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{escape(title)}: ranking quality</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Ranking quality: {escape(title)}</h1>
{about(report)}
{body}
<h2>How this was made</h2>
{_made(report)}
</main>
</body>
</html>
"""


def _table(table: Json, report: Json) -> Iterator[str]:
    main = report["main"]
    colours = plots.colours(table)
    yield f"<h2>{escape(table['title'])}</h2>"
    yield facts(table, report)
    yield _card("All rows", _WHAT_ROWS, rows_table(table, report))
    yield _card(f"{main}, with {report['confidence']:.0%} intervals", "", plots.main(table, main))
    yield _card("Differences", _WHAT_DIFFERENCES, plots.differences(table, main))
    yield _card("By length of the list", "", plots.by_k(table, report, colours))
    if table["slices"]:
        yield _card("Quality by slice", _WHAT_SLICES, plots.slices(table, main, colours))
        yield _card(f"{main} by slice", "", slices_table(table, main))
    if table["subsets"]:
        yield _card(f"{main}, if only these answer", _WHAT_SUBSETS, subsets_table(table))
    for found in table["ablations"]:
        yield _card(found["title"], f"{found['what']}. {_WHAT_ABLATIONS}", ablation_html(found))
    yield _card(
        "Accuracy against diversity", _WHAT_DIVERSITY, plots.diversity(table, main, colours)
    )
    yield _card("Accuracy for variety", variety.WHAT, variety.curves(table, main))
    yield _card("Calibration", _WHAT_CALIBRATION, plots.calibration(table, colours))
    yield _card("Learning curves", _WHAT_CURVES, plots.curves(table, colours))
    yield fusion(table)


def _card(title: str, what: str, inside: str) -> str:
    """Return a section, or nothing where there is nothing in it."""
    if not inside:
        return ""
    said = f'<p class="soft small">{escape(what)}</p>' if what else ""
    return f'<h3>{escape(title)}</h3>{said}<div class="card">{inside}</div>'


def _made(report: Json) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    settings = escape(json.dumps(report["settings"], indent=1))
    return (
        f'<p class="soft">{escape(str(machine["time"]))} on {escape(str(machine["cpu"]))}, '
        f"{machine['cores']} cores, Python {escape(machine['python'])}, {escape(versions)}.</p>"
        f"<details><summary>All settings</summary><pre>{settings}</pre></details>"
    )


_WHAT_ROWS = (
    "Means over everyone asked; every item of the catalogue competes in every ranking. The best "
    "of a column stands out. CPU is milliseconds for one ranking in one process, the sources' "
    "included for a fusion, transport left out."
)
_WHAT_DIFFERENCES = (
    "Row minus the best single model, or minus itself without the other domains. Paired: both "
    "rank for the same people in every resample. "
    "An interval that crosses nought may be chance."
)
_WHAT_SLICES = (
    "The same rankings, judged by a part of the targets only. Lines are intervals; few people "
    "make wide ones."
)
_WHAT_SUBSETS = "What is left of the fused ranking when the other models do not answer."
_WHAT_ABLATIONS = (
    "The small number is the paired difference from the first line where chance did not make it."
)
_WHAT_DIVERSITY = (
    "Diversity is the mean distance of two items of a list by domain, category, brand and "
    "attributes. The dashed curve is the fused ranking with more and more variety asked for."
)
_WHAT_CALIBRATION = (
    "How often candidates with a calibrated score were what the person wanted. Curves that rise "
    "together mean that one model's 0.8 is worth another's."
)
_WHAT_CURVES = "As each model's manifest has them: loss in training, and the metric it stopped by."
