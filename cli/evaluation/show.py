"""An evaluation as tables for people."""

from collections.abc import Sequence

from rich.table import Table as RichTable

from cli.evaluation.ablation.show import ablation_table
from cli.evaluation.figures import short
from cli.evaluation.plan import ONE_DOMAIN
from cli.output import console, counted, table
from models.evaluate.report import Report, Row, Table

# Rows as (name, kind, value of the main metric).
Named = Sequence[tuple[str, str, float]]

# Heads of columns by metric, in their order. What people compare, and then the rest.
_ACCURACY = {
    "condensed_ndcg": "cN", "full_ndcg": "fN", "ndcg": "N", "recall": "R", "hit": "Hit",
    "mrr": "MRR",
}  # fmt: skip
_BEYOND = {
    "coverage": "Coverage", "diversity": "Diversity", "novelty": "Novelty",
    "miscalibration": "Miscal.", "gini": "Gini",
}  # fmt: skip
# What each mechanism of variety is there for.
_BROUGHT = {
    "diversity": "diversity", "domain_calibration": "miscalibration", "provider_share": "gini",
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
    )
    out.print(f"Split {report.split}", style="dim")
    for part in report.tables:
        _show_table(part, report)
    for name, why in report.skipped.items():
        out.print(f"  {name} left out: {why}")
    out.print(f"  {_LEGEND}", style="dim")
    versions: dict[str, str] = report.machine["versions"]
    out.print(
        f"{report.machine['cpu']}, {report.machine['cores']} cores, Python "
        f"{report.machine['python']}, {', '.join(f'{n} {v}' for n, v in versions.items())}",
        style="dim",
    )  # fmt: skip


def _show_table(part: Table, report: Report) -> None:
    out = console()
    out.print(
        f"\n{part.title}: {_units(part, part.users)}, {counted(part.targets, 'target')}, "
        f"all {part.catalogue:,} items compete",
    )
    out.print(accuracy_table(part, report))
    for row in part.rows:
        if row.note and not row.name.endswith(ONE_DOMAIN):
            out.print(f"  {row.name}: {row.note}", style="dim")
    _show_unasked(part)
    if (compared := differences_table(part, report)).row_count:
        out.print(compared)
    out.print(beyond_table(part, report))
    if part.slices:
        out.print(slices_table(part, report.main))
    if part.subsets:
        out.print(subsets_table(part, report.main))
    for what, made in variety_tables(part, report.main).items():
        out.print(f"\n{what}")
        out.print(made)
    for found in part.ablations:
        out.print(f"\n{found.title}: {counted(found.users, 'user')}")
        out.print(ablation_table(found))
        out.print(f"  {found.what}", style="dim")
    if part.fusion:
        weights = ", ".join(f"{name} {w:.2f}" for name, w in part.fusion["weights"].items())
        out.print(f"  weights on {part.fusion['surface']}: {weights}", style="dim")


def _show_unasked(part: Table) -> None:
    out = console()
    if part.users_without_history:
        why = "a history" if part.unit == "users" else "a relevant product"
        out.print(
            f"  {_units(part, part.users_without_history)} without {why}, not asked", style="dim"
        )
    if part.users_only_seen:
        out.print(
            f"  {_units(part, part.users_only_seen)} wanted only what they had before, not asked: "
            "--include-seen asks them",
            style="dim",
        )


def _units(part: Table, count: int) -> str:
    """Return a number of those that a table asks."""
    return counted(count, {"users": "user", "queries": "query"}[part.unit])


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
    names = telling(named(part, main), _SHOWN)
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


def subsets_table(part: Table, main: str) -> RichTable:
    """Return the main metric of each way to fuse, by the sources that answer."""
    made = table(f"{main}, if only these answer", *(f">{way}" for way in part.subsets[0].metrics))
    for found in part.subsets:
        made.add_row(", ".join(found.sources) or "none", *map(short, found.metrics.values()))
    return made


def variety_tables(part: Table, main: str) -> dict[str, RichTable]:
    """Return by mechanism what it costs against the most relevant order, and what it brings.

    A mechanism that changes nothing, as calibration by the one domain there is, is left out.
    """
    k = main.rpartition("@")[2]
    found = {}
    for sweep in part.variety:
        first = sweep.points[0].metrics
        if all(point.metrics == first for point in sweep.points):
            continue
        names = [n for n in ("coverage", _BROUGHT[sweep.mechanism]) if f"{n}@{k}" in first]
        heads = (f">{_BEYOND[n]}" for n in names)
        made = table("At", f">{main}", ">relative", ">interval", *heads)
        for point in sweep.points:
            served = ", served" if point.setting == sweep.served else ""
            values = (figure(n, point.metrics[f"{n}@{k}"]) for n in names)
            made.add_row(
                f"{point.setting:g}{served}", short(point.metrics[main]),
                "" if point.relative is None else f"{point.relative:+.2%}",
                f"{point.low:+.4f} to {point.high:+.4f}", *values,
            )  # fmt: skip
        found[f"{sweep.mechanism}: {sweep.what}"] = made
    return found


def telling(rows: Named, most: int) -> list[str]:
    """Return the names of the rows that say most, in their order, out of (name, kind, value).

    Recent best sellers, the best single model, and the fusions.
    """
    names = [name for name, _, _ in rows]
    first = "popular-7d" if "popular-7d" in names else "popular"
    wanted = [first, _best(rows), "fused", "fused" + ONE_DOMAIN, "convex", "rrf", *names]
    chosen = [name for name in dict.fromkeys(wanted) if name in names][:most]
    return [name for name in names if name in chosen]


def against(rows: Named) -> dict[str, str]:
    """Return what each model or fusion is compared with: row -> row, out of (name, kind, value).

    What was trained on all domains with the same on the target domain alone; all
    else with the best single model. Best sellers are too far below to say anything.
    """
    names = [name for name, _, _ in rows]
    best = _best(rows)
    found = {}
    for name, kind, _ in rows:
        twin = name + ONE_DOMAIN if name + ONE_DOMAIN in names else best
        if kind != "baseline" and twin not in {None, name}:
            found[name] = str(twin)
    return found


def _best(rows: Named) -> str | None:
    models = [row for row in rows if row[1] == "model"]
    return max(models, key=lambda row: row[2])[0] if models else None


def figure(name: str, value: float) -> str:
    """Return a metric for a table."""
    return f"{value:.1f}" if name.startswith("novelty") else short(value)


def differences_table(part: Table, report: Report) -> RichTable:
    """Return how the rows compare, and whether chance may have made it so."""
    made = table(
        "Row", "against", "in", ">difference", ">relative", f">{report.confidence:.0%}", ""
    )
    metrics = dict.fromkeys(found.metric for found in part.differences)
    pairs = {metric: against(named(part, metric)) for metric in metrics}
    for found in part.differences:
        if pairs[found.metric].get(found.row) == found.against:
            relative = "" if found.relative is None else f"{found.relative:+.1%}"
            sure = "" if found.low > 0 or found.high < 0 else "may be chance"
            made.add_row(
                found.row, found.against, found.metric, f"{found.difference:+.4f}", relative,
                f"{found.low:+.4f} to {found.high:+.4f}", sure,
            )  # fmt: skip
    return made


def named(part: Table, main: str) -> Named:
    """Return (name, kind, value of the main metric) of every row."""
    return [(row.name, row.kind, row.metrics[main]) for row in part.rows]


def _has(part: Table, name: str) -> bool:
    return all(name in row.metrics for row in part.rows)


def _costs(row: Row) -> tuple[str, str]:
    cpu = f"{row.cpu_ms:.2f}" if row.cpu_ms else "-"
    return cpu, "-" if row.seconds_train is None else f"{row.seconds_train:.0f}"
