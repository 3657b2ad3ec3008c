"""An ONNX file from nodes that are written down here, where no torch module is traced."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_OPSET = 18
# Of a newer one older releases of ONNX Runtime read nothing, and nothing here needs it.
_IR_VERSION = 9


def write_nodes(
    name: str,
    nodes: list[onnx.NodeProto],
    ends: tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]],
    constants: dict[str, np.ndarray],
    path: Path,
) -> None:
    """Check and write a graph; `ends` are its inputs and outputs, unused constants are left out.

    Raises onnx.checker.ValidationError where the nodes do not fit together.
    """
    used = {i for node in nodes for i in node.input}
    constants = {n: v for n, v in constants.items() if n in used}
    arrays = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, name, *ends, arrays)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
