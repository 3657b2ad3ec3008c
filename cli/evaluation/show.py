"""An evaluation as tables for people."""

from collections.abc import Sequence

from rich.table import Table as RichTable

from cli.output import console, table
from models.evaluate.report import Difference, Report, Row, Table

# Heads of columns by metric, in their order. What people compare, and then the rest.
_ACCURACY = {
    "condensed_ndcg": "cN", "full_ndcg": "fN", "ndcg": "N", "recall": "R", "hit": "Hit",
    "mrr": "MRR",
}  # fmt: skip
_BEYOND = {
    "coverage": "Coverage", "diversity": "Diversity", "novelty": "Novelty",
    "miscalibration": "Miscal.", "gini": "Gini",
}  # fmt: skip
_LEGEND = (
    "N NDCG, R recall, Hit hit rate, MRR of the first hit, cN and fN condensed and full NDCG. "
    "Coverage: share of the catalogue shown. Diversity: distance within a list. Novelty: bits of "
    "surprise. Miscal.: divergence from the history's groups. Gini of provider exposure. CPU: "
    "ms a ranking, transport left out. JSON has every metric at every k"
)
# Rows that a table of slices has room for.
_SHOWN = 5


def show(report: Report) -> None:
    """Print a report."""
    out = console()
    seen = "seen items excluded" if report.exclude_seen else "seen items included"
    out.print(
        f"{report.dataset}, {report.protocol}, judged on {report.judged}, {seen}, "
        f"trained on {report.trained_on}",
        markup=False,
    )
    out.print(f"Split {report.split}", style="dim", markup=False)
    for part in report.tables:
        _show_table(part, report)
    for name, why in report.skipped.items():
        out.print(f"  {name} left out: {why}", markup=False)
    out.print(f"  {_LEGEND}", style="dim", markup=False)
    versions: dict[str, str] = report.machine["versions"]
    out.print(
        f"{report.machine['cpu']}, {report.machine['cores']} cores, Python "
        f"{report.machine['python']}, {', '.join(f'{n} {v}' for n, v in versions.items())}",
        style="dim", markup=False,
    )  # fmt: skip


def _show_table(part: Table, report: Report) -> None:
    out = console()
    out.print(
        f"\n{part.title}: {part.users:,} {part.unit}, {part.targets:,} targets, "
        f"all {part.catalogue:,} items compete",
        markup=False,
    )
    out.print(accuracy_table(part, report))
    for row in part.rows:
        if row.note:
            out.print(f"  {row.name}: {row.note}", style="dim", markup=False)
    if part.users_without_history:
        what = "had no history" if part.unit == "users" else "have nothing relevant"
        out.print(
            f"  {part.users_without_history:,} {part.unit} {what} and were not asked",
            style="dim", markup=False,
        )  # fmt: skip
    _show_differences(part, report)
    out.print(beyond_table(part, report))
    if part.slices:
        out.print(slices_table(part, report.main))
    if part.fusion:
        weights = ", ".join(f"{name} {w:.2f}" for name, w in part.fusion["weights"].items())
        out.print(f"  weights on {part.fusion['surface']}: {weights}", style="dim", markup=False)


def accuracy_table(part: Table, report: Report) -> RichTable:
    """Return how right the rows are: the main metric with its interval, others beside it."""
    kind, _, k = report.main.rpartition("@")
    names = [kind] + [n for n in _ACCURACY if n != kind]
    shown = [f"{n}@{k}" for n in names] + [f"{kind}@{max(report.ks)}", f"recall@{max(report.ks)}"]
    shown = [n for n in dict.fromkeys(shown) if _has(part, n)]
    heads = [_ACCURACY[n.rpartition("@")[0]] + "@" + n.rpartition("@")[2] for n in shown]
    made = table("Row", f">{heads[0]}", f">{report.confidence:.0%}", *(f">{h}" for h in heads[1:]))
    for row in part.rows:
        low, high = row.intervals[report.main]
        first, *rest = (short(row.metrics[n]) for n in shown)
        made.add_row(row.name, first, f"{short(low)} to {short(high)}", *rest)
    return made


def beyond_table(part: Table, report: Report) -> RichTable:
    """Return how varied and how costly the rows are."""
    k = report.main.rpartition("@")[2]
    names = [n for n in _BEYOND if _has(part, f"{n}@{k}")]
    made = table(f"Row, at {k}", *(f">{_BEYOND[n]}" for n in names), ">CPU ms", ">Train s")
    for row in part.rows:
        values = (figure(n, row.metrics[f"{n}@{k}"]) for n in names)
        made.add_row(row.name, *values, *_costs(row))
    return made


def slices_table(part: Table, main: str) -> RichTable:
    """Return the main metric by slice, of the rows that say most."""
    names = telling([(row.name, row.kind, row.metrics[main]) for row in part.rows], _SHOWN)
    made = table(f"{main} by slice", f">{part.unit.capitalize()}", *(f">{name}" for name in names))
    for column in made.columns[2:]:
        column.no_wrap = False
    group = ""
    for piece in part.slices:
        if group and piece.group != group:
            made.add_section()
        group = piece.group
        values = (short(piece.metrics[name][main]) for name in names)
        made.add_row(piece.name, f"{piece.users:,}", *values)
    return made


def telling(rows: Sequence[tuple[str, str, float]], most: int) -> list[str]:
    """Return the names of the rows that say most, in their order, out of (name, kind, value).

    Recent best sellers, the best single model, and the fusions.
    """
    names = [name for name, _, _ in rows]
    best = max((row for row in rows if row[1] == "model"), key=lambda row: row[2], default=None)
    wanted = ["popular-7d"] if "popular-7d" in names else ["popular"]
    wanted += [best[0]] if best is not None else []
    wanted += ["rrf", "convex", "fused", *names]
    chosen = list(dict.fromkeys(name for name in wanted if name in names))[:most]
    return [name for name in names if name in chosen]


def reference(part: Table, main: str) -> Row | None:
    """Return the best single model: what a fusion must beat."""
    models = [row for row in part.rows if row.kind == "model"]
    return max(models, key=lambda row: row.metrics[main], default=None)


def figure(name: str, value: float) -> str:
    """Return a metric for a table."""
    return f"{value:.1f}" if name.startswith("novelty") else short(value)


def short(value: float) -> str:
    """Return a number below 1 without its zero, to four places."""
    text = f"{value:.4f}"
    return text[1:] if text.startswith("0.") else text


def _show_differences(part: Table, report: Report) -> None:
    """Say how the rows compare with the best single model."""
    best = reference(part, report.main)
    if best is None:
        return
    out = console()
    for found in part.differences:
        if found.against == best.name:
            out.print(f"  {sentence(found, report.confidence)}", markup=False)


def sentence(found: Difference, confidence: float) -> str:
    """Say a difference and whether chance may have made it."""
    relative = f" ({found.relative:+.1%})" if found.relative is not None else ""
    sure = "" if found.low > 0 or found.high < 0 else ", which may be chance"
    return (
        f"{found.row} against {found.against}, {found.metric}: {found.difference:+.4f}{relative}, "
        f"{confidence:.0%} interval {found.low:+.4f} to {found.high:+.4f}{sure}"
    )


def _has(part: Table, name: str) -> bool:
    return all(name in row.metrics for row in part.rows)


def _costs(row: Row) -> tuple[str, str]:
    cpu = f"{row.cpu_ms:.2f}" if row.cpu_ms else "-"
    return cpu, "-" if row.seconds_train is None else f"{row.seconds_train:.0f}"
