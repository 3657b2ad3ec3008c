"""An encoder behind the runtime's contract: columns of texts and numbers to vectors.

The gateway asks it for the vector of an item no recommender was trained on. A
column is an input of one value per row, or one vector; an optional one that is left
out is empty text, NaN for "unknown", or a zero vector.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.engine import Scores
from inference import inference_pb2 as pb
from plait.v1.manifest_pb2 import TensorSpec
from services.runtime import validation
from services.runtime.errors import InvalidArgument
from services.runtime.model import Array, Outputs

# Encoders cut long texts anyway; this bounds what a call can make them read.
MAX_TEXT = 10_000
Columns = Mapping[str, Sequence[str] | Scores]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call's rows, column by column."""

    columns: Columns
    rows: int
    kind: str = "encode"
    answers: tuple[str, ...] = ("embedding",)


class EncoderModel:
    """Serves `encode`, which maps columns of n values to float32 [n, width]."""

    def __init__(
        self,
        version: int,
        inputs: Sequence[TensorSpec],
        width: int,
        encode: Callable[[Columns], Scores],
    ) -> None:
        self.version = version
        self.inputs = tuple(inputs)
        self.outputs = (TensorSpec(name="embedding", datatype="FP32", shape=[-1, width]),)
        self._encode = encode

    def read(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, pb.InferParameter]
    ) -> Asked:
        """Read every column; raises InvalidArgument. Encoders take no parameters."""
        del parameters
        rows = len(next(iter(inputs.values())))
        return Asked({s.name: _column(s, inputs.get(s.name), rows) for s in self.inputs}, rows)

    def merge(self, questions: Sequence[Asked]) -> Columns:
        """Put the columns of all calls below each other."""
        merged: dict[str, Sequence[str] | Scores] = {}
        for spec in self.inputs:
            parts = [q.columns[spec.name] for q in questions]
            if spec.datatype == "BYTES":
                merged[spec.name] = [text for part in parts for text in part]
            else:
                merged[spec.name] = np.concatenate(parts)
        return merged

    def infer(self, batch: Columns) -> Scores:
        """Encode."""
        return self._encode(batch)

    def split(self, result: Scores, questions: Sequence[Asked]) -> list[Outputs]:
        """Return each call's rows."""
        ends = np.cumsum([q.rows for q in questions])
        return [{"embedding": part} for part in np.split(result, ends[:-1])]

    def warm_up(self, rows: Sequence[int]) -> None:
        """Encode rows of a plain word."""
        for n in rows:
            texts = tuple(f"warm up {i}" for i in range(n))
            self._encode(
                {s.name: texts if s.datatype == "BYTES" else _ones(s, n) for s in self.inputs}
            )


def column(name: str, datatype: str, *, optional: bool) -> TensorSpec:
    """Declare a column: one BYTES or FP32 value a row."""
    return TensorSpec(name=name, datatype=datatype, shape=[-1, 1], optional=optional)


def vector(name: str, width: int) -> TensorSpec:
    """Declare an optional vector of so many FP32 values a row."""
    return TensorSpec(name=name, datatype="FP32", shape=[-1, width], optional=True)


def _ones(spec: TensorSpec, rows: int) -> Scores:
    return np.ones(rows if spec.shape[1] == 1 else (rows, spec.shape[1]), np.float32)


def _column(spec: TensorSpec, array: Array | None, rows: int) -> Sequence[str] | Scores:
    if spec.datatype == "BYTES":
        texts = None if array is None else validation.read_texts(spec.name, array, MAX_TEXT)
        return texts or ("",) * rows
    if spec.shape[1] != 1:
        if array is None:
            return np.zeros((rows, spec.shape[1]), np.float32)
        validation.check_finite(spec.name, array)
        return array.astype(np.float32)
    if array is None:
        return np.full(rows, np.nan, np.float32)
    values = array.astype(np.float32).ravel()
    if np.isinf(values).any() or (values < 0).any():
        raise InvalidArgument(spec.name, "must be zero or more, or NaN where it is unknown")
    return values
