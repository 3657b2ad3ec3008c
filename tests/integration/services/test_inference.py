"""Asking a model over gRPC."""

from typing import Any

import grpc
import numpy as np
import pytest

from inference import inference_pb2 as pb
from services.runtime.server import Server
from services.runtime.tensors import read_outputs, write_request
from tests.integration.services.conftest import TINY
from tests.support.servers import Stub, channel_to, infer

KEYS = TINY.keys


async def _refused(stub: Stub, request: pb.ModelInferRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ModelInfer(request)
    return refused.value


async def test_the_best_items_come_back_by_key_best_first(stub: Stub) -> None:
    answer = await infer(stub, "cf", {"history": [KEYS[:2]], "k": [[4]]})
    scores = TINY.vectors[1:] @ (TINY.vectors[1] + TINY.vectors[2])
    best = np.argsort(-scores)[:4]
    assert answer["item_keys"].tolist() == [KEYS[best].tolist()]
    np.testing.assert_allclose(answer["scores"][0].astype(float), scores[best], atol=1e-5)


async def test_given_candidates_are_scored_in_their_order(stub: Stub) -> None:
    wanted = [[KEYS[9], KEYS[3], 5, KEYS[1]]]
    answer = await infer(stub, "cf", {"history": [KEYS[:1]], "candidates": wanted})
    assert set(answer) == {"scores", "embedding"}
    assert np.isnan(answer["scores"].astype(float)).tolist() == [[False, False, True, False]]


async def test_only_requested_outputs_are_sent_in_the_order_requested(stub: Stub) -> None:
    answer = await infer(
        stub, "cf", {"history": [KEYS[:1]], "k": [[3]]}, outputs=("scores", "item_keys")
    )
    assert list(answer) == ["scores", "item_keys"]


async def test_a_request_gets_its_id_and_the_version_that_answered(stub: Stub) -> None:
    request = write_request("cf", {"history": KEYS[None, :2]}, version="1")
    request.id = "request-7"
    response = await stub.ModelInfer(request)
    assert (response.id, response.model_name, response.model_version) == ("request-7", "cf", "1")


async def test_typed_contents_are_answered_like_raw_ones(stub: Stub) -> None:
    raw = await infer(stub, "cf", {"history": [KEYS[:3]], "k": [[5]]})
    typed = pb.ModelInferRequest(model_name="cf")
    for name, values in (("history", KEYS[:3].tolist()), ("k", [5])):
        contents = pb.InferTensorContents(int64_contents=values)
        typed.inputs.add(name=name, datatype="INT64", shape=[1, len(values)], contents=contents)
    answer = read_outputs(await stub.ModelInfer(typed))
    for name, array in raw.items():
        np.testing.assert_array_equal(answer[name], array)


async def test_a_shopper_without_history_gets_no_opinion_rather_than_an_error(stub: Stub) -> None:
    answer = await infer(stub, "cf", {"history": np.zeros((2, 0), np.int64), "k": [[3]]})
    assert not answer["item_keys"].any()
    assert np.isnan(answer["scores"].astype(float)).all()


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"history": np.zeros((1, 1), np.float32)}, "history"),
        ({"history": np.zeros(3, np.int64)}, "history"),
        ({"history": np.zeros((1, 1001), np.int64)}, "history"),
        ({"history": KEYS[None, :1], "k": np.array([[0]])}, "k"),
        ({"history": KEYS[None, :1], "k": np.array([[1001]])}, "k"),
        ({"history": KEYS[None, :1], "history_weight": np.full((1, 1), np.nan, np.float32)},
         "history_weight"),
        ({"history": KEYS[None, :1], "candidates": np.ones((1, 5001), np.int64)}, "candidates"),
        ({"history": KEYS[None, :1], "histroy_weight": np.ones((1, 1), np.float32)},
         "histroy_weight"),
        ({}, "history"),
    ],
)  # fmt: skip
async def test_a_bad_input_is_an_invalid_argument_that_names_it(
    stub: Stub, inputs: dict[str, Any], named: str
) -> None:
    error = await _refused(stub, write_request("cf", inputs))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [
        (("score",), {"history": KEYS[None, :1]}),
        # A score question has scores, and no keys.
        (("item_keys",), {"history": KEYS[None, :1], "candidates": KEYS[None, :1]}),
    ],
)
async def test_an_output_there_is_not_is_refused_by_name(
    stub: Stub, outputs: tuple[str, ...], inputs: dict[str, Any]
) -> None:
    error = await _refused(stub, write_request("cf", inputs, outputs))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(f"{outputs[0]}: no such output")


@pytest.mark.parametrize(("model", "version"), [("cff", ""), ("cf", "2"), ("cf", "newest")])
async def test_a_model_or_version_that_is_not_served_is_not_found(
    stub: Stub, model: str, version: str
) -> None:
    error = await _refused(stub, write_request(model, {"history": KEYS[None]}, version=version))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert (error.details() or "").startswith(f"{model}: ")


async def test_bytes_that_are_no_request_are_the_callers_error(server: Server) -> None:
    method = "/inference.GRPCInferenceService/ModelInfer"
    spoilt = pb.ModelInferRequest(model_name="name", id="x").SerializeToString()
    async with channel_to(server.port) as channel:
        call: Any = channel.unary_unary(method)
        for raw, said in (
            (b"\xff\xff", "request: not a message"),
            (spoilt.replace(b"name", b"\xff" * 4), "model_name: not UTF-8"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=said) as refused:
                await call(raw)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_model_describes_its_tensors_as_its_manifest_does(stub: Stub) -> None:
    described = await stub.ModelMetadata(pb.ModelMetadataRequest(name="cf"))
    assert (described.name, list(described.versions)) == ("cf", ["1"])
    assert {t.name: (t.datatype, list(t.shape)) for t in described.inputs} == {
        "history": ("INT64", [-1, -1]),
        "history_weight": ("FP32", [-1, -1]),
        "k": ("INT64", [-1, 1]),
        "candidates": ("INT64", [-1, -1]),
    }
    assert [t.name for t in described.outputs] == ["item_keys", "scores", "embedding"]
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert server.name == "plait-cf"
    assert "model_repository" in server.extensions
