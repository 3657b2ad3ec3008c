"""Tensors of the Open Inference Protocol to numpy and back, without copies.

Raw contents are views on the message's own bytes; typed contents (what a client
that does not know the raw form sends) are accepted too, and answered raw.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from inference import inference_pb2 as pb

Array = npt.NDArray[np.generic]
# The protocol's parameter that says for how many microseconds the caller waits; on open
# calls, whose own deadline is that of all questions.
TIMEOUT = "timeout"
# Datatype -> (numpy type, field of InferTensorContents).
_TYPES: dict[str, tuple[str, str]] = {
    "BOOL": ("?", "bool_contents"),
    "UINT8": ("u1", "uint_contents"),
    "UINT16": ("<u2", "uint_contents"),
    "UINT32": ("<u4", "uint_contents"),
    "UINT64": ("<u8", "uint64_contents"),
    "INT8": ("i1", "int_contents"),
    "INT16": ("<i2", "int_contents"),
    "INT32": ("<i4", "int_contents"),
    "INT64": ("<i8", "int64_contents"),
    "FP16": ("<f2", ""),
    "FP32": ("<f4", "fp32_contents"),
    "FP64": ("<f8", "fp64_contents"),
}
_NAMES = {np.dtype(dtype): name for name, (dtype, _) in _TYPES.items()}
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 50_000_000


class TensorError(ValueError):
    """A tensor cannot be read; the message starts with its name."""


def read_inputs(request: pb.ModelInferRequest) -> dict[str, Array]:
    """Return each input as an array of its stated shape; BYTES become object arrays of bytes.

    Raises TensorError naming the tensor.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise TensorError(
            f"raw_input_contents: {len(raw)} entries for {len(request.inputs)} inputs; "
            "send one for each input, or none"
        )
    arrays: dict[str, Array] = {}
    for i, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise TensorError(f"{tensor.name}: given twice")
        arrays[tensor.name] = _read(tensor, raw[i] if raw else None)
    return arrays


def read_outputs(response: pb.ModelInferResponse) -> dict[str, Array]:
    """Return each output of an answer as an array; raises TensorError."""
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise TensorError(f"raw_output_contents: {len(raw)} for {len(response.outputs)} outputs")
    return {t.name: _read(t, raw[i] if raw else None) for i, t in enumerate(response.outputs)}


def _read(
    tensor: pb.ModelInferRequest.InferInputTensor | pb.ModelInferResponse.InferOutputTensor,
    raw: bytes | None,
) -> Array:
    shape = tuple(tensor.shape)
    if len(shape) > _MAX_DIMENSIONS or any(n < 0 for n in shape):
        raise TensorError(f"{tensor.name}: shape {list(shape)} is not a tensor shape")
    count = math.prod(shape)
    if count > _MAX_ELEMENTS:
        raise TensorError(f"{tensor.name}: {count} elements, at most {_MAX_ELEMENTS} are read")
    if tensor.datatype == "BYTES":
        values = (
            _split_bytes(tensor.name, raw) if raw is not None else tensor.contents.bytes_contents
        )
        flat: Array = np.empty(len(values), object)
        flat[:] = list(values)
    elif tensor.datatype not in _TYPES:
        raise TensorError(f"{tensor.name}: unknown datatype '{tensor.datatype}'")
    else:
        flat = _numbers(tensor.name, tensor.datatype, tensor.contents, raw)
    if flat.size != count:
        raise TensorError(
            f"{tensor.name}: shape {list(shape)} wants {count} elements, "
            f"the contents hold {flat.size}"
        )
    return flat.reshape(shape)


def _numbers(
    name: str, datatype: str, contents: pb.InferTensorContents, raw: bytes | None
) -> Array:
    dtype, field = _TYPES[datatype]
    if raw is not None:
        if len(raw) % np.dtype(dtype).itemsize:
            raise TensorError(f"{name}: {len(raw)} bytes are not a whole number of {datatype}")
        return np.frombuffer(raw, dtype)
    if not field:
        raise TensorError(f"{name}: {datatype} has no typed contents, send raw_input_contents")
    try:
        return np.array(getattr(contents, field), dtype)
    except OverflowError:
        raise TensorError(f"{name}: a value does not fit {datatype}") from None


def _split_bytes(name: str, raw: bytes) -> list[bytes]:
    values: list[bytes] = []
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        if at + 4 + size > len(raw):
            raise TensorError(f"{name}: a BYTES element ends after the contents do")
        values.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return values


def _pack_bytes(values: Sequence[bytes]) -> bytes:
    return b"".join(len(v).to_bytes(4, "little") + v for v in values)


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's type; object arrays are BYTES."""
    if array.dtype == object:
        return "BYTES"
    try:
        return _NAMES[array.dtype]
    except KeyError:
        raise TensorError(f"no datatype of the protocol for numpy {array.dtype}") from None


def _raw(array: Array) -> bytes:
    if array.dtype == object:
        return _pack_bytes(array.ravel().tolist())
    return array.tobytes()


def write_request(
    model: str, inputs: Mapping[str, Array], outputs: Sequence[str] = (), version: str = ""
) -> pb.ModelInferRequest:
    """Build a request with raw contents from arrays."""
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(_raw(array))
    for name in outputs:
        request.outputs.add(name=name)
    return request


def write_response(
    model: str, version: str, request_id: str, outputs: Mapping[str, Array]
) -> pb.ModelInferResponse:
    """Build an answer with raw contents from arrays."""
    response = pb.ModelInferResponse(model_name=model, model_version=version, id=request_id)
    for name, array in outputs.items():
        response.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        response.raw_output_contents.append(_raw(array))
    return response
