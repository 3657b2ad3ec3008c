"""`plait evaluate`: honest numbers for each model alone and for the fused ranking."""

import json
from pathlib import Path
from typing import Any

import click

from cli.bars import bars
from cli.evaluation.page.page import page
from cli.evaluation.plan import ROWS, Plan, read_models
from cli.evaluation.run import evaluate
from cli.evaluation.show import show
from cli.options import example
from cli.output import console, print_json
from models.data.dataset import load_dataset
from models.evaluate.parts import JUDGED, PROTOCOLS
from models.train import PRESETS


def _ks(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:  # noqa: ARG001
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of numbers from 1 to 1000, such as 10,20")
    return tuple(sorted({int(part) for part in parts}))


@click.command(
    name="evaluate",
    epilog=example(
        "plait evaluate var/data/complete-journey --protocol time-split --html report.html",
        "plait evaluate data/beauty --protocol leave-one-out --models popular,sequence",
        "plait evaluate data/cds --protocol given-split --models cf,wide=cf "
        "--set wide.top_weights=256",
        "plait evaluate data/two-shops --protocol cross-domain --models cf,fused",
        "plait evaluate data/electronics --protocol search --models text",
    ),
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(PROTOCOLS), required=True, help="How to hold out.")
@click.option(
    "--models", default=",".join(ROWS), show_default=True, metavar="LIST",
    help="The rows to judge; NAME=SOURCE trains a source once more under another name. "
    "The first of each source is fused.",
)  # fmt: skip
@click.option(
    "--set", "sets", multiple=True, metavar="NAME.FIELD=VALUE",
    help="Set a field of a row's training configuration, or of `fusion`; repeatable.",
)  # fmt: skip
@click.option("--k", "ks", default="5,10,20,50", show_default=True, callback=_ks, metavar="LIST")
@click.option(
    "--judge", "judged", type=click.Choice(JUDGED), default="test", show_default=True,
    help="What to judge by. Choose settings by validation: it never looks at the test part.",
)  # fmt: skip
@click.option(
    "--with-validation", is_flag=True,
    help="Train once more on train and validation before the test; lengths of training and "
    "weights stay as chosen without.",
)  # fmt: skip
@click.option(
    "--users", type=click.IntRange(min=1), metavar="N", help="Judge by N users drawn at random."
)
@click.option(
    "--exclude-seen/--include-seen", default=True, show_default=True,
    help="Whether items of a user's history are neither shown nor looked for.",
)  # fmt: skip
@click.option(
    "--domain", "domains", multiple=True, metavar="NAME",
    help="A target domain of cross-domain; repeatable. Default: all, where they are few.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(PRESETS), default="full", show_default=True,
    help="Training settings: as in tests, in the demo, or as good as it gets.",
)  # fmt: skip
@click.option(
    "--subsets", is_flag=True,
    help="Judge the fusion with every subset of its sources too, as if the others were down.",
)  # fmt: skip
@click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), default=Path("var/evaluate"),
    show_default=True, metavar="DIR",
    help="Keep finished parts (models, rankings) there; what is there is not done again.",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Do every part again.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE", help="Write everything as JSON; - is standard output.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write one page with tables and plots; it needs nothing else.",
)  # fmt: skip
@click.option(
    "--draws", type=click.IntRange(min=1), default=1000, show_default=True,
    help="Resamples that the 95 % intervals are made of.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def evaluate_command(dataset: Path, **options: Any) -> None:
    """Train on one part of DATASET, tune on the next, and judge on the last.

    Every item competes in every ranking. docs/evaluation.md explains the
    protocols, the metrics and the JSON.
    """
    json_file, html_file = options.pop("json_file"), options.pop("html_file")
    models, more = read_models(options.pop("models"), options.pop("sets"))
    plan = Plan(models=models, **more, **options)
    data = load_dataset(dataset)
    with bars(lines=True) as stages:
        report = evaluate(data, plan, stages)
    found = report.as_json()
    if html_file is not None:
        _write(html_file, page(found))
    if str(json_file) == "-":
        print_json(found)
        return
    show(report)
    if json_file is not None:
        _write(json_file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    for file in filter(None, (json_file, html_file)):
        console().print(f"Written: {file}", markup=False, soft_wrap=True)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
