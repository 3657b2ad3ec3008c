"""The four models as ONNX graphs, each in two forms.

    history [B, L] -> weighted mean of item vectors [B, d] -> (two small layers) -> user [B, d]
    user x all item vectors [B, n + 1] -> best k

is what everybody can serve (artifacts/engines/graph.py), and what the other systems do.
Plait's trainers end a graph at the user and leave the rest to a search
(artifacts/engines/indexed.py); so does the other form.

Row 0, "no item", is zero and masked. The vectors are stored once: the same matrix
is looked up by row and multiplied from the right.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from artifacts.engine import Scores

_OPSET = 18
_IR_VERSION = 10


def save_recommender(
    path: Path, vectors: Scores, *, network_seed: int | None = None, whole: bool = True
) -> None:
    """Write a model over unit item vectors, float32 [n, d]; not `whole`, it ends at the user.

    With `network_seed` the mean passes two dense layers (d to d, tanh between), as
    a model that reads a sequence would end.
    """
    width = vectors.shape[1]
    padded = np.concatenate([np.zeros((1, width), np.float32), vectors])
    mask = np.zeros(len(padded), np.float32)
    mask[0] = -np.inf
    constants: dict[str, np.ndarray] = {
        "vectors": padded,
        "mask": mask,
        "middle": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "least": np.array(1e-6, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["vectors", "history"], ["taken"]),  # [B, L, d]
        node("Unsqueeze", ["history_weight", "middle"], ["weight_row"]),  # [B, 1, L]
        node("MatMul", ["weight_row", "taken"], ["summed"]),
        node("Squeeze", ["summed", "middle"], ["sum"]),  # [B, d]
        node("ReduceSum", ["history_weight", "middle"], ["weights"], keepdims=1),
        node("Max", ["weights", "least"], ["weight"]),
        node("Div", ["sum", "weight"], ["mean"]),
    ]
    user = "mean"
    if network_seed is not None:
        user = "thought"
        constants |= _layers(width, network_seed)
        nodes += [
            node("Gemm", ["mean", "first", "first_bias"], ["hidden"]),
            node("Tanh", ["hidden"], ["bent"]),
            node("Gemm", ["bent", "second"], ["more"]),
            node("Add", ["mean", "more"], ["thought"]),
        ]
    nodes.append(node("Identity", [user], ["embedding"]))
    if whole:
        nodes += [
            node("Gemm", [user, "vectors", "mask"], ["all"], transB=1),  # [B, n + 1]
            node("TopK", ["all", "k"], ["scores", "rows"]),
            node("GatherElements", ["all", "candidates"], ["candidate_scores"], axis=1),
        ]
    else:
        nodes += [
            node("Gather", ["vectors", "candidates"], ["asked"]),  # [B, C, d]
            node("Unsqueeze", [user, "last"], ["column"]),
            node("MatMul", ["asked", "column"], ["products"]),
            node("Squeeze", ["products", "last"], ["candidate_scores"]),
        ]
        del constants["mask"]
    _save(path, nodes, constants, width, whole=whole)


def _layers(width: int, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    scale = 0.5 / np.sqrt(width)
    return {
        "first": draw.normal(scale=scale * 4, size=(width, width)).astype(np.float32),
        "first_bias": draw.normal(scale=0.1, size=width).astype(np.float32),
        "second": draw.normal(scale=scale, size=(width, width)).astype(np.float32),
    }


def save_tower(
    path: Path, width: int, buckets: int, inputs: dict[str, tuple[str | int, ...]]
) -> None:
    """Write the content service's item tower (artifacts/engines/item_tower.py).

    Nothing of the job asks it: it is there because the content service serves one.
    """
    draw = np.random.default_rng(width)
    constants: dict[str, np.ndarray] = {
        "meaning": draw.normal(size=(int(inputs["text_vector"][1]), width)).astype(np.float32),
        "hashed": draw.normal(size=(buckets + 1, width)).astype(np.float32),
        "dear": draw.normal(scale=0.1, size=(1, width)).astype(np.float32),
        "zero": np.array(0.0, np.float32),
        "one": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("MatMul", ["text_vector", "meaning"], ["meant"]),
        node("Concat", ["fields", "words"], ["buckets"], axis=1),
        node("Gather", ["hashed", "buckets"], ["parts"]),
        node("ReduceSum", ["parts", "one"], ["said"], keepdims=0),
        node("IsNaN", ["price"], ["unknown"]),
        node("Where", ["unknown", "zero", "price"], ["known"]),
        node("Unsqueeze", ["known", "one"], ["column"]),
        node("MatMul", ["column", "dear"], ["priced"]),
        node("Sum", ["meant", "said", "priced"], ["whole"]),
        node("LpNormalization", ["whole"], ["vector"], axis=-1, p=2),
    ]
    integers = {"fields", "words"}
    given = [
        helper.make_tensor_value_info(
            name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shape
        )
        for name, shape in inputs.items()
    ]
    made = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["M", width])]
    _write(path, nodes, given, made, constants)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    width: int,
    *,
    whole: bool,
) -> None:
    def declare(name: str, shape: list[str | int], *, integer: bool = False) -> onnx.ValueInfoProto:
        kind = TensorProto.INT64 if integer else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    given = [
        declare("history", ["B", "L"], integer=True),
        declare("history_weight", ["B", "L"]),
        declare("candidates", ["B", "C"], integer=True),
    ]
    made = [declare("candidate_scores", ["B", "C"]), declare("embedding", ["B", width])]
    if whole:
        given.append(declare("k", [1], integer=True))
        made += [declare("rows", ["B", "K"], integer=True), declare("scores", ["B", "K"])]
    _write(path, nodes, given, made, constants)


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    given: list[onnx.ValueInfoProto],
    made: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
) -> None:
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "benchmark", given, made, stored)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
