"""A gRPC man in the middle: a real model service behind it, and answers that are not its own.

Every call is passed on as bytes; what comes back is let through, delayed or spoiled as
ordered: `pass`, `slow TIMES`, `stall SECONDS`, or one of SPOILS.
python -m benchmarks.chaos.meddler HOST:PORT
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import numpy as np

from benchmarks.chaos.orders import take_orders
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, read_outputs, write_response

_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 64 << 20)]
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_INFER_ALL = "/inference.GRPCInferenceService/ModelStreamInfer"
_chance = np.random.default_rng(0)


def _wrong_shape(outputs: dict[str, Array]) -> dict[str, Array]:
    """Scores in one dimension, and fewer of them than items."""
    return {**outputs, "scores": outputs["scores"].ravel()[:-1]}


def _nan(outputs: dict[str, Array]) -> dict[str, Array]:
    return {**outputs, "scores": np.full_like(outputs["scores"], np.nan)}


def _other_keys(outputs: dict[str, Array]) -> dict[str, Array]:
    """Items that nobody has ever heard of."""
    if "item_keys" not in outputs:
        return outputs
    drawn = _chance.integers(1, 2**63 - 1, outputs["item_keys"].shape, np.int64)
    return {**outputs, "item_keys": drawn}


def _wrong_type(outputs: dict[str, Array]) -> dict[str, Array]:
    return {**outputs, "scores": outputs["scores"].astype(np.float64)}


def _nothing(outputs: dict[str, Array]) -> dict[str, Array]:
    del outputs
    return {}


SPOILS: Mapping[str, Callable[[dict[str, Array]], dict[str, Array]]] = {
    "shape": _wrong_shape,
    "type": _wrong_type,
    "nan": _nan,
    "keys": _other_keys,
    "nothing": _nothing,
}


class Meddler(grpc.GenericRpcHandler):
    """Passes every call on to `target`, and spoils answers as ordered."""

    def __init__(self, channel: Any) -> None:
        """`channel`: a grpc.aio.Channel, whose types know no calls of plain bytes."""
        self._channel = channel
        self._order = ["pass"]

    def obey(self, line: str) -> None:
        """Take an order; it counts from the next answer."""
        self._order = line.split()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return what serves a method: all are passed on."""
        method = details.method

        async def call(request: bytes, context: Any) -> bytes:
            began = time.monotonic()
            try:
                answer: bytes = await self._channel.unary_unary(method)(
                    request, timeout=context.time_remaining()
                )
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
                raise
            if method != _INFER:
                return answer
            return await self._meddle(answer, time.monotonic() - began)

        async def calls(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            ahead = self._channel.stream_stream(method)()
            try:
                async for request in requests:
                    began = time.monotonic()
                    await ahead.write(request)
                    answer = await ahead.read()
                    if answer is grpc.aio.EOF:
                        return
                    yield await self._meddle_inside(answer, time.monotonic() - began)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                ahead.cancel()

        if method == _INFER_ALL:
            return grpc.stream_stream_rpc_method_handler(calls)
        return grpc.unary_unary_rpc_method_handler(call)

    async def _meddle(self, answer: bytes, took: float) -> bytes:
        order, *arguments = self._order
        if order == "slow":
            await asyncio.sleep((float(arguments[0]) - 1) * took)
        elif order == "stall":
            await asyncio.sleep(float(arguments[0]))
        elif order == "bytes":
            return random.Random(len(answer)).randbytes(200)  # noqa: S311 -- no message at all
        elif order in SPOILS:
            return spoiled(answer, order)
        return answer

    async def _meddle_inside(self, answer: bytes, took: float) -> bytes:
        inner = pb.ModelStreamInferResponse.FromString(answer).infer_response.SerializeToString()
        made = await self._meddle(inner, took)
        if self._order[0] == "bytes":
            return made
        response = pb.ModelInferResponse.FromString(made)
        return pb.ModelStreamInferResponse(infer_response=response).SerializeToString()


def spoiled(answer: bytes, order: str) -> bytes:
    """Return an answer with its tensors spoiled."""
    response = pb.ModelInferResponse.FromString(answer)
    outputs = SPOILS[order](read_outputs(response))
    made = write_response(response.model_name, response.model_version, response.id, outputs)
    return made.SerializeToString()


async def main(target: str) -> None:
    """Serve until standard input ends."""
    async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
        meddler = Meddler(channel)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((meddler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await take_orders(port, meddler.obey)
        await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
