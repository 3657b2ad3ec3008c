"""The page's tables and words."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cli.evaluation.figures import short

Json = Mapping[str, Any]

# Metrics in the order of the columns: head, and whether more is better (None: neither).
_METRICS: Mapping[str, tuple[str, bool | None]] = {
    "condensed_ndcg": ("Condensed NDCG", True),
    "full_ndcg": ("Full NDCG", True),
    "ndcg": ("NDCG", True),
    "recall": ("Recall", True),
    "precision": ("Precision", True),
    "f1": ("F1", True),
    "mrr": ("MRR", True),
    "hit": ("Hit rate", True),
    "coverage": ("Coverage", True),
    "diversity": ("Diversity", True),
    "novelty": ("Novelty", None),
    "miscalibration": ("Miscal.", False),
    "gini": ("Gini", None),
}


def about(report: Json) -> str:
    """Return the lines below the title."""
    seen = "not shown again" if report["exclude_seen"] else "shown again where they fit"
    skipped = "".join(
        f'<p class="soft small">{escape(name)} is left out: {escape(why)}.</p>'
        for name, why in report["skipped"].items()
    )
    return (
        f"<p>Judged on the {report['judged']} part; models trained on "
        f"{escape(report['trained_on'])}. Items a person had are {seen}.</p>"
        f'<p class="soft">Split {escape(report["split"])}.</p>'
        f'<p class="soft small">Data: {escape(report["source"])}</p>{skipped}'
    )


def facts(table: Json, report: Json) -> str:
    """Return the counts that say how much a number is worth."""
    counts = [
        (f"{table['users']:,}", table["unit"]),
        (f"{table['targets']:,}", "targets"),
        (f"{table['catalogue']:,}", "items compete"),
    ]
    if table["users_without_history"]:
        why = "without a history" if table["unit"] == "users" else "without a relevant product"
        counts.append((f"{table['users_without_history']:,}", f"{why}, not asked"))
    if table.get("users_only_seen"):
        counts.append((f"{table['users_only_seen']:,}", "wanted only what they had, not asked"))
    counts.append((f"{report['draws']:,}", "resamples"))
    inside = "".join(f"<div><b>{b}</b><span>{escape(what)}</span></div>" for b, what in counts)
    return f'<div class="facts">{inside}</div>'


def rows_table(table: Json, report: Json) -> str:
    """Return all metrics of all rows, one table for each k."""
    main = report["main"].rpartition("@")[2]
    parts = []
    for k in report["ks"]:
        inside = _at(table, str(k))
        opened = ' open="open"' if str(k) == main else ""
        parts.append(f"<details{opened}><summary>at {k}</summary>{inside}</details>")
    return "".join(parts)


def _at(table: Json, k: str) -> str:
    rows = table["rows"]
    names = [n for n in _METRICS if all(f"{n}@{k}" in row["metrics"] for row in rows)]
    best = {n: _best([row["metrics"][f"{n}@{k}"] for row in rows], _METRICS[n][1]) for n in names}
    head = "".join(f"<th>{_METRICS[n][0]}</th>" for n in names)
    body = ""
    kind = ""
    for row in rows:
        cells = "".join(_cell(row, n, k, best[n]) for n in names)
        group = ' class="group"' if kind and row["kind"] != kind else ""
        kind = row["kind"]
        note = f"<small>{escape(row['note'])}</small>" if row["note"] else ""
        cost = f"{row['cpu_ms']:.2f}" if row["cpu_ms"] else ""
        body += f"<tr{group}><td>{escape(row['name'])}{note}</td>{cells}<td>{cost}</td></tr>"
    head = f"<tr><th></th>{head}<th>CPU ms</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def slices_table(table: Json, main: str) -> str:
    """Return the main metric by slice and row."""
    names = [row["name"] for row in table["rows"]]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body, group = "", ""
    for part in table["slices"]:
        values = [part["metrics"][name][main] for name in names]
        best = _best(values, True)
        cells = "".join(f"<td{_marked(v, best)}>{short(v)}</td>" for v in values)
        divided = ' class="group"' if group and part["group"] != group else ""
        group = part["group"]
        body += (
            f"<tr{divided}><td>{escape(part['name'])}<small>{escape(part['what'])}</small></td>"
            f"<td>{part['users']:,}</td><td>{part['targets']:,}</td>{cells}</tr>"
        )
    unit = table["unit"].capitalize()
    return (
        f"<table><thead><tr><th></th><th>{unit}</th><th>Targets</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def subsets_table(table: Json) -> str:
    """Return the main metric of each way to fuse, by the sources that answer."""
    head = "".join(f"<th>{escape(way)}</th>" for way in table["subsets"][0]["metrics"])
    body = ""
    for part in table["subsets"]:
        values = list(part["metrics"].values())
        best = _best(values, True)
        cells = "".join(f"<td{_marked(v, best)}>{short(v)}</td>" for v in values)
        body += f"<tr><td>{escape(', '.join(part['sources']) or 'none')}</td>{cells}</tr>"
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def fusion(table: Json) -> str:
    """Return what the fusion learned."""
    learned = table["fusion"]
    if not learned:
        return ""
    weights = ", ".join(f"{escape(name)} {w:.2f}" for name, w in learned["weights"].items())
    terms = ", ".join(
        f"{name.removeprefix('w_').replace('_', ' ')} {value:g}"
        for name, value in learned.items()
        if name.startswith("w_") and value
    )
    return (
        f'<p class="soft small">The fusion on {escape(learned["surface"])}: '
        f"{escape(learned['ranker'])}, weights {weights}"
        f"{'; terms ' + terms if terms else ''}; as served: diversity {learned['diversity']:g}, "
        "domain calibration "
        f"{learned['domain_calibration']:g}, provider share {learned['provider_share']:g}.</p>"
    )


def _cell(row: Json, name: str, k: str, best: float | None) -> str:
    value = row["metrics"][f"{name}@{k}"]
    ends = row["intervals"].get(f"{name}@{k}")
    title = f' title="{ends[0]:.4f} to {ends[1]:.4f}"' if ends else ""
    shown = f"{value:.2f}" if name == "novelty" else short(value)
    return f"<td{_marked(value, best)}{title}>{shown}</td>"


def _marked(value: float, best: float | None) -> str:
    return ' class="best"' if best is not None and value == best else ""


def _best(values: Sequence[float], more: bool | None) -> float | None:
    if more is None or len(set(values)) < 2:
        return None
    return max(values) if more else min(values)
