"""Tensors that do not fit their own headers, or the model: always an invalid argument."""

import random
from collections.abc import Callable, Sequence

import numpy as np

from inference import inference_pb2 as pb

_Request = pb.ModelInferRequest
_SHAPES: Sequence[list[int]] = (
    [], [0], [-1, 6], [1, -6], [2**40, 2**40], [2**63 - 1], [1, 1, 6], [1, 1, 1, 1, 1, 6],
    [10**9, 6], [7, 6], [0, 6],
)  # fmt: skip

_TYPES = ("FP16", "FP64", "INT8", "UINT64", "BOOL", "BYTES", "FP32", "INT64", "", "X")


def _shape(request: _Request, at: int, chance: random.Random) -> str:
    shape = chance.choice(_SHAPES)
    request.inputs[at].shape[:] = shape
    return f"shape {shape}"


def _type(request: _Request, at: int, chance: random.Random) -> str:
    wrong = [name for name in _TYPES if name != request.inputs[at].datatype]
    request.inputs[at].datatype = chance.choice(wrong)
    return "another datatype"


def _length(request: _Request, at: int, chance: random.Random) -> str:
    raw = request.raw_input_contents[at]
    request.raw_input_contents[at] = chance.choice((raw[:-1], raw[:-8], raw + raw, raw + b"x", b""))
    return "contents of another length"


def _count(request: _Request, at: int, chance: random.Random) -> str:
    if chance.random() < 0.5:
        del request.raw_input_contents[at]
    else:
        request.raw_input_contents.append(request.raw_input_contents[at])
    if not request.raw_input_contents:
        request.raw_input_contents.extend([b"", b""])
    return "more or fewer contents than inputs"


def _name(request: _Request, at: int, chance: random.Random) -> str:
    request.inputs[at].name = chance.choice(("", "x", "n" * 10_000, "history\x00"))
    return "another name"


def _double(request: _Request, at: int, chance: random.Random) -> str:
    del chance
    request.inputs.add().CopyFrom(request.inputs[at])
    request.raw_input_contents.append(request.raw_input_contents[at])
    return "an input twice"


def _output(request: _Request, at: int, chance: random.Random) -> str:
    del at
    request.outputs.add(name=chance.choice(("", "x", "scores ", "o" * 10_000)))
    return "an output that is none"


def _not_finite(request: _Request, at: int, chance: random.Random) -> str:
    tensor = request.inputs[at]
    if tensor.name != "history_weight":
        return _type(request, at, chance)
    size = len(request.raw_input_contents[at]) // 4
    value = chance.choice((np.nan, np.inf, -np.inf))
    request.raw_input_contents[at] = np.full(size, value, np.float32).tobytes()
    return f"{tensor.name} {value}"


def _both(request: _Request, at: int, chance: random.Random) -> str:
    """A batch whose inputs disagree about its rows, or that is larger than any may be."""
    rows = chance.choice((2, 65, 5_000))
    tensor, raw = request.inputs[at], request.raw_input_contents[at]
    if tensor.name == "k":
        return _type(request, at, chance)
    tensor.shape[0] = rows
    request.raw_input_contents[at] = raw * rows
    if rows == 2 and sum(i.name != "k" for i in request.inputs) == 1:
        tensor.shape[0] = -2
    return f"{rows} rows"


_WAYS: Sequence[Callable[[_Request, int, random.Random], str]] = (
    _shape, _type, _length, _count, _name, _double, _output, _not_finite, _both,
)  # fmt: skip


def spoil(request: _Request, chance: random.Random) -> str:
    """Spoil one tensor of a valid request with raw contents in place; return how."""
    at = chance.randrange(len(request.inputs))
    return f"{request.inputs[at].name}: {chance.choice(_WAYS)(request, at, chance)}"
