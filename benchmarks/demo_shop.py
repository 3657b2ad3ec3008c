"""The demo's shop, as benchmarks of the whole pipeline find it: its models, data and store."""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from artifacts.layout import find
from benchmarks.command import count_or_0, ended, output, write
from cli.seed import seed_state
from cli.topology import FUSION, SOURCES
from models.data.dataset import Dataset, load_dataset

Result = dict[str, Any]
_HOUSEHOLDS = 512
_HISTORY = 200


def main(
    run: Callable[[], Result], show: Callable[[Result], None], arguments: argparse.Namespace
) -> int:
    """Run a benchmark, show and write what it found; 1 with one line where something is missing."""

    def work() -> None:
        result = run()
        show(result)
        write(arguments.json, result)

    return ended(work, "The benchmark needs the demo's data and models: make train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what these benchmarks have in common to a command line."""
    add = parser.add_argument
    add("--json", type=output, metavar="FILE", help="write everything here as well")
    add("--seed", type=count_or_0, default=0)
    add("--repository", type=Path, default=Path("var/models"))
    add("--dataset", type=Path, default=Path("var/data/complete-journey"))
    add("--seeded", type=Path, default=Path("var/demo/seed.sqlite"))


def versions(repository: Path) -> dict[str, str]:
    """Return the newest version of each artifact, by name; raises ArtifactMissing."""
    return {name: find(repository, name).name for name in (*SOURCES, FUSION)}


def prepare(arguments: argparse.Namespace, work: Path) -> None:
    """Put a seeded store, household ids and their histories into the working directory."""
    data = load_dataset(arguments.dataset)
    seeded = arguments.seeded
    if seeded is not None and seeded.exists():
        shutil.copyfile(seeded, work / "state.sqlite")
    else:
        seed_state(data, work / "state.sqlite")
    users_and_histories(data, work, arguments.seed)


def users_and_histories(data: Dataset, work: Path, seed: int) -> None:
    """Write some users' ids and newest items, of those with 20 events or more."""
    recent = (
        data.events.sort("user_id", "order")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_key").tail(_HISTORY))
        .filter(pl.col("item_key").list.len() >= 20)
        .sample(fraction=1.0, shuffle=True, seed=seed)
        .head(_HOUSEHOLDS)
    )
    (work / "users.json").write_text(json.dumps(recent["user_id"].to_list()))
    (work / "histories.json").write_text(json.dumps(recent["item_key"].to_list()))
