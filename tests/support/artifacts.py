"""Tiny artifacts: real ONNX graphs, manifests and samples, written in milliseconds."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import record_sample
from artifacts.engines.graph import GraphEngine
from artifacts.keys import Keys
from plait.v1.manifest_pb2 import Manifest, Sample, TensorSpec

Shape: TypeAlias = tuple[str | int, ...]
_INPUTS: Mapping[str, Shape] = {
    "history": ("B", "L"),
    "history_weight": ("B", "L"),
    "candidates": ("B", "C"),
    "k": (1,),
}
_OUTPUTS: Mapping[str, Shape] = {
    "rows": ("B", "K"),
    "scores": ("B", "K"),
    "candidate_scores": ("B", "C"),
    "embedding": ("B", "D"),
}


@dataclass(frozen=True)
class Tiny:
    """What a tiny artifact is made of; two with the same values answer the same."""

    source: str = "cf"
    items: int = 40
    width: int = 8
    seed: int = 0
    # Keys are FIRST_KEY, FIRST_KEY + STEP, ...: unlike row numbers, so that a mix-up shows.
    first_key: int = 1000
    step: int = 10

    @property
    def keys(self) -> Keys:
        """Item keys, int64 [items]."""
        return self.first_key + self.step * np.arange(self.items, dtype=np.int64)

    @property
    def vectors(self) -> np.ndarray:
        """Unit item vectors with the zero padding row first, float32 [items + 1, width]."""
        drawn = np.random.default_rng(self.seed).normal(size=(self.items + 1, self.width))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        drawn[0] = 0.0
        return drawn.astype(np.float32)


def publish(repository: Path, tiny: Tiny | None = None) -> int:
    """Write a new version of a tiny artifact; return its number."""
    tiny = tiny or Tiny()
    with layout.publish(repository, tiny.source) as (directory, version):
        onnx.save(graph(tiny.vectors), directory / manifests.MODEL)
        manifest = Manifest(
            source=tiny.source,
            version=version,
            engine="graph",
            inputs=wire_inputs(),
            outputs=wire_outputs(tiny.width),
            seed=tiny.seed,
        )
        manifest.create_time.GetCurrentTime()
        engine = GraphEngine(directory, manifest, tiny.keys)
        for sample in samples(tiny.keys):
            manifest.samples.append(record_sample(engine, sample))
        manifests.write(directory, manifest, tiny.keys)
    return version


def publish_with_wrong_samples(repository: Path, tiny: Tiny | None = None) -> int:
    """Write a version whose recorded answers are not what its graph says."""
    version = publish(repository, tiny)
    directory = repository / (tiny or Tiny()).source / str(version)
    manifest = manifests.read(directory)
    for sample in manifest.samples:
        sample.expected_scores[:] = [s + 1.0 for s in sample.expected_scores]
    keys = np.load(directory / manifests.ITEM_KEYS)
    manifests.write(directory, manifest, keys)
    return version


def wire_inputs() -> list[TensorSpec]:
    """The inputs of a recommender over histories."""
    return [
        TensorSpec(name="history", datatype="INT64", shape=[-1, -1]),
        TensorSpec(name="history_weight", datatype="FP32", shape=[-1, -1], optional=True),
        TensorSpec(name="k", datatype="INT64", shape=[-1, 1], optional=True),
        TensorSpec(name="candidates", datatype="INT64", shape=[-1, -1], optional=True),
    ]


def wire_outputs(width: int) -> list[TensorSpec]:
    """Its outputs."""
    return [
        TensorSpec(name="item_keys", datatype="INT64", shape=[-1, -1]),
        TensorSpec(name="scores", datatype="FP32", shape=[-1, -1]),
        TensorSpec(name="embedding", datatype="FP32", shape=[-1, width]),
    ]


def samples(keys: Keys) -> Sequence[Sample]:
    """Requests without answers: retrieve and score."""
    return [
        Sample(history=keys[:3], history_weight=[1.0, 1.0, 2.0], k=5),
        Sample(history=keys[:2], history_weight=[1.0, 1.0], candidates=[*keys[3:8], 7]),
    ]


def graph(vectors: np.ndarray) -> onnx.ModelProto:
    """user = sum of weighted item vectors; score = user . item (see artifacts/engines/graph.py).

    vectors float32 [n + 1, d], row 0 zero.
    """
    masked = np.zeros(len(vectors), np.float32)
    masked[0] = -np.inf
    constants = {
        "vectors": vectors,
        "items": np.ascontiguousarray(vectors.T),
        "mask": masked,
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["vectors", "history"], ["taken"]),
        helper.make_node("Unsqueeze", ["history_weight", "last"], ["weight"]),
        helper.make_node("Mul", ["taken", "weight"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["embedding"], keepdims=0),
        helper.make_node("MatMul", ["embedding", "items"], ["all"]),
        helper.make_node("Add", ["all", "mask"], ["allowed"]),
        helper.make_node("TopK", ["allowed", "k"], ["scores", "rows"]),
        helper.make_node("Gather", ["vectors", "candidates"], ["asked"]),
        helper.make_node("Unsqueeze", ["embedding", "last"], ["user"]),
        helper.make_node("MatMul", ["asked", "user"], ["tall"]),
        helper.make_node("Squeeze", ["tall", "last"], ["candidate_scores"]),
    ]
    integers = {"history", "candidates", "k", "rows"}
    return build_model(nodes, _INPUTS, _OUTPUTS, constants, integers=integers)


def build_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    constants: Mapping[str, np.ndarray],
    *,
    integers: Set[str],
) -> onnx.ModelProto:
    """Put nodes together; what is in `integers` is INT64, everything else FP32."""

    def declare(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shape
            )
            for name, shape in shapes.items()
        ]

    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    whole = helper.make_graph(nodes, "tiny", declare(inputs), declare(outputs), stored)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
