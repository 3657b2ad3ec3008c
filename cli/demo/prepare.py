"""Before the walk: the dataset, the models, the seeded store. Each is made once.

What exists and fits is kept: a second demo starts within seconds.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
from rich.console import Console

from artifacts.errors import ArtifactError
from artifacts.fusion import load_fusion
from artifacts.layout import find, versions
from artifacts.loader import load
from cli.demo.places import Places, Portion
from cli.import_ import show_import
from cli.seed import describe, seed_state
from cli.train import show_trained, train_watched
from gateway.schema import lock
from models.data.dataset import Dataset, load_dataset, write_dataset
from models.data.errors import DatasetError
from models.data.importers import FORMATS, Imported, Options
from models.data.importers.complete_journey import SOURCE as CITATION
from models.data.report import keep
from models.progress import Progress
from models.train import FUSION, SOURCES, Stages, TrainConfig, config_of

FORMAT = "complete-journey"
TRAINED = (*SOURCES, FUSION)
_STAMP = "trained-on.json"
# Times in a seeded store are relative to the day it was made.
_SEED_SECONDS = 20 * 3600


def dataset(places: Places, portion: Portion, out: Console) -> Dataset:
    """Import the data unless it lies there already; print what was kept and dropped."""
    found = _existing(places.dataset, portion)
    if found is None:
        with timed(out, "Importing Complete Journey from the installed package"):
            imported = FORMATS[FORMAT].read(Path("package"), Options(name=portion.name))
            if portion.households or portion.products:
                imported = cut(imported, portion)
            found = write_dataset(
                places.dataset, items=imported.items, events=imported.events, info=imported.info
            )
    show_import(found)
    return found


def cut(imported: Imported, portion: Portion) -> Imported:
    """Keep some households and the products they buy most; a counted step like any other."""
    events = imported.events
    users = events["user_id"].unique().cast(pl.Int64).sort()
    users = users.head(portion.households or len(users))
    events, households = keep(
        events,
        pl.col("user_id").is_in(users.cast(pl.String).implode()),
        "other households",
        f"only {len(users)} are used here",
    )
    counts = events.group_by("item_key").len().sort("len", "item_key", descending=[True, False])
    keys = counts["item_key"].head(portion.products or counts.height)
    events, products = keep(
        events, pl.col("item_key").is_in(keys.implode()), "other products",
        f"only the {len(keys)} most bought are used here",
    )  # fmt: skip
    events = events.with_columns(order=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))
    items = imported.items.filter(pl.col("item_key").is_in(keys.implode()))
    report = imported.info.report.add(households, products)
    return Imported(items, events, replace(imported.info, report=report))


def models(places: Places, data: Dataset, out: Console, *, preset: str) -> None:
    """Train and publish all models unless this very dataset and these settings made them."""
    stamp = stamp_of(places, preset)
    if models_fit(places, stamp) and servable(places, out):
        out.print(f"{places.models}: trained on this dataset already")
        return
    config = TrainConfig(preset=preset)
    done, skipped = train_watched(data, places.models, config, partial(_announced, out))
    show_trained(done, skipped)
    note_training(places, stamp)


def _announced(out: Console, stages: Stages) -> Stages:
    """Say each stage in a line of its own where nobody can see a bar move."""

    def stage(name: str) -> Progress:
        if not sys.stderr.isatty():
            out.print(f"Training {name} ...")
        return stages(name)

    return stage


def stamp_of(places: Places, preset: str) -> dict[str, str]:
    """Return what models are made of: the dataset, and how this release would train on it."""
    configs = {name: config_of(name, preset, 0) for name in TRAINED}
    settings = hashlib.sha256(repr(configs).encode()).hexdigest()
    return {"dataset": _fingerprint(places.dataset), "settings": settings}


def models_fit(places: Places, stamp: Mapping[str, str]) -> bool:
    """Whether every source has a version that was made of the same."""
    try:
        noted = json.loads((places.models / _STAMP).read_text())
    except (OSError, ValueError):
        return False
    made = noted.get("versions", {})
    return {**stamp, "versions": made} == noted and all(
        made.get(name) in versions(places.models, name) for name in TRAINED
    )


def servable(places: Places, out: Console) -> bool:
    """Whether this release can serve the newest versions; says what is wrong where it cannot."""
    try:
        for source in SOURCES:
            load(find(places.models, source))
        load_fusion(find(places.models, FUSION))
    except ArtifactError as error:
        out.print(str(error))
        return False
    return True


def note_training(places: Places, stamp: Mapping[str, str]) -> None:
    """Remember what the newest versions were made of."""
    newest = {name: versions(places.models, name)[-1] for name in TRAINED}
    noted = json.dumps({**stamp, "versions": newest}, indent=2)
    (places.models / _STAMP).write_text(f"{noted}\n")


def stores(places: Places, data: Dataset, out: Console) -> None:
    """Seed the store if there is none of today, and put a fresh copy where the demo runs."""
    places.own.mkdir(parents=True, exist_ok=True)
    mark = places.seed.with_suffix(".json")
    if not _seed_fits(mark, places):
        with timed(out, "Loading items and events into the gateway's store"):
            done = seed_state(data, places.seed, replace=True)
            mark.write_text(
                json.dumps({"dataset": _fingerprint(places.dataset), "made": time.time()})
            )
        out.print(describe(done, places.seed))
    _copy(places.seed, places.played)
    if not places.state.exists():
        _copy(places.seed, places.state)


@contextmanager
def timed(out: Console, what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    out.print(f"{what} ...")
    began = time.perf_counter()
    yield
    out.print(f"  done in {time.perf_counter() - began:.1f} s", style="dim")


def _existing(path: Path, portion: Portion) -> Dataset | None:
    """Return the dataset if it is what an import today would be made from."""
    try:
        found = load_dataset(path)
    except DatasetError:
        return None
    return found if (found.info.name, found.info.source) == (portion.name, CITATION) else None


def _fingerprint(path: Path) -> str:
    return hashlib.sha256((path / "dataset.json").read_bytes()).hexdigest()


def _seed_fits(mark: Path, places: Places) -> bool:
    try:
        made = json.loads(mark.read_text())
    except (OSError, ValueError):
        return False
    young = 0 <= time.time() - made.get("made", 0) < _SEED_SECONDS
    return young and places.seed.exists() and made.get("dataset") == _fingerprint(places.dataset)


def _copy(seeded: Path, to: Path) -> None:
    """Copy a store; what was there goes, with its journal. Raises StoreInUse."""
    holder = lock(to)  # another demo may be running on it
    draft = to.with_name(f"{to.name}.draft")
    try:
        shutil.copyfile(seeded, draft)
        for suffix in ("", "-wal", "-shm"):
            to.with_name(to.name + suffix).unlink(missing_ok=True)
        draft.replace(to)
    finally:
        # Of a copy that was cut short nothing may be left: the next demo would keep it.
        draft.unlink(missing_ok=True)
        os.close(holder)
