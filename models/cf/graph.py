"""The served graph: gather each history item's weights, add them up, take the best.

    history [B, L] -> weights of L items, K each [B, L, K] -> scattered into [B, n + 1]

The one idea: work grows with the history, not with the catalogue squared, and
whatever received no weight at all (exactly 0) is an item the model has no
opinion on: -inf. That covers row 0 as well, into which padding adds zeros.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from artifacts.engines.neighbours import SAID, SAID_ABOUT
from artifacts.manifest import MODEL
from models.cf.model import Floats, Indices, Neighbours

OPSET = 18
# Newer than what older ONNX Runtime versions read, and nothing here needs it.
_IR_VERSION = 9


def tables(found: Neighbours, *, repeat_weight: float) -> tuple[Indices, Floats]:
    """Return the graph's tables by row 0 .. n: rows said something about, and what [n + 1, K + 1].

    The last column is what an item says about itself: `repeat_weight`.
    """
    n, keep = found.items.shape
    rows, values = np.zeros((n + 1, keep + 1), np.int32), np.zeros((n + 1, keep + 1), np.float32)
    values[1:, :keep] = found.values
    rows[1:, :keep] = np.where(found.values == 0, 0, found.items + 1)
    if repeat_weight:
        rows[1:, keep] = np.arange(1, n + 1)
        values[1:, keep] = repeat_weight
    return rows, values


def save_graph(rows: Indices, values: Floats, *, recency_exponent: float, path: Path) -> None:
    """Write model.onnx; see artifacts/engines/graph.py for its inputs and outputs."""
    constants = {
        **_constants(recency_exponent),
        "rows_of": rows,
        "values_of": values,
        "width": np.array([rows.shape[0]], np.int64),
        "flat": np.array([0, -1], np.int64),
        "silence": np.array(-np.inf, np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
    }
    outputs = [
        helper.make_tensor_value_info("rows", TensorProto.INT64, ["B", "K"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", "K"]),
        helper.make_tensor_value_info("candidate_scores", TensorProto.FLOAT, ["B", "C"]),
    ]
    inputs = [
        *_history(),
        helper.make_tensor_value_info("candidates", TensorProto.INT64, ["B", "C"]),
        helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
    ]
    nodes = [*_fading(), *_totals_by_item(), *_strength(), *_sums()]
    _write(nodes, inputs, outputs, constants, path)


def save_neighbours(
    rows: Indices, values: Floats, *, recency_exponent: float, directory: Path
) -> None:
    """Write the model of a large catalogue; see artifacts/engines/neighbours.py."""
    np.save(directory / SAID_ABOUT, rows)
    np.save(directory / SAID, values)
    constants = {**_constants(recency_exponent), "row": np.array([1], np.int64)}
    outputs = [helper.make_tensor_value_info("strength", TensorProto.FLOAT, ["B", "L"])]
    nodes = [*_fading(), *_totals_by_place(), *_strength()]
    _write(nodes, _history(), outputs, constants, directory / MODEL)


def _constants(recency_exponent: float) -> dict[str, np.ndarray]:
    return {
        "last": np.array([2], np.int64),
        "axis": np.array(1, np.int64),
        "no_item": np.array(0, np.int64),
        "nothing": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
        "fading": np.array(-recency_exponent, np.float32),
    }


def _history() -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info("history", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("history_weight", TensorProto.FLOAT, ["B", "L"]),
    ]


def _write(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    path: Path,
) -> None:
    arrays = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "ease", inputs, outputs, arrays)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _fading() -> list[onnx.NodeProto]:
    """Newer events weigh more: weight * (place from the end)^-exponent.  [B, L]."""
    node = helper.make_node
    return [
        node("Equal", ["history", "no_item"], ["absent"]),
        node("Where", ["absent", "nothing", "one"], ["present"]),
        node("CumSum", ["present", "axis"], ["place_or_0"], reverse=1),
        node("Max", ["place_or_0", "one"], ["place"]),
        node("Pow", ["place", "fading"], ["recency"]),
        node("Mul", ["history_weight", "recency"], ["faded"]),
        node("Where", ["absent", "nothing", "faded"], ["weight"]),
    ]


def _totals_by_item() -> list[onnx.NodeProto]:
    """What each place's item weighs in all, by way of an array over the items.  [B, n + 1]."""
    node = helper.make_node
    return [
        node("Shape", ["history"], ["size"]),
        node("Slice", ["size", "first", "second"], ["batch"]),
        node("Concat", ["batch", "width"], ["all"], axis=0),
        node("Expand", ["nothing", "all"], ["empty"]),
        _add(["empty", "history", "weight"], ["totals"]),
        node("GatherElements", ["totals", "history"], ["total"], axis=1),
    ]


def _totals_by_place() -> list[onnx.NodeProto]:
    """The same by comparing every place with every other.  [B, L, L]."""
    node = helper.make_node
    return [
        node("Unsqueeze", ["weight", "last"], ["weight_column"]),
        node("Unsqueeze", ["history", "last"], ["history_column"]),
        node("Unsqueeze", ["history", "row"], ["history_row"]),
        node("Equal", ["history_column", "history_row"], ["equal"]),
        node("Where", ["equal", "one", "nothing"], ["same"]),
        node("MatMul", ["same", "weight_column"], ["total_column"]),
        node("Squeeze", ["total_column", "last"], ["total"]),
    ]


def _strength() -> list[onnx.NodeProto]:
    """An item met often counts log2(1 + its total), shared by its places.  [B, L]."""
    node = helper.make_node
    return [
        node("Greater", ["total", "nothing"], ["liked"]),
        node("Where", ["liked", "total", "one"], ["safe_total"]),
        node("Add", ["safe_total", "one"], ["more"]),
        node("Log", ["more"], ["logged"]),
        node("Log", ["two"], ["log_two"]),
        node("Div", ["logged", "log_two"], ["saturated"]),
        node("Div", ["saturated", "safe_total"], ["share"]),
        node("Mul", ["weight", "share"], ["strength"]),
    ]


def _sums() -> list[onnx.NodeProto]:
    """What the history says about other items.  [B, L, K] -> [B, n + 1]."""
    node = helper.make_node
    return [
        node("Unsqueeze", ["strength", "last"], ["strength_column"]),
        node("Gather", ["rows_of", "history"], ["said_about"], axis=0),
        node("Gather", ["values_of", "history"], ["said"], axis=0),
        node("Mul", ["said", "strength_column"], ["weighted"]),
        node("Reshape", ["said_about", "flat"], ["targets"]),
        node("Reshape", ["weighted", "flat"], ["additions"]),
        _add(["empty", "targets", "additions"], ["sums"]),
        node("Equal", ["sums", "nothing"], ["silent"]),
        node("Where", ["silent", "silence", "sums"], ["opinions"]),
        node("TopK", ["opinions", "k"], ["scores", "rows"], axis=1, largest=1, sorted=1),
        node("GatherElements", ["opinions", "candidates"], ["candidate_scores"], axis=1),
    ]


def _add(inputs: list[str], outputs: list[str]) -> onnx.NodeProto:
    return helper.make_node("ScatterElements", inputs, outputs, axis=1, reduction="add")
