"""A request against the tensors a model declares, before anything is computed.

Two steps, cheap first: `check_inputs` compares names, types and shapes, which
are in the request's headers; the values are looked at only when those fit. Every
refusal names the tensor.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from inference import inference_pb2 as pb
from plait.v1.manifest_pb2 import TensorSpec
from services.runtime.errors import InvalidArgument
from services.runtime.model import Array
from services.runtime.tensors import TensorError, read_inputs

# Inputs whose shape says nothing about the batch: k is one number for all rows,
# or one per row; whoever reads it checks which.
_FREE_SHAPE = frozenset({"k"})


def read_request(
    request: pb.ModelInferRequest, specs: Sequence[TensorSpec], max_rows: int
) -> dict[str, Array]:
    """Check a request's inputs and return them as arrays; raises InvalidArgument."""
    check_inputs(request, {s.name: s for s in specs}, max_rows)
    try:
        return read_inputs(request)
    except TensorError as error:
        name, _, problem = str(error).partition(": ")
        raise InvalidArgument(name, problem) from None


def check_inputs(
    request: pb.ModelInferRequest, specs: Mapping[str, TensorSpec], max_rows: int
) -> None:
    """Compare names, datatypes and shapes with what the model declares; raises InvalidArgument."""
    rows: dict[str, int] = {}
    for tensor in request.inputs:
        spec = specs.get(tensor.name)
        if spec is None:
            raise InvalidArgument(tensor.name, f"no such input; this model has {', '.join(specs)}")
        if tensor.datatype != spec.datatype:
            raise InvalidArgument(tensor.name, f"wants {spec.datatype}, got {tensor.datatype}")
        if tensor.name not in _FREE_SHAPE:
            _check_shape(tensor.name, tensor.shape, spec.shape)
            rows[tensor.name] = tensor.shape[0]
    given = {tensor.name for tensor in request.inputs}
    for name, spec in specs.items():
        if not spec.optional and name not in given:
            raise InvalidArgument(name, "missing; this model cannot answer without it")
    _check_rows(rows, max_rows)


def _check_shape(name: str, shape: Sequence[int], wanted: Sequence[int]) -> None:
    fits = len(shape) == len(wanted) and all(
        n >= 0 and w in (-1, n) for n, w in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise InvalidArgument(name, f"wants shape {list(wanted)}, got {list(shape)}")


def _check_rows(rows: Mapping[str, int], max_rows: int) -> None:
    if not rows:
        raise InvalidArgument("inputs", "none given; at least one must carry the batch")
    first, count = next(iter(rows.items()))
    for name, n in rows.items():
        if n != count:
            raise InvalidArgument(name, f"{n} rows, but {first} has {count}")
    if not 1 <= count <= max_rows:
        raise InvalidArgument(first, f"{count} rows, a call brings 1 to {max_rows}")


def check_width(name: str, array: Array, most: int, least: int = 0) -> None:
    """Refuse a [B, n] tensor with n outside least .. most."""
    if not least <= array.shape[1] <= most:
        raise InvalidArgument(name, f"{array.shape[1]} a row, allowed are {least} to {most}")


def check_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinities."""
    if not np.isfinite(array).all():
        raise InvalidArgument(name, "holds NaN or infinite values")


def read_texts(name: str, array: Array, most: int) -> tuple[str, ...]:
    """Decode a BYTES tensor to strings of at most `most` characters."""
    texts = []
    for row, value in enumerate(array.ravel().tolist()):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidArgument(name, f"row {row} is not UTF-8") from None
        if len(text) > most:
            raise InvalidArgument(name, f"row {row} has {len(text)} characters, at most {most}")
        texts.append(text)
    return tuple(texts)


def check_outputs(requested: Sequence[str], answers: Sequence[str]) -> Sequence[str]:
    """Return the outputs to send: those requested, or all; refuse unknown ones."""
    for name in requested:
        if name not in answers:
            raise InvalidArgument(
                name, f"no such output for these inputs; there is {', '.join(answers)}"
            )
    return requested or answers
