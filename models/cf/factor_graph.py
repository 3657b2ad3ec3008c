"""The served graph of a model of vectors: fold the history in, multiply with all items.

    history [B, L] -> what its items add [B, L, d] -> user [B, 1, d] -> scores [B, n + 1]

The one idea: the fold-in of ALS is a system of d equations that differs for every
user. Its matrix is never made: conjugate gradients (Hestenes & Stiefel 1952) need its
product with a vector alone, which is two products with the history's own vectors.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from models.cf.factors import STEPS, Factors
from models.cf.graph import (
    answers,
    fading,
    history_constants,
    parts,
    strengths,
    totals_by_place,
    write_graph,
)
from models.cf.model import Floats


def save_factors(
    found: Factors, *, recency_exponent: float, repeat_weight: float, path: Path
) -> None:
    """Write model.onnx; see artifacts/engines/graph.py for its inputs and outputs."""
    constants = {
        **history_constants(recency_exponent),
        "speak": _with_row_0(found.speak),
        "items": np.ascontiguousarray(_with_row_0(found.items).T),
        "bias": np.append(np.float32(-np.inf), found.bias).astype(np.float32),
        "repeat": np.array(repeat_weight, np.float32),
        "confidence": np.array(found.confidence or 0, np.float32),
        "tiny": np.array(1e-20, np.float32),
        "every": np.array([2], np.int64),
    }
    user = _mean() if found.confidence is None else _solved()
    nodes = [*fading(), *totals_by_place(), *strengths("strength"), *user, *_scores()]
    if repeat_weight:
        nodes += _repeats()
    nodes += [
        helper.make_node("Identity", ["repeated" if repeat_weight else "biased"], ["opinions"]),
        *answers(),
    ]
    write_graph("factors", nodes, constants, path)


def _with_row_0(table: Floats) -> Floats:
    return np.concatenate([np.zeros((1, table.shape[1]), np.float32), table])


def _mean() -> list[onnx.NodeProto]:
    """The mean of what the items add, by strength.  [B, 1, d]."""
    node = helper.make_node
    return [
        *_added(),
        node("Unsqueeze", ["strength", "row"], ["strength_row"]),
        node("MatMul", ["strength_row", "z"], ["sum"]),
        node("ReduceSum", ["strength_row", "every"], ["sum_of_strength"], keepdims=1),
        node("Max", ["sum_of_strength", "tiny"], ["some_strength"]),
        node("Div", ["sum", "some_strength"], ["user"]),
    ]


def _solved() -> list[onnx.NodeProto]:
    """(I + Z' C Z) user = Z' (1 + C), by conjugate gradients.  [B, 1, d]."""
    node = helper.make_node
    nodes = [
        *_added(),
        *parts(),
        node("Transpose", ["z"], ["z_columns"], perm=[0, 2, 1]),
        node("Mul", ["strength", "confidence"], ["sure"]),
        node("Add", ["sure", "part"], ["wanted_here"]),
        node("Unsqueeze", ["wanted_here", "row"], ["wanted_row"]),
        node("MatMul", ["wanted_row", "z"], ["wanted"]),
        # A dislike must not make the matrix indefinite.
        node("Max", ["sure", "nothing"], ["certain"]),
        node("Unsqueeze", ["certain", "row"], ["certain_row"]),
        node("Sub", ["wanted", "wanted"], ["user_0"]),
        node("Identity", ["wanted"], ["rest_0"]),
        node("Identity", ["wanted"], ["way_0"]),
        *_length("rest_0", "length_0"),
    ]
    for step in range(STEPS):
        nodes += _step(step)
    return [*nodes, node("Identity", [f"user_{STEPS}"], ["user"])]


def _step(at: int) -> list[onnx.NodeProto]:
    node = helper.make_node

    def name(what: str) -> str:
        return f"{what}_{at}"

    def then(what: str) -> str:
        return f"{what}_{at + 1}"

    return [
        node("MatMul", [name("way"), "z_columns"], [name("met")]),
        node("Mul", [name("met"), "certain_row"], [name("met_surely")]),
        node("MatMul", [name("met_surely"), "z"], [name("beyond")]),
        node("Add", [name("way"), name("beyond")], [name("image")]),
        node("Mul", [name("way"), name("image")], [name("products")]),
        node("ReduceSum", [name("products"), "every"], [name("energy")], keepdims=1),
        node("Max", [name("energy"), "tiny"], [name("some_energy")]),
        node("Div", [name("length"), name("some_energy")], [name("pace")]),
        node("Mul", [name("way"), name("pace")], [name("move")]),
        node("Add", [name("user"), name("move")], [then("user")]),
        node("Mul", [name("image"), name("pace")], [name("done")]),
        node("Sub", [name("rest"), name("done")], [then("rest")]),
        *_length(then("rest"), then("length")),
        node("Max", [name("length"), "tiny"], [name("some_length")]),
        node("Div", [then("length"), name("some_length")], [name("turn")]),
        node("Mul", [name("way"), name("turn")], [name("kept")]),
        node("Add", [then("rest"), name("kept")], [then("way")]),
    ]


def _length(vector: str, length: str) -> list[onnx.NodeProto]:
    """The squared length of [B, 1, d] vectors.  [B, 1, 1]."""
    return [
        helper.make_node("Mul", [vector, vector], [f"{length}_squares"]),
        helper.make_node("ReduceSum", [f"{length}_squares", "every"], [length], keepdims=1),
    ]


def _added() -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", ["speak", "history"], ["z"], axis=0)]


def _scores() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Squeeze", ["user", "row"], ["user_vector"]),
        node("MatMul", ["user_vector", "items"], ["products"]),
        # Row 0 is no item: its bias is -inf.
        node("Add", ["products", "bias"], ["biased"]),
    ]


def _repeats() -> list[onnx.NodeProto]:
    """What having an item says about wanting it again."""
    node = helper.make_node
    return [
        node("Mul", ["strength", "repeat"], ["again"]),
        node(
            "ScatterElements", ["biased", "history", "again"], ["repeated"], axis=1, reduction="add"
        ),
    ]
