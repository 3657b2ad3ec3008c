"""`plait evaluate`: honest numbers for each model alone and for the fused ranking."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.evaluation import MODELS, Plan, Stages, evaluate
from cli.options import example
from cli.output import console, print_json, table
from models.data.dataset import load_dataset
from models.data.splits import PROTOCOLS
from models.evaluate.report import Line, Report


def _models(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:  # noqa: ARG001
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    wrong = [name for name in names if name not in MODELS]
    if wrong or not names:
        raise click.BadParameter(
            f"{', '.join(map(repr, wrong)) or 'nothing'} given; there are: {', '.join(MODELS)}"
        )
    return names


def _ks(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:  # noqa: ARG001
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of numbers from 1 to 1000, such as 10,20")
    return tuple(sorted({int(part) for part in parts}))


@click.command(
    epilog=example(
        "plait evaluate var/data/complete-journey --protocol time-split --json report.json",
        "plait evaluate data/beauty --protocol leave-one-out --models cf,sequence,fused",
        "plait evaluate data/cds --protocol given-split --models cf --k 20 --with-validation",
    )
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(PROTOCOLS), required=True, help="How to hold out.")
@click.option(
    "--models", default=",".join(MODELS), show_default=True, callback=_models, metavar="LIST",
    help="What to judge; `fused` blends the sources in the list.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE", help="Write everything as JSON; - is standard output.",
)  # fmt: skip
@click.option(
    "--users", type=click.IntRange(min=1), metavar="N", help="Judge by N users drawn at random."
)
@click.option("--k", "ks", default="10,20", show_default=True, callback=_ks, metavar="LIST")
@click.option(
    "--exclude-seen/--include-seen", default=True, show_default=True,
    help="Whether items of a user's history are neither shown nor looked for.",
)  # fmt: skip
@click.option(
    "--with-validation", is_flag=True,
    help="Train once more on train and validation before the test; weights stay as tuned.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(["quick", "demo", "full"]), default="full", show_default=True,
    help="Training settings: as in tests, in the demo, or as good as it gets.",
)  # fmt: skip
@click.option(
    "--repository", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Keep the trained models there, and reuse those that are there.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def evaluate_command(dataset: Path, **options: Any) -> None:
    """Train on one part of DATASET, tune on the next, and judge on the last.

    Every item competes in every ranking. Models kept in a --repository must have
    been trained by the same protocol on the same data.
    """
    json_file = options.pop("json_file")
    kept = options.pop("repository")
    data = load_dataset(dataset)
    with tempfile.TemporaryDirectory(prefix="plait-evaluate-") as scratch, bars() as stages:
        plan = Plan(repository=kept or Path(scratch), **options)
        report = evaluate(data, plan, stages)
    if str(json_file) == "-":
        print_json(report.as_json())
        return
    show(report)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.as_json(), indent=2, default=str) + "\n")
        console().print(f"Everything is in {json_file}", markup=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Stages]:
    """Show a progress bar for each stage of the work, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True)) as shown:

        def stage(name: str) -> Any:
            task: TaskID = shown.add_task(name, total=None)

            def report(done: int, total: int, text: str) -> None:
                described = f"{name}: {text}" if text and text not in name else name
                shown.update(task, completed=done, total=total or None, description=described)

            return report

        yield stage


def show(report: Report) -> None:
    """Print the report for people."""
    out = console()
    names = [f"{metric}@{k}" for k in report.ks for metric in ("recall", "ndcg")]
    names += ["mrr", f"coverage@{max(report.ks)}"]
    heads = (
        name.replace("recall", "R").replace("ndcg", "N").replace("mrr", "MRR") for name in names
    )
    made = table(
        "Model", *(f">{head.replace('coverage', 'cov')}" for head in heads), ">Train", ">Rank"
    )
    for line in report.lines:
        made.add_row(line.name, *(f"{line.metrics[n]:.4f}" for n in names), *_seconds(line))
    seen = "seen items excluded" if report.exclude_seen else "seen items included"
    out.print(
        f"{report.dataset}, {report.protocol}: {report.users:,} users, {report.targets:,} targets, "
        f"all {report.catalogue:,} items ranked, {seen}, trained on {report.trained_on}",
        markup=False,
    )
    out.print(f"Split {report.split}", style="dim", markup=False)
    out.print(made)
    out.print(
        "  R recall, N NDCG, MRR of the first hit, cov share of the catalogue shown; "
        "Train and Rank in seconds",
        style="dim", markup=False,
    )  # fmt: skip
    for line in report.lines:
        if line.note:
            out.print(f"  {line.name}: {line.note}", style="dim", markup=False)
    for name, why in report.skipped.items():
        out.print(f"  {name} left out: {why}", markup=False)
    if report.users_without_history:
        out.print(
            f"  {report.users_without_history:,} users without a history were not asked",
            markup=False,
        )
    _show_fusion(report)
    versions: dict[str, str] = report.machine["versions"]
    out.print(
        f"{report.machine['cpu']}, {report.machine['cores']} cores, Python "
        f"{report.machine['python']}, {', '.join(f'{n} {v}' for n, v in versions.items())}",
        style="dim", markup=False,
    )  # fmt: skip


def _seconds(line: Line) -> tuple[str, str]:
    trained = "-" if line.seconds_train is None else f"{line.seconds_train:.1f}"
    return trained, f"{line.seconds_rank:.1f}"


def _show_fusion(report: Report) -> None:
    if not report.fusion:
        return
    for surface, weights in report.fusion["weights"].items():
        parts = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        console().print(f"  weights on {surface}: {parts}", style="dim", markup=False)
