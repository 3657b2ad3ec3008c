"""`plait tune`: search a model's settings on the validation part."""

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
from cli.evaluation.plan import Plan
from cli.options import Within, example
from cli.tuning.run import Search, tune
from cli.tuning.show import show
from cli.writable import check_directory, check_file
from models.data.dataset import load_dataset
from models.train import SOURCES

# Those whose validation part is of users and what they did next.
_PROTOCOLS = ("time-split", "leave-one-out", "given-split")


def _fields(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:  # noqa: ARG001
    found = {}
    for text in value:
        name, equals, setting = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not FIELD=VALUE")
        found[name] = setting
    return found


@click.command(
    name="tune",
    epilog=example(
        "plait tune var/data/complete-journey cf --protocol time-split --include-seen",
        "plait tune data/beauty cf --protocol leave-one-out --trials 50 --set method=als",
        "plait tune data/beauty sequence --protocol leave-one-out --minutes 120 "
        "--search learning_rate --search dropout=0.1..0.6 --search blocks=1,2",
    ),
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("source", type=click.Choice(sorted(SOURCES)))
@click.option("--protocol", type=click.Choice(_PROTOCOLS), required=True, help="How to hold out.")
@click.option(
    "--trials", type=click.IntRange(min=1), default=30, show_default=True, metavar="N",
    help="Settings to try in all; those that an earlier run has tried count.",
)  # fmt: skip
@click.option(
    "--minutes", type=Within(min=0, min_open=True), metavar="M",
    help="Begin no trial after so long.",
)  # fmt: skip
@click.option(
    "--set", "fixed", multiple=True, metavar="FIELD=VALUE", callback=_fields,
    help="Set a field of the configuration for all trials and for the default; repeatable.",
)  # fmt: skip
@click.option(
    "--search", "searched", multiple=True, metavar="FIELD[=SPACE]",
    help="Search these fields instead of those that the model declares: low..high, "
    "low..high:log or a,b,c; a name alone has the declared range. Repeatable.",
)  # fmt: skip
@K
@USERS
@SEEN
@PRESET
@WORK
@FRESH
@click.option(
    "--study", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Keep the trials in FILE (Optuna's journal) instead of in --work.",
)  # fmt: skip
@JSON
@DRAWS
@SEED
def tune_command(dataset: Path, source: str, **options: Any) -> None:
    """Search the settings of a model (SOURCE) on the validation part of DATASET.

    The test part is cut off first. The best settings are compared with the
    preset's by the same users; docs/tuning.md says more.
    """
    json_file = options.pop("json_file")
    names = ("fixed", "searched", "trials", "minutes")
    wanted: dict[str, Any] = {name: options.pop(name) for name in names}
    file = options.pop("study")
    plan = Plan(models=(), rows=(), judged="validation", **options)
    check_file(json_file)
    check_file(file)
    check_directory(plan.work)
    search = Search(plan, source, file=file, **wanted)
    data = load_dataset(dataset)
    with bars(lines=True) as stages:
        found = tune(data, search, stages)
    if wrote_json(found.as_json(), json_file):
        return
    show(found, dataset)
    written(json_file)
