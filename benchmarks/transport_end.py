"""The two ends of a call that benchmarks/transport_cost.py takes the price of.

The server reads the tensors of a question and builds an answer of the usual size, with
the runtime's own code and without a model; what is left is transport. The client asks
one question after the other, as the gateway does, whose calls to a source share one.

python -m benchmarks.transport_end serve|ask KIND ADDRESS
"""

# gRPC names the methods.
# ruff: noqa: N802

import asyncio
import json
import sys
import time
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from gateway.replicas.line import Line
from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from services.runtime.tensors import Array, read_inputs, read_outputs, write_request, write_response

OPEN_CALL = "open call"
HISTORY = 20
WIDTH = 100
# Channel arguments, and what each is to save.
ARGUMENTS: dict[str, list[tuple[str, Any]]] = {
    "no bandwidth probe": [("grpc.http2.bdp_probe", 0)],
    "large frames": [("grpc.http2.max_frame_size", 1 << 20)],
    "private pool": [("grpc.use_local_subchannel_pool", 1)],
}


def answer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """Return the best of nothing, in the usual size."""
    rows = len(read_inputs(request)["history"])
    keys, scores = np.zeros((rows, WIDTH), np.int64), np.zeros((rows, WIDTH), np.float32)
    return write_response(request.model_name, "1", "", {"item_keys": keys, "scores": scores})


class Waiting(GRPCInferenceServiceServicer):
    """The servicer of an asyncio server."""

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> Any:
        """Answer."""
        del context
        return answer(request)

    async def ModelStreamInfer(self, request_iterator: Any, context: Any) -> Any:
        """Answer one after the other."""
        del context
        async for request in request_iterator:
            yield pb.ModelStreamInferResponse(infer_response=answer(request))


class Blocking(GRPCInferenceServiceServicer):
    """The servicer of a server of threads."""

    def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> Any:
        """Answer."""
        del context
        return answer(request)


async def serve(kind: str, address: str) -> None:
    """Serve until killed."""
    options = ARGUMENTS.get(kind, [])
    server = grpc.aio.server(options=options)
    add_GRPCInferenceServiceServicer_to_server(Waiting(), server)  # type: ignore[abstract]
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def serve_on_threads(address: str) -> None:
    """Serve until killed."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_GRPCInferenceServiceServicer_to_server(Blocking(), server)  # type: ignore[abstract]
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


async def ask(kind: str, address: str) -> None:
    """Ask as often as each line of the standard input says: "CALLS ROWS"."""
    async with grpc.aio.insecure_channel(address, options=ARGUMENTS.get(kind, [])) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30.0)
        line_to = Line(channel, open_calls=kind == OPEN_CALL)
        while line := await asyncio.to_thread(sys.stdin.readline):
            calls, rows = map(int, line.split())
            history = np.ones((rows, HISTORY), np.int64)
            weight = history.astype(np.float32)
            inputs: dict[str, Array] = {"history": history, "history_weight": weight}
            began, spent = time.perf_counter(), time.process_time()
            for _ in range(calls):
                request = write_request("cf", inputs)
                read_outputs(await line_to.infer(request, 10.0))
            took = {
                "cpu": time.process_time() - spent,
                "wall": time.perf_counter() - began,
                "grpcio": grpc.__version__,
            }
            print(json.dumps(took), flush=True)


def main(role: str, kind: str, address: str) -> None:
    """Be one end."""
    if role == "serve" and kind == "threads":
        serve_on_threads(address)
        return
    end = serve(kind, address) if role == "serve" else ask(kind, address)
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415

        uvloop.run(end)
    else:
        asyncio.run(end)


if __name__ == "__main__":
    main(*sys.argv[1:])
