"""The served graph: gather each history item's weights, add them up, take the best.

    history [B, L] -> weights of L items, K each [B, L, K] -> scattered into [B, n + 1]

The one idea: work grows with the history, not with the catalogue squared, and
whatever received no weight at all (exactly 0) is an item the model has no
opinion on: -inf. That covers row 0 as well, into which padding adds zeros.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from artifacts.engines.neighbours import OFFSETS, SAID, SAID_ABOUT
from artifacts.manifest import MODEL
from models.cf.model import Floats, Indices, Neighbours
from models.cf.weights import Baseline
from models.onnx_nodes import write_nodes


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


def save_graph(
    rows: Indices,
    values: Floats,
    *,
    recency_exponent: float,
    path: Path,
    baseline: Baseline | None = None,
) -> None:
    """Write model.onnx; see artifacts/engines/graph.py for its inputs and outputs."""
    constants = {
        **history_constants(recency_exponent),
        **_expected_constants(baseline),
        "rows_of": rows,
        "values_of": values,
        "width": np.array([rows.shape[0]], np.int64),
        "flat": np.array([0, -1], np.int64),
        "silence": np.array(-np.inf, np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
    }
    nodes = [*fading(), *_totals_by_item(), *_strengths_against(baseline), *_sums(baseline)]
    write_graph("neighbours", nodes, constants, path)


def save_neighbours(
    rows: Indices,
    values: Floats,
    *,
    recency_exponent: float,
    directory: Path,
    baseline: Baseline | None = None,
) -> None:
    """Write the model of a large catalogue; see artifacts/engines/neighbours.py."""
    np.save(directory / SAID_ABOUT, rows)
    np.save(directory / SAID, values)
    if baseline is not None:
        np.save(directory / OFFSETS, _with_row_0(baseline.added))
    constants = {**history_constants(recency_exponent), **_expected_constants(baseline)}
    outputs = [helper.make_tensor_value_info("strength", TensorProto.FLOAT, ["B", "L"])]
    nodes = [*fading(), *totals_by_place(), *_strengths_against(baseline)]
    write_nodes("strength", nodes, (_history(), outputs), constants, directory / MODEL)


def write_graph(
    name: str, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], path: Path
) -> None:
    """Write a graph of the engine "graph": nodes that make its outputs of its inputs."""
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
    write_nodes(name, nodes, (inputs, outputs), constants, path)


def history_constants(recency_exponent: float) -> dict[str, np.ndarray]:
    """Return what `fading`, `totals_by_place` and `strengths` need."""
    return {
        "row": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "axis": np.array(1, np.int64),
        "axes": np.array([1], np.int64),
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


def fading() -> list[onnx.NodeProto]:
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


def totals_by_place() -> list[onnx.NodeProto]:
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


def strengths(name: str) -> list[onnx.NodeProto]:
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
        node("Mul", ["weight", "share"], [name]),
    ]


def _with_row_0(values: Floats) -> Floats:
    return np.append(np.float32(0), values).astype(np.float32)


def _expected_constants(baseline: Baseline | None) -> dict[str, np.ndarray]:
    if baseline is None:
        return {}
    n = len(baseline.item)
    return {
        "item_biases": _with_row_0(baseline.item),
        "offsets": _with_row_0(baseline.added),
        "mean": np.array(baseline.mean, np.float32),
        "expected_total": np.array(n * baseline.mean, np.float32),
        "shrunk_items": np.array(n + baseline.user_shrinkage, np.float32),
    }


def _strengths_against(baseline: Baseline | None) -> list[onnx.NodeProto]:
    """Strengths relative to what was expected of user and item; each item's once.  [B, L]."""
    node = helper.make_node
    if baseline is None:
        return strengths("strength")
    return [
        *strengths("taken"),
        node("ReduceSum", ["taken", "axes"], ["taken_total"], keepdims=1),
        node("Sub", ["taken_total", "expected_total"], ["excess"]),
        node("Div", ["excess", "shrunk_items"], ["user_bias"]),
        node("Gather", ["item_biases", "history"], ["item_bias"], axis=0),
        node("Add", ["item_bias", "user_bias"], ["biases"]),
        node("Add", ["biases", "mean"], ["expected"]),
        *parts(),
        node("Mul", ["expected", "part"], ["expected_here"]),
        node("Sub", ["taken", "expected_here"], ["strength"]),
    ]


def parts() -> list[onnx.NodeProto]:
    """What part of its item each place is: an item's places add up to 1.  [B, L]."""
    node = helper.make_node
    return [
        node("Div", ["weight", "safe_total"], ["part_or_dislike"]),
        node("Where", ["liked", "part_or_dislike", "nothing"], ["part"]),
    ]


def _sums(baseline: Baseline | None) -> list[onnx.NodeProto]:
    """What the history says about other items.  [B, L, K] -> [B, n + 1]."""
    node = helper.make_node
    spoken = [] if baseline is None else [node("Add", ["sums", "offsets"], ["said_in_all"])]
    return [
        node("Unsqueeze", ["strength", "last"], ["strength_column"]),
        node("Gather", ["rows_of", "history"], ["said_about"], axis=0),
        node("Gather", ["values_of", "history"], ["said"], axis=0),
        node("Mul", ["said", "strength_column"], ["weighted"]),
        node("Reshape", ["said_about", "flat"], ["targets"]),
        node("Reshape", ["weighted", "flat"], ["additions"]),
        _add(["empty", "targets", "additions"], ["sums"]),
        node("Equal", ["sums", "nothing"], ["silent"]),
        *spoken,
        node("Where", ["silent", "silence", "said_in_all" if spoken else "sums"], ["opinions"]),
        *answers(),
    ]


def answers() -> list[onnx.NodeProto]:
    """The best of the opinions [B, n + 1], and what they are of candidates."""
    node = helper.make_node
    return [
        node("TopK", ["opinions", "k"], ["scores", "rows"], axis=1, largest=1, sorted=1),
        node("GatherElements", ["opinions", "candidates"], ["candidate_scores"], axis=1),
    ]


def _add(inputs: list[str], outputs: list[str]) -> onnx.NodeProto:
    return helper.make_node("ScatterElements", inputs, outputs, axis=1, reduction="add")
