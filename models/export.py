"""What every model does to become an artifact: manifest, samples, proof.

The one idea: the answers that a manifest promises are recorded by the same
engine that will serve them. A trainer saves its graph, compares it with the
training framework (`check_parity`), fills a manifest (`new_manifest`) and hands
both to `finish`, which asks the engine for score quantiles and samples, and
writes manifest.json over everything that lies in the directory.

    with layout.publish(repository, "cf") as (directory, version):
        save_graph(directory / MODEL)
        worst = check_parity("cf", from_torch, from_onnx, tolerance=1e-4)
        manifest = new_manifest(Origin(...), inputs=..., outputs=..., metrics=...)
        engine = GraphEngine(directory, manifest, keys)
        finish(directory, manifest, keys, engine, histories)
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts import manifest as manifests
from artifacts.engine import Engine, Question, Scores, record_sample
from artifacts.engines.told import AGE, TOLD, TYPE
from artifacts.keys import Keys
from models.data.errors import OptionError
from models.histories import Histories, sample_requests
from plait.v1.manifest_pb2 import Manifest, ScoreQuantile, TensorSpec

# Libraries whose version can change what a model computes or how its graph runs.
LIBRARIES = (
    "numpy",
    "scipy",
    "torch",
    "implicit",
    "onnx",
    "onnxruntime",
    "polars",
    "tokenizers",
    "tantivy",
)

# Scores are calibrated over what a source is asked for: its best 200.
QUANTILE_DEPTH = 200


class ExportMismatch(Exception):
    """The exported graph does not compute what the trained model computes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an artifact comes from."""

    source: str
    version: int
    # The trainer's frozen Config; must have the field `seed`.
    config: Any
    # The events the shipped model learned from: columns time (nullable) and one row each.
    events: pl.DataFrame


def wire_inputs(
    *, reads_query: bool = False, reads_history: bool = True, told: Collection[str] = ()
) -> list[TensorSpec]:
    """Return the inputs of the wire contract for a model that reads histories and/or text.

    `told`: which of artifacts.engines.told.TOLD it reads too.
    """
    specs = []
    if reads_history:
        # A model that reads text as well can do without a history.
        specs += [
            TensorSpec(name="history", datatype="INT64", shape=[-1, -1], optional=reads_query),
            TensorSpec(name="history_weight", datatype="FP32", shape=[-1, -1], optional=True),
        ]
        kinds = {TYPE: "INT64", AGE: "FP32"}
        specs += [
            TensorSpec(name=name, datatype=kinds[name], shape=[-1, -1], optional=True)
            for name in TOLD
            if name in told
        ]
    if reads_query:
        optional = reads_history
        specs.append(TensorSpec(name="query", datatype="BYTES", shape=[-1, 1], optional=optional))
    specs += [
        TensorSpec(name="k", datatype="INT64", shape=[-1, 1], optional=True),
        TensorSpec(name="candidates", datatype="INT64", shape=[-1, -1], optional=True),
    ]
    return specs


def wire_outputs(*, embedding: int = 0) -> list[TensorSpec]:
    """Return the outputs of the wire contract; `embedding` is its dimension, 0 for none."""
    specs = [
        TensorSpec(name="item_keys", datatype="INT64", shape=[-1, -1]),
        TensorSpec(name="scores", datatype="FP32", shape=[-1, -1]),
    ]
    if embedding:
        specs.append(TensorSpec(name="embedding", datatype="FP32", shape=[-1, embedding]))
    return specs


def library_versions() -> dict[str, str]:
    """Return the installed versions of `LIBRARIES`; those not installed are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def new_manifest(
    origin: Origin,
    *,
    engine: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    metrics: Mapping[str, float],
    tolerance: float,
    engine_parameters: Mapping[str, float] | None = None,
) -> Manifest:
    """Fill in all of a manifest but what `finish` adds (quantiles, samples, hashes).

    `tolerance` is the largest difference that `check_parity` was told to allow.
    """
    manifest = Manifest(
        source=origin.source,
        version=origin.version,
        engine=engine,
        inputs=inputs,
        outputs=outputs,
        event_count=origin.events.height,
        training_config=config_json(origin.config),
        seed=origin.config.seed,
        library_versions=library_versions(),
        metrics={name: float(value) for name, value in metrics.items()},
        export_tolerance=tolerance,
        engine_parameters=dict(engine_parameters or {}),
    )
    manifest.create_time.FromDatetime(datetime.now(UTC))
    times = origin.events["time"].drop_nulls()
    if len(times):
        manifest.data_start_time.FromDatetime(_instant(times.min()))
        manifest.data_end_time.FromDatetime(_instant(times.max()))
    return manifest


def config_json(config: Any) -> dict[str, str]:
    """Return a frozen config's fields, each as JSON; paths and the like as their text."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {name: json.dumps(value, default=str) for name, value in values.items()}


def check_parity(
    what: str,
    trained: npt.NDArray[np.floating[Any]],
    exported: npt.NDArray[np.floating[Any]],
    *,
    tolerance: float,
) -> float:
    """Return the largest difference between both outputs on the same inputs.

    Infinite and NaN entries must stand in the same places. Raises ExportMismatch
    above `tolerance` (absolute).
    """
    if trained.shape != exported.shape:
        raise ExportMismatch(f"{what}: trained {trained.shape}, exported {exported.shape}")
    finite = np.isfinite(trained)
    if not np.array_equal(finite, np.isfinite(exported)):
        raise ExportMismatch(f"{what}: the exported graph has opinions where the model has none")
    worst = float(np.abs(trained[finite] - exported[finite]).max(initial=0.0))
    if worst > tolerance:
        raise ExportMismatch(
            f"{what}: the exported graph differs by {worst:.2e}, allowed {tolerance:.0e}; "
            "is an operator exported in another precision?"
        )
    return worst


def finish(
    directory: Path,
    manifest: Manifest,
    keys: Keys,
    engine: Engine,
    histories: Histories,
) -> None:
    """Record quantiles and samples from the engine, then write the manifest.

    Raises OptionError where a user's vector is no number: the training has diverged.

    Everything else of the artifact must already lie in `directory`. `keys` is
    int64 [n], row i + 1 of the graph.
    """
    manifest.item_count = len(keys)
    manifest.score_quantiles.extend(_quantiles(retrieved_scores(engine, histories)))
    engine.manifest = manifest
    for sample in sample_requests(keys, histories):
        manifest.samples.append(record_sample(engine, sample))
    manifests.write(directory, manifest, keys)


def diverged(source: str) -> OptionError:
    """Return what to raise where a trained model's vectors are no numbers."""
    return OptionError(
        f"{source}: the trained model gives no numbers, its training has diverged; "
        "lower its learning_rate"
    )


def retrieved_scores(engine: Engine, histories: Histories, *, batch: int = 32) -> Scores:
    """Return the scores of every history's best 200, flat, NaN left out.

    A text model is asked with each of the queries, without a history. Raises OptionError
    where the model answers with vectors that are no numbers.
    """

    def ask(start: int) -> Scores:
        keys, weight = (
            histories.keys[start : start + batch],
            histories.weight[start : start + batch],
        )
        query = histories.queries[start : start + batch] or None
        if query is not None:
            keys, weight = (
                np.zeros((len(query), 0), np.int64),
                np.zeros((len(query), 0), np.float32),
            )
        types = None if histories.types is None else histories.types[start : start + batch]
        ages = None if histories.ages is None else histories.ages[start : start + batch]
        k = np.full(len(keys), QUANTILE_DEPTH, np.int64)
        question = Question(keys, weight, query=query, k=k, history_type=types, history_age=ages)
        answer = engine.run(question)
        if answer.embedding is not None and not np.isfinite(answer.embedding).all():
            raise diverged(engine.manifest.source)
        return answer.scores

    size = len(histories.queries) or len(histories.keys)
    flat = np.concatenate([ask(start).ravel() for start in range(0, size, batch)])
    kept: Scores = flat[np.isfinite(flat)]
    return kept


def _quantiles(scores: Scores) -> list[ScoreQuantile]:
    """Return 101 points, probabilities 0, 0.01 .. 1."""
    if not len(scores):
        return []
    probabilities = np.linspace(0.0, 1.0, 101)
    values = np.quantile(scores.astype(np.float64), probabilities)
    return [
        ScoreQuantile(probability=float(p), score=float(v))
        for p, v in zip(probabilities, values, strict=True)
    ]


def _instant(time: Any) -> datetime:
    """A polars time without zone is UTC here."""
    if not isinstance(time, datetime):
        raise TypeError(f"events.time holds {type(time).__name__}, expected datetimes in UTC")
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
