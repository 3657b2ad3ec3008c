"""Options that `plait evaluate` and `plait tune` share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.options import SEEDS
from cli.output import console, print_json
from cli.writable import write_text
from models.train import PRESETS


def _ks(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:  # noqa: ARG001
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of numbers from 1 to 1000, such as 10,20")
    return tuple(sorted({int(part) for part in parts}))


K = click.option(
    "--k", "ks", default="5,10,20,50", show_default=True, callback=_ks, metavar="LIST",
    help="Metrics at so many places; ndcg@10 is the main one, or that at the least.",
)  # fmt: skip
USERS = click.option(
    "--users", type=click.IntRange(min=1), metavar="N", help="Judge by N users drawn at random."
)
SEEN = click.option(
    "--exclude-seen/--include-seen", default=True, show_default=True,
    help="Whether items of a user's history are neither shown nor looked for.",
)  # fmt: skip
PRESET = click.option(
    "--preset", type=click.Choice(PRESETS), default="full", show_default=True,
    help="Training settings: as in tests, in the demo, or as good as it gets.",
)  # fmt: skip
WORK = click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), default=Path("var/evaluate"),
    show_default=True, metavar="DIR",
    help="Keep finished parts (models, rankings) there; what is there is not done again.",
)  # fmt: skip
FRESH = click.option("--fresh", is_flag=True, help="Do every part again.")
JSON = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE", help="Write everything as JSON; - is standard output.",
)  # fmt: skip
DRAWS = click.option(
    "--draws", type=click.IntRange(1, 100_000), default=1000, show_default=True,
    help="Resamples that the 95 % intervals are made of.",
)  # fmt: skip
SEED = click.option("--seed", type=SEEDS, default=0, show_default=True)


def wrote_json(found: Mapping[str, Any], file: Path | None) -> bool:
    """Write JSON to a file or, for "-", to standard output; say whether it was the latter."""
    if str(file) == "-":
        print_json(found)
        return True
    if file is not None:
        write_text(file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return False


def written(*files: Path | None) -> None:
    """Say which files were written."""
    for file in filter(None, files):
        console().print(f"Written: {file}", soft_wrap=True)
