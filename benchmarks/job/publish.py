"""The job's models as real artifacts, so that Plait serves them as it serves any other.

Made once per seed below .cache/ (a few seconds) by the code that every trainer
uses: manifest, score quantiles, samples that are replayed before serving. Each of the
four sources has two versions: version 1 is the graph that the other systems serve,
version 2 the same model as Plait's trainers export it. The fusion has three: versions 1
and 2 merge as `benchmarks.job.merge` does and nothing else, for either version of the
sources, version 3 is the whole pipeline with the default settings.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artifacts import layout
from artifacts.engine import Engine
from artifacts.engines.encoder import ENCODER, TOKENIZER
from artifacts.engines.encoder import WIDTH as TEXT_WIDTH
from artifacts.engines.graph import GraphEngine
from artifacts.engines.indexed import ENGINE, IndexedEngine
from artifacts.engines.item_tower import FIELDS, MAX_WORDS, TOWER
from artifacts.fusion import FusionArtifact, FusionSettings, save
from artifacts.keys import KeyIndex
from artifacts.manifest import MODEL
from benchmarks.job import SOURCES, WIDTHS
from benchmarks.job.graphs import save_recommender, save_tower
from benchmarks.job.world import World, world
from models.codes import build_codes
from models.export import Origin, finish, new_manifest, wire_inputs, wire_outputs
from models.fusion.config import quantiles_of
from models.histories import Histories
from models.index import save_index
from models.text.encode import prepare_encoder

# Versions of a source: the graph that all systems serve, and Plait's own export.
SHARED, OWN = 1, 2
# Versions of the fusion: the merge alone of either, and everything the gateway can do.
MERGE_SHARED, MERGE_ONLY, WHOLE = 1, 2, 3
# Part of the directory's name: raise it when what is written here changes.
_REVISION = 3
_BUCKETS = 64
_SURFACES = ("HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK")
DOMAINS = 30


@dataclass(frozen=True, slots=True)
class Config:
    """What the artifacts were made from."""

    seed: int = 0


def repository(seed: int = 0, cache: Path = Path(".cache")) -> Path:
    """Return the model repository of a seed, made if it is not there."""
    ready = cache / f"benchmark-models-{_REVISION}-{seed}"
    if ready.is_dir():
        return ready.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".benchmark-models-", dir=cache))
    try:
        publish_all(draft, Config(seed), world(seed))
        draft.chmod(0o755)
        draft.rename(ready)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ready.absolute()


def publish_all(home: Path, config: Config, shop: World) -> None:
    """Publish the four sources and both versions of the fusion."""
    encoder = prepare_encoder()
    keys = shop.histories(200)
    histories = Histories(keys, np.ones(keys.shape, np.float32))
    quantiles = {}
    for source in SOURCES:
        for whole in (True, False):
            engine = _publish(home, source, config, (shop, histories, encoder), whole=whole)
        quantiles[source] = quantiles_of(engine)
    nothing = FusionSettings(
        w_trend=0.0, w_session=0.0, w_cost=0.0, w_cross_domain=0.0, diversity=0.0
    )
    for version in (SHARED, OWN):
        _publish_fusion(home, config, _fusion(shop, nothing, {}, version))
    _publish_fusion(home, config, _fusion(shop, FusionSettings(), quantiles, OWN))


def _publish(
    home: Path,
    source: str,
    config: Config,
    made_from: tuple[World, Histories, Path],
    *,
    whole: bool,
) -> Engine:
    shop, histories, encoder = made_from
    network = config.seed if source == "sequence" else None
    vectors = shop.vectors(source)
    with layout.publish(home, source) as (directory, version):
        save_recommender(directory / MODEL, vectors, network_seed=network, whole=whole)
        if not whole:
            liked = KeyIndex(shop.keys).rows(histories.keys) - 1
            codes = build_codes(vectors, vectors[liked].mean(axis=1))
            save_index(directory, vectors, codes)
        _add_encoders(directory, source, encoder)
        manifest = new_manifest(
            Origin(source, version, config, _no_events()),
            engine="graph" if whole else ENGINE,
            inputs=wire_inputs(),
            outputs=wire_outputs(embedding=WIDTHS[source]),
            metrics={},
            tolerance=0.0,
            engine_parameters={"hash_buckets": _BUCKETS} if source == "content" else None,
        )
        engine = (GraphEngine if whole else IndexedEngine)(directory, manifest, shop.keys)
        finish(directory, manifest, shop.keys, engine, histories)
    return engine


def _add_encoders(directory: Path, source: str, encoder: Path) -> None:
    """Add what the content and the text service serve beside their recommender."""
    if source in ("content", "text"):
        for name in (ENCODER, TOKENIZER):
            shutil.copyfile(encoder / name, directory / name)
    if source == "content":
        inputs: dict[str, tuple[str | int, ...]] = {
            "text_vector": ("M", TEXT_WIDTH),
            "fields": ("M", len(FIELDS)),
            "words": ("M", MAX_WORDS),
            "price": ("M",),
        }
        save_tower(directory / TOWER, WIDTHS[source], _BUCKETS, inputs)


def _fusion(
    shop: World,
    settings: FusionSettings,
    quantiles: dict[str, tuple[np.ndarray, np.ndarray]],
    version: int,
) -> FusionArtifact:
    draw = np.random.default_rng((shop.seed, DOMAINS))
    prior = draw.dirichlet(np.ones(DOMAINS)).astype(np.float32)
    return FusionArtifact(
        item_keys=shop.keys,
        vectors=shop.vectors("content"),
        popularity=draw.random(len(shop.keys), np.float32) ** 3,
        domain_names=tuple(f"domain {d}" for d in range(DOMAINS)),
        domain_transition=draw.normal(scale=0.5, size=(DOMAINS, DOMAINS)).astype(np.float32),
        domain_prior=prior / prior.sum(),
        weights={s: dict.fromkeys(SOURCES, 1 / len(SOURCES)) for s in _SURFACES},
        quantiles=quantiles,
        settings=settings,
        tuned_on=dict.fromkeys(SOURCES, version),
    )


def _publish_fusion(home: Path, config: Config, artifact: FusionArtifact) -> None:
    with layout.publish(home, "fusion") as (directory, version):
        manifest = new_manifest(
            Origin("fusion", version, config, _no_events()),
            engine="fusion", inputs=[], outputs=[], metrics={}, tolerance=0.0,
        )  # fmt: skip
        save(directory, artifact, manifest)


def _no_events() -> pl.DataFrame:
    return pl.DataFrame(schema={"time": pl.Datetime})
