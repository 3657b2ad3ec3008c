"""Rows of texts and numbers, read, put together and taken apart."""

from typing import Any

import numpy as np
import pytest

from artifacts.engine import Scores
from services.runtime.encoder_model import MAX_TEXT, Asked, Columns, EncoderModel, column
from services.runtime.errors import InvalidArgument
from services.runtime.tensors import write_request
from services.runtime.validation import read_request

INPUTS = (
    column("text", "BYTES", optional=False),
    column("brand", "BYTES", optional=True),
    column("price", "FP32", optional=True),
)


def _lengths(columns: Columns) -> Scores:
    """Encodes a row as (length of text, length of brand, price)."""
    texts = [[float(len(str(t))) for t in columns[name]] for name in ("text", "brand")]
    return np.array([*texts, columns["price"]], np.float32).T


MODEL = EncoderModel(3, INPUTS, 3, _lengths)


def _read(**inputs: Any) -> Asked:
    arrays = {n: np.array(v, object if n != "price" else np.float32) for n, v in inputs.items()}
    request = write_request("items", arrays)
    return MODEL.read(read_request(request, MODEL.inputs, 64), request.parameters)


def test_calls_with_and_without_optional_columns_are_encoded_together() -> None:
    asked = [
        _read(text=[[b"abc"], [b""]], brand=[[b"xy"], [b"z"]], price=[[1.5], [np.nan]]),
        _read(text=[["crème".encode()]]),
    ]
    first, second = MODEL.split(MODEL.infer(MODEL.merge(asked)), asked)
    np.testing.assert_array_equal(first["embedding"], [[3, 2, 1.5], [0, 1, np.nan]])
    np.testing.assert_array_equal(second["embedding"], [[5, 0, np.nan]])


def test_it_declares_what_it_takes_and_gives() -> None:
    assert [(s.name, s.optional) for s in MODEL.inputs] == [
        ("text", False), ("brand", True), ("price", True),
    ]  # fmt: skip
    assert [list(s.shape) for s in MODEL.outputs] == [[-1, 3]]
    MODEL.warm_up([1, 8])


@pytest.mark.parametrize(
    ("said", "inputs"),
    [
        ("text: missing", {"brand": [[b"x"]]}),
        ("text: row 1 is not UTF-8", {"text": [[b"x"], [b"\xff"]]}),
        (f"text: row 0 has .* at most {MAX_TEXT}", {"text": [[b"x" * (MAX_TEXT + 1)]]}),
        ("text: wants shape", {"text": [[b"x", b"y"]]}),
        ("price: must be zero or more", {"text": [[b"x"]], "price": [[-1.0]]}),
        ("price: must be zero or more", {"text": [[b"x"]], "price": [[np.inf]]}),
        ("price: 2 rows, but text has 1", {"text": [[b"x"]], "price": [[1.0], [2.0]]}),
    ],
)
def test_a_wrong_column_is_refused_by_name(said: str, inputs: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=said):
        _read(**inputs)
