"""Tensors of the protocol to numpy and back."""

import numpy as np
import pytest

from inference import inference_pb2 as pb
from services.runtime.tensors import (
    Array,
    TensorError,
    datatype_of,
    read_inputs,
    read_outputs,
    write_request,
    write_response,
)

_ARRAYS: dict[str, Array] = {
    "INT64": np.array([[1, -2], [2**62, 0]], np.int64),
    "FP32": np.array([[0.5, np.nan, -np.inf]], np.float32),
    "FP64": np.array([1.5]),
    "INT32": np.array([[7]], np.int32),
    "UINT8": np.array([255], np.uint8),
    "BOOL": np.array([[True, False]]),
    "BYTES": np.array([[b"yogurt"], [b""], ["crème".encode()]], object),
}


@pytest.mark.parametrize("datatype", _ARRAYS)
def test_an_array_comes_back_as_it_went_out(datatype: str) -> None:
    array = _ARRAYS[datatype]
    request = write_request("cf", {"x": array}, ("scores",), "3")
    assert (request.inputs[0].datatype, datatype_of(array)) == (datatype, datatype)
    np.testing.assert_array_equal(read_inputs(request)["x"], array)
    np.testing.assert_array_equal(
        read_outputs(write_response("cf", "3", "id", {"x": array}))["x"], array
    )


def test_typed_contents_are_read_like_raw_ones() -> None:
    request = pb.ModelInferRequest()
    tensor = pb.ModelInferRequest.InferInputTensor
    typed = pb.InferTensorContents
    request.inputs.extend(
        [
            tensor(name="a", datatype="INT64", shape=[1, 2], contents=typed(int64_contents=[1, 2])),
            tensor(name="b", datatype="FP32", shape=[1], contents=typed(fp32_contents=[0.5])),
            tensor(name="c", datatype="BYTES", shape=[1, 1], contents=typed(bytes_contents=[b"q"])),
            tensor(name="d", datatype="UINT8", shape=[1], contents=typed(uint_contents=[9])),
        ]
    )
    read = read_inputs(request)
    assert read["a"].tolist() == [[1, 2]]
    assert read["b"].tolist() == [0.5]
    assert read["c"].tolist() == [[b"q"]]
    assert read["d"].tolist() == [9]


def test_an_empty_tensor_keeps_its_shape() -> None:
    request = write_request("cf", {"history": np.zeros((3, 0), np.int64)})
    assert read_inputs(request)["history"].shape == (3, 0)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "said"),
    [
        ("INT64", [1, 2], b"\0" * 8, "x: shape .* wants 2 elements, the contents hold 1"),
        ("INT64", [1], b"\0" * 7, "x: 7 bytes are not a whole number of INT64"),
        ("INT64", [-1], b"", "x: shape .* is not a tensor shape"),
        ("INT64", [1] * 5, b"\0" * 8, "x: shape .* is not a tensor shape"),
        ("INT64", [2**40, 2**40], b"", "x: .* elements, at most"),
        ("COMPLEX", [1], b"", "x: unknown datatype 'COMPLEX'"),
        ("BYTES", [1, 1], b"\xff\xff\xff\xff", "x: a BYTES element ends after the contents do"),
        ("BYTES", [1, 1], b"\x01\0", "x: a BYTES element ends after the contents do"),
    ],
)
def test_a_broken_tensor_is_refused_by_name(
    datatype: str, shape: list[int], raw: bytes, said: str
) -> None:
    request = pb.ModelInferRequest(raw_input_contents=[raw])
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    with pytest.raises(TensorError, match=said):
        read_inputs(request)


def test_contents_that_do_not_pair_with_inputs_are_refused() -> None:
    request = write_request("cf", {"x": np.zeros(1, np.int64)})
    request.raw_input_contents.append(b"")
    with pytest.raises(TensorError, match="raw_input_contents: 2 entries for 1 inputs"):
        read_inputs(request)
    twice = write_request("cf", {"x": np.zeros(1, np.int64)})
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(twice.raw_input_contents[0])
    with pytest.raises(TensorError, match="x: given twice"):
        read_inputs(twice)


def test_a_typed_value_too_large_for_its_type_is_refused() -> None:
    request = pb.ModelInferRequest()
    contents = pb.InferTensorContents(uint_contents=[300])
    request.inputs.add(name="x", datatype="UINT8", shape=[1], contents=contents)
    with pytest.raises(TensorError, match="x: a value does not fit UINT8"):
        read_inputs(request)
