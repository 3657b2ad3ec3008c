"""Training the fusion: from sources' artifacts and held-out events to a fusion artifact.

The sources answer questions about events they were not trained on; the blend
that ranks what really followed best becomes a surface's weights. A source
trained on those very events would look better than it is, so the held-out
window begins where the youngest source's data ends.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import Engine
from artifacts.errors import ArtifactMissing
from artifacts.fusion import load_fusion, save
from artifacts.loader import load
from models.data.dataset import Dataset
from models.export import Origin, new_manifest
from models.fusion.config import PRESETS, TEXT, Config, Earlier, Window, quantiles_of
from models.fusion.learn import learn
from models.fusion.vectors import item_vectors
from models.progress import Progress, silent
from models.validation import hold_out

__all__ = ["PRESETS", "Config", "Earlier", "Window", "before", "refresh", "train"]

SOURCES = ("cf", "content", "sequence", TEXT)
# A window with fewer events teaches nothing reliable.
_LEAST_EVENTS = 100
# Sources that learn from less than this share of what they know now are too unlike them.
_LEAST_KNOWN = 0.5


def train(
    config: Config,
    dataset: Dataset,
    repository: Path,
    progress: Progress = silent,
    window: Window | None = None,
) -> Path:
    """Tune on the sources' newest artifacts in `repository`; publish, return the directory.

    `window` says which events are held out; without it, those after the sources'
    data end. If there are none the weights are the documented defaults
    (models/fusion/learn.py). Raises ArtifactMissing if no source reads histories.
    """
    engines = load_sources(repository)
    found = window if window is not None else held_out(dataset, engines)
    vectors = item_vectors(repository, dataset.items["item_key"].sort().to_numpy())
    artifact, metrics = learn(config, dataset, engines, (vectors, found), progress)
    with layout.publish(repository, "fusion") as (directory, version):
        origin = Origin("fusion", version, config, dataset.events)
        manifest = new_manifest(
            origin, engine="fusion", inputs=[], outputs=[], metrics=metrics, tolerance=0.0
        )
        save(directory, artifact, manifest)
    return repository / "fusion" / str(version)


def refresh(repository: Path) -> Path:
    """Publish the newest fusion anew for the newest sources, which were fitted after it.

    What was tuned stays. Item vectors and quantiles follow: a new item's vector is made by
    the content version that serves, and is nothing beside those of another.
    """
    newest = layout.find(repository, "fusion")
    artifact, manifest = load_fusion(newest), manifests.read(newest)
    engines = load_sources(repository)
    artifact = replace(
        artifact,
        vectors=item_vectors(repository, artifact.item_keys),
        quantiles={name: quantiles_of(engine) for name, engine in engines.items()},
        tuned_on={name: int(engine.manifest.version) for name, engine in engines.items()},
    )
    manifest.create_time.FromDatetime(datetime.now(UTC))
    manifest.file_hashes.clear()
    with layout.publish(repository, "fusion") as (directory, version):
        manifest.version = version
        save(directory, artifact, manifest)
    return repository / "fusion" / str(version)


def before(config: Config, window: Window) -> Window | None:
    """Return the window of as many events right before a window, for a ranker to learn from.

    None where no ranker can be learned, where it is to learn from one window alone, or
    where too little comes before.
    """
    known, wanted = window.known, window.wanted
    questions = wanted["user_id"].n_unique() * config.moments
    timed = known.height > 0 and not known["time"].null_count()
    if not (config.ranker and config.earlier and timed) or questions < config.least_questions:
        return None
    share = wanted.height / known.height
    if share > 1 - _LEAST_KNOWN:
        return None
    held = hold_out(known, share=share)
    return Window(held.known, held.wanted) if held.known.height else None


def load_sources(repository: Path) -> dict[str, Engine]:
    """Load the newest artifact of each source there is.

    Raises ArtifactMissing if there is none.
    """
    engines = {}
    for source in SOURCES:
        if layout.versions(repository, source):
            engines[source] = load(layout.find(repository, source))
    if not engines:
        raise ArtifactMissing(
            f"{repository}: no source is there ({', '.join(SOURCES)}); "
            "train them first with `plait train`, the fusion learns from their answers"
        )
    return engines


def held_out(dataset: Dataset, engines: Mapping[str, Engine]) -> Window:
    """Return the events that come after every source's training data, and those before.

    Nothing is held out where events have no time, or the sources know them all.
    """
    nothing = Window(known=dataset.events, wanted=dataset.events.clear())
    ends = [
        engine.manifest.data_end_time.ToDatetime(tzinfo=UTC)
        for name, engine in engines.items()
        # The text source learns nothing from events, so it may know of them all.
        if name != TEXT and engine.manifest.HasField("data_end_time")
    ]
    if dataset.info.times != "time" or not ends:
        return nothing
    later = pl.col("time") > max(ends)
    window = Window(dataset.events.filter(~later), dataset.events.filter(later))
    return window if window.wanted.height >= _LEAST_EVENTS else nothing
