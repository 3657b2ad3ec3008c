"""`plait evaluate`: honest numbers for each model alone and for the fused ranking."""

from pathlib import Path
from typing import Any

import click

from cli.bars import bars
from cli.evaluation.options import (
    DRAWS,
    FRESH,
    JSON,
    PRESET,
    SEED,
    SEEN,
    USERS,
    WORK,
    K,
    written,
    wrote_json,
)
from cli.evaluation.page.page import page
from cli.evaluation.plan import ABLATIONS, ROWS, Plan, read_models
from cli.evaluation.run import evaluate
from cli.evaluation.show import show
from cli.options import example
from cli.writable import check_directory, check_file, write_text
from models.data.dataset import load_dataset
from models.evaluate.parts import JUDGED, PROTOCOLS


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
@K
@click.option(
    "--judge", "judged", type=click.Choice(JUDGED), default="test", show_default=True,
    help="What to judge by. Choose settings by validation: it never looks at the test part.",
)  # fmt: skip
@click.option(
    "--with-validation", is_flag=True,
    help="Train once more on train and validation before the test; lengths of training and "
    "weights stay as chosen without.",
)  # fmt: skip
@USERS
@SEEN
@click.option(
    "--domain", "domains", multiple=True, metavar="NAME",
    help="A target domain of cross-domain; repeatable. Default: all, where they are few.",
)  # fmt: skip
@PRESET
@click.option(
    "--subsets", is_flag=True,
    help="Judge the fusion with every subset of its sources too, as if the others were down.",
)  # fmt: skip
@click.option(
    "--new-items", is_flag=True,
    help="Judge by the items that training never saw too: among all items, and among themselves.",
)  # fmt: skip
@click.option(
    "--visits", is_flag=True,
    help="Judge SESSION and CART too, by each shopper's first visit after the split; time-split.",
)  # fmt: skip
@click.option(
    "--ablate", multiple=True, type=click.Choice(ABLATIONS),
    help="Change one thing of the fusion at a time: what the last minutes bring, how far back "
    "histories reach, what trend and price weigh; repeatable.",
)  # fmt: skip
@WORK
@FRESH
@JSON
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write one page with tables and plots; it needs nothing else.",
)  # fmt: skip
@DRAWS
@SEED
def evaluate_command(dataset: Path, **options: Any) -> None:
    """Train on one part of DATASET, tune on the next, and judge on the last.

    Every item competes in every ranking. docs/evaluation.md explains the
    protocols, the metrics and the JSON.
    """
    json_file, html_file = options.pop("json_file"), options.pop("html_file")
    models, more = read_models(options.pop("models"), options.pop("sets"))
    plan = Plan(models=models, **more, **options)
    check_file(json_file)
    check_file(html_file)
    check_directory(plan.work)
    data = load_dataset(dataset)
    with bars(lines=True) as stages:
        report = evaluate(data, plan, stages)
    found = report.as_json()
    shown = wrote_json(found, json_file)
    if html_file is not None:
        write_text(html_file, page(found))
    if shown:
        return
    show(report)
    written(json_file, html_file)
