"""One model server: a history comes in, ONNX Runtime runs, the best 100 go out.

python -m benchmarks.peers.plain.model REPOSITORY SOURCE PORT
"""

# gRPC names the methods.
# ruff: noqa: N802

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.job.models import Model
from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)


class Server(GRPCInferenceServiceServicer):
    """Answers each call as it comes."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> Any:
        """Run the model on one history."""
        del context
        history = np.frombuffer(request.raw_input_contents[0], np.int64)
        keys, scores = self._model.best(history.reshape(tuple(request.inputs[0].shape)))
        response = pb.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name="item_keys", datatype="INT64", shape=keys.shape)
        response.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
        response.raw_output_contents.extend([keys.tobytes(), scores.tobytes()])
        return response


async def serve(servicer: Any, port: int) -> None:
    """Serve until the process ends."""
    server = grpc.aio.server()
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    repository, source, port = sys.argv[1:]
    server = Server(Model(Path(repository), source))  # type: ignore[abstract]
    asyncio.run(serve(server, int(port)))
