"""A tiny content artifact: an item tower over the tiny encoder, and the items it knows."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import record_sample
from artifacts.engines.encoder import WIDTH
from artifacts.engines.graph import GraphEngine
from artifacts.engines.item_tower import FIELDS, MAX_WORDS, TOWER, ItemTower
from plait.v1.manifest_pb2 import Manifest
from tests.support.artifacts import build_model, graph, samples, wire_inputs, wire_outputs
from tests.support.text_artifact import KEYS, TITLES, write_encoder

DIMENSION = 8
CATEGORIES = ("yogurt", "yogurt", "yogurt", "bread", "bread", "dairy", "spread", "drink")
BUCKETS = 64


def publish_content(repository: Path) -> int:
    """Write a version of a content artifact over `TITLES`; return its number."""
    with layout.publish(repository, "content") as (directory, version):
        manifest = Manifest(
            source="content",
            version=version,
            engine="graph",
            inputs=wire_inputs(),
            outputs=wire_outputs(DIMENSION),
            engine_parameters={"hash_buckets": BUCKETS},
        )
        write_encoder(directory)
        _write_tower(directory)
        none = ("",) * len(TITLES)
        prices = np.full(len(TITLES), np.nan, np.float32)
        known = ItemTower(directory, manifest).encode(TITLES, CATEGORIES, none, none, prices)
        vectors = np.concatenate([np.zeros((1, DIMENSION), np.float32), known])
        onnx.save(graph(vectors), directory / manifests.MODEL)
        engine = GraphEngine(directory, manifest, KEYS)
        for sample in samples(KEYS):
            manifest.samples.append(record_sample(engine, sample))
        manifests.write(directory, manifest, KEYS)
    return version


def _write_tower(directory: Path) -> None:
    """text . W + the sum of what is hashed + price, made unit."""
    draw = np.random.default_rng(0).normal
    hashed = draw(size=(BUCKETS + 1, DIMENSION)).astype(np.float32)
    hashed[0] = 0.0
    nodes = [
        helper.make_node("MatMul", ["text_vector", "meaning"], ["meant"]),
        helper.make_node("Concat", ["fields", "words"], ["buckets"], axis=1),
        helper.make_node("Gather", ["hashed", "buckets"], ["parts"]),
        helper.make_node("ReduceSum", ["parts", "one"], ["said"], keepdims=0),
        helper.make_node("IsNaN", ["price"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "price"], ["known"]),
        helper.make_node("Unsqueeze", ["known", "one"], ["column"]),
        helper.make_node("MatMul", ["column", "dear"], ["priced"]),
        helper.make_node("Sum", ["meant", "said", "priced"], ["whole"]),
        helper.make_node("LpNormalization", ["whole"], ["vector"], axis=-1, p=2),
    ]
    inputs = {
        "text_vector": ("M", WIDTH),
        "fields": ("M", len(FIELDS)),
        "words": ("M", MAX_WORDS),
        "price": ("M",),
    }
    constants = {
        "meaning": draw(size=(WIDTH, DIMENSION)).astype(np.float32),
        "hashed": hashed,
        "dear": draw(scale=0.1, size=(1, DIMENSION)).astype(np.float32),
        "zero": np.array(0.0, np.float32),
        "one": np.array([1]),
    }
    onnx.save(
        build_model(
            nodes, inputs, {"vector": ("M", DIMENSION)}, constants, integers={"fields", "words"}
        ),
        directory / TOWER,
    )
