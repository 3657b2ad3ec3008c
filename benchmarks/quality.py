"""Every quality number of the README, by one command.

    python -m benchmarks.quality                      # the demo data: nothing else is needed
    python -m benchmarks.quality --data DIR           # and the public sets that lie in DIR
    python -m benchmarks.quality --only beauty --data DIR

Each run is a `plait evaluate`, printed as it is called; its JSON and its page go
to var/quality, and so does summary.md, the tables of all runs so far. What is
finished is not done again, so a run that was stopped goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import ended, plait
from cli.writable import write_text

OUT = Path("var/quality")
DATA = Path("var/data")
# The columns of a summary, at the main metric's k and at 20.
_COLUMNS = (("ndcg", "NDCG"), ("recall", "Recall"), ("condensed_ndcg", "Condensed NDCG"),
            ("full_ndcg", "Full NDCG"))  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One evaluation: what is imported, and what `plait evaluate` is told."""

    name: str
    format: str
    dataset: str  # the folder in --data; the demo's data come with their package
    options: tuple[str, ...]


_GROCERIES = "complete-journey"
RUNS = (
    Run("complete-journey", _GROCERIES, "complete-journey",
        ("--protocol", "time-split", "--include-seen", "--preset", "demo", "--visits")),
    Run("complete-journey-search", _GROCERIES, "complete-journey",
        ("--protocol", "search", "--include-seen", "--preset", "demo",
         "--models", "cf,content,sequence,text,rrf,convex,fused")),
    Run("beauty", "sasrec", "beauty",
        ("--protocol", "leave-one-out", "--models", "popular,cf,sequence")),
    Run("beauty-with-validation", "sasrec", "beauty",
        ("--protocol", "leave-one-out", "--models", "popular,cf,sequence", "--with-validation")),
    Run("amazon-cds", "lightgcn", "amazon-cds",
        ("--protocol", "given-split", "--models", "popular,cf", "--with-validation")),
    Run("electronics-search", "icecat-search", "electronics-search",
        ("--protocol", "search", "--models", "text")),
    Run("electronic-phone", "pairs", "electronic-phone",
        ("--protocol", "cross-domain", "--models", "cf,sequence,rrf,convex,fused")),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what can be run; return 0, or the first exit code that is not."""
    options = _options(arguments)
    return ended(lambda: _work(options))


def _work(options: argparse.Namespace) -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    for run in chosen(options.only):
        source = _source(run, options.data)
        if source is None:
            print(f"{run.name}: left out, {run.dataset} is not among --data", flush=True)
            continue
        if code := plait(commands(run, source, fresh=options.fresh)):
            return code
    text = summary(_reports())
    write_text(OUT / "summary.md", text)
    print(text)
    return 0


def commands(run: Run, source: str, *, fresh: bool = False) -> list[list[str]]:
    """Return the commands of a run, an import first unless the data are there."""
    place = DATA / run.dataset
    made = [] if (place / "dataset.json").exists() else [["import", run.format, source, str(place)]]
    files = ["--json", str(OUT / f"{run.name}.json"), "--html", str(OUT / f"{run.name}.html")]
    return [*made, ["evaluate", str(place), *run.options, *files, *(["--fresh"] if fresh else [])]]


def chosen(only: str) -> list[Run]:
    """Return the runs that are named, all by default; raises SystemExit for a wrong name."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {run.name: run for run in RUNS}
    if wrong := [name for name in names if name not in known]:
        raise SystemExit(f"there is no run {', '.join(wrong)}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(RUNS)


def summary(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return every table of the reports in Markdown."""
    return "\n".join(
        f"## {name}\n\n{_table(report, table)}"
        for name, report in reports.items()
        for table in report["tables"]
    )


def _table(report: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    main, rows = report["main"], table["rows"]
    k = main.rpartition("@")[2]
    ks = dict.fromkeys((k, "20"))
    columns = [
        (f"{metric}@{at}", f"{head}@{at}")
        for at in ks
        for metric, head in _COLUMNS
        if f"{metric}@{at}" in rows[0]["metrics"]
    ]
    heads = ["", *(head for _, head in columns), f"{main}, 95 %", "CPU ms"]
    counts = f"{table['users']:,} {table['unit']}, {table['targets']:,} targets"
    title = f"{table['title']}: {counts}, {table['catalogue']:,} items\n"
    lines = [title, _cells(heads), _cells(["---"] * len(heads))]
    for row in rows:
        low, high = row["intervals"][main]
        values = [_short(row["metrics"][name]) for name, _ in columns]
        cost = f"{row['cpu_ms']:.2f}" if row["cpu_ms"] else ""
        lines.append(_cells([row["name"], *values, f"{_short(low)} to {_short(high)}", cost]))
    return "\n".join(lines) + "\n"


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _reports() -> dict[str, Any]:
    found = {run.name: OUT / f"{run.name}.json" for run in RUNS}
    return {name: json.loads(file.read_text()) for name, file in found.items() if file.exists()}


def _source(run: Run, data: Path | None) -> str | None:
    """Return what to import: the package, or a folder of --data if it is there."""
    if run.format == _GROCERIES:
        return "package"
    if data is not None and (data / run.dataset).is_dir():
        return str(data / run.dataset)
    return None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="where the public sets lie, a folder for each")
    parser.add_argument("--only", default="", help="runs to do, separated by commas")
    parser.add_argument("--fresh", action="store_true", help="do every part again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
