"""ModelStreamInfer of a model service: as ModelInfer, one question after the other."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from inference import inference_pb2 as pb
from services.cf.server import SOURCE as CF
from services.runtime.tensors import read_outputs, write_request
from tests.integration.services.conftest import TINY
from tests.support.servers import PATIENCE, channel_to, infer, serving, stub_for

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
KEYS = np.array([TINY.keys[:2]], np.int64)


def question(timeout: float | None = None, **inputs: Any) -> pb.ModelInferRequest:
    request = write_request("cf", {"history": KEYS, **inputs})
    if timeout is not None:
        request.parameters["timeout"].int64_param = int(timeout * 1e6)
    return request


def counted(outcome: str) -> float:
    labels = {"method": METHOD, "outcome": outcome}
    return REGISTRY.get_sample_value("plait_request_seconds_count", labels) or 0.0


async def test_each_message_is_answered_as_a_call_would_be_and_counted(shared: Path) -> None:
    before = counted("OK")
    async with serving(CF, shared) as server, stub_for(server.port) as stub:
        alone = await infer(stub, "cf", {"history": KEYS})
        call = stub.ModelStreamInfer()
        for _ in range(3):
            await call.write(question(timeout=PATIENCE))
            message: Any = await call.read()
            answer = read_outputs(message.infer_response)
            np.testing.assert_array_equal(answer["item_keys"], alone["item_keys"])
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert counted("OK") - before == 3


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (question(history_weight=np.ones((1, 9), np.float32)), "INVALID_ARGUMENT", "history_weig"),
        (question(timeout=-1.0), "INVALID_ARGUMENT", "timeout: "),
        (write_request("cff", {"history": KEYS}), "NOT_FOUND", "cff: "),
    ],
)
async def test_a_message_that_is_refused_ends_the_call_with_its_status(
    shared: Path, request_: pb.ModelInferRequest, code: str, said: str
) -> None:
    before = counted(code)
    async with serving(CF, shared) as server, stub_for(server.port) as stub:
        call = stub.ModelStreamInfer()
        await call.write(question())
        await call.read()
        await call.write(request_)
        with pytest.raises(grpc.aio.AioRpcError, match=said) as refused:
            await call.read()
        assert refused.value.code().name == code
    assert counted(code) - before == 1


async def test_bytes_that_are_no_request_are_the_callers_error(shared: Path) -> None:
    async with serving(CF, shared) as server, channel_to(server.port) as channel:
        call: Any = channel.stream_stream(METHOD)()
        await call.write(b"\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError, match="request: not a message") as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_whose_time_is_over_is_refused(shared: Path) -> None:
    async with serving(CF, shared) as server, stub_for(server.port) as stub:
        call = stub.ModelStreamInfer()
        await call.write(question(timeout=1e-6))
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await call.read()
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_open_calls_do_not_hold_up_a_stop(shared: Path) -> None:
    async with (
        serving(CF, shared, grace_seconds=PATIENCE) as server,
        stub_for(server.port) as stub,
    ):
        calls = [stub.ModelStreamInfer() for _ in range(3)]
        for call in calls:
            await call.write(question())
            await call.read()
        async with asyncio.timeout(PATIENCE / 2):
            await server.stop()
        for call in calls:
            assert await call.read() is grpc.aio.EOF
