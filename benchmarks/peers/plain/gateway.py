"""The gateway of the plain fan-out: ask all four at once, merge, reply.

python -m benchmarks.peers.plain.gateway PORT MODEL_PORT...
"""

# gRPC names the methods.
# ruff: noqa: N802

import asyncio
import sys
from typing import Any

import grpc
import numpy as np

from benchmarks.job.merge import merge
from benchmarks.peers.plain.model import serve
from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceServicer, GRPCInferenceServiceStub


class Gateway(GRPCInferenceServiceServicer):
    """One unary call to each model for each request."""

    def __init__(self, ports: list[str]) -> None:
        options = [("grpc.enable_http_proxy", 0)]
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{p}", options=options) for p in ports]
        self._models = [GRPCInferenceServiceStub(channel) for channel in channels]

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> Any:
        """Do the job for one history."""
        del context
        answers = await asyncio.gather(*(model.ModelInfer(request) for model in self._models))
        keys, scores = merge(
            np.stack([np.frombuffer(a.raw_output_contents[0], np.int64) for a in answers]),
            np.stack([np.frombuffer(a.raw_output_contents[1], np.float32) for a in answers]),
        )
        response = pb.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name="item_keys", datatype="INT64", shape=[1, len(keys)])
        response.outputs.add(name="scores", datatype="FP32", shape=[1, len(scores)])
        response.raw_output_contents.extend([keys.tobytes(), scores.tobytes()])
        return response


async def main() -> None:
    """Start; the channels belong to this event loop."""
    port, *models = sys.argv[1:]
    await serve(Gateway(models), int(port))  # type: ignore[abstract]


if __name__ == "__main__":
    asyncio.run(main())
