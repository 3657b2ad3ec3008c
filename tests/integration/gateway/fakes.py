"""Hand-written model servers: real gRPC, real protocol, answers by script.

A FakeSource answers like a small model (dot products of seeded vectors) until a
test changes one of its public attributes: then it is late, wrong, gone, ...
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2_grpc

from inference import inference_pb2 as pb
from services.runtime.health_service import HealthServicer
from services.runtime.tensors import Array, read_inputs, write_response

WIDTH = 8
_BY_HISTORY = ("history", "history_weight", "k", "candidates")
_BY_TEXT = (*_BY_HISTORY, "query")


def letters(text: str) -> np.ndarray:
    """A vector of a text: how often each letter occurs, folded to WIDTH, unit length."""
    vector = np.zeros(WIDTH, np.float32)
    for letter in text.lower():
        if letter.isalnum():
            vector[ord(letter) % WIDTH] += 1
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


@dataclass
class FakeSource:
    """One model server. Change its attributes between calls."""

    name: str
    vectors: Mapping[int, np.ndarray]  # item key -> vector
    reads_text: bool = False
    version: str = "1"
    # Seconds before an answer.
    delay: float = 0.0
    # Answer with this status instead.
    status: grpc.StatusCode | None = None
    # Changes the outputs before they are sent.
    mangle: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    # What was asked: the inputs of each ModelInfer on the model `name`.
    asked: list[dict[str, Any]] = field(default_factory=list)
    described: int = 0
    cancelled: int = 0
    port: int = 0
    # Takes calls and says nothing, as a stopped process does.
    silent: bool = False
    # Versions it says it serves beside that one.
    beside: tuple[str, ...] = ()
    # Numbers of an image that its encoder reads; 0: none.
    image_width: int = 0
    # Images and providers that its encoder was sent.
    seen: list[np.ndarray] = field(default_factory=list)
    provided_by: list[str] = field(default_factory=list)
    # Inputs of the model; None: those of its kind.
    inputs: tuple[str, ...] | None = None
    # Whether it has a health service; `health` then says what it is told to.
    knows_health: bool = True
    # Whether it knows calls that stay open, and how many it was asked over one.
    knows_open_calls: bool = True
    over_open_calls: int = 0
    health: HealthServicer = field(default_factory=HealthServicer)

    async def start(self, port: int = 0, host: str = "127.0.0.1", unix: Path | None = None) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, Any] = {
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(
                self.describe,
                request_deserializer=pb.ModelMetadataRequest.FromString,
                response_serializer=pb.ModelMetadataResponse.SerializeToString,
            ),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                self.infer,
                request_deserializer=pb.ModelInferRequest.FromString,
                response_serializer=pb.ModelInferResponse.SerializeToString,
            ),
        }
        if self.knows_open_calls:
            handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
                self.infer_all,
                request_deserializer=pb.ModelInferRequest.FromString,
                response_serializer=pb.ModelStreamInferResponse.SerializeToString,
            )
        service = "inference.GRPCInferenceService"
        handler = grpc.method_handlers_generic_handler(service, handlers)
        self._server.add_generic_rpc_handlers((handler,))
        if self.knows_health:
            self.health.set(self.name, serving=True)
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if unix is not None:
            self._server.add_insecure_port(f"unix:{unix}")
        else:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def speak(self) -> None:
        """Wait while it is to be silent."""
        while self.silent:  # noqa: ASYNC110 -- a test changes it
            await asyncio.sleep(0.01)

    async def describe(
        self, request: pb.ModelMetadataRequest, context: Any
    ) -> pb.ModelMetadataResponse:
        await self.speak()
        self.described += 1
        tensor = pb.ModelMetadataResponse.TensorMetadata
        if request.name == f"{self.name}-items":
            inputs: tuple[str, ...] = ("text",)
            if not self.reads_text:
                inputs += ("category", "brand", "provider", "price")
            outputs: tuple[str, ...] = ("embedding",)
        else:
            inputs = self.inputs or (_BY_TEXT if self.reads_text else _BY_HISTORY)
            outputs = ("item_keys", "scores", "embedding")
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[*self.beside, self.version],
            inputs=[tensor(name=n) for n in inputs] + self._image(request.name),
            outputs=[tensor(name=n) for n in outputs],
        )

    def _image(self, model: str) -> list[Any]:
        tensor = pb.ModelMetadataResponse.TensorMetadata
        reads = self.image_width and model == f"{self.name}-items"
        return [tensor(name="image_vector", shape=[-1, self.image_width])] if reads else []

    async def infer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        inputs: dict[str, Any] = dict(read_inputs(request))
        if request.model_name == self.name:
            self.asked.append(inputs | {"outputs": [o.name for o in request.outputs]})
        try:
            await self.speak()
            await self._take_time()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.status is not None:
            await context.abort(self.status, "as scripted")
        if request.model_name == f"{self.name}-items":
            texts = [t.decode() for t in inputs["text"][:, 0]]
            self.seen.extend(inputs.get("image_vector", ()))
            self.provided_by.extend(p.decode() for p in inputs.get("provider", np.empty(0)).flat)
            outputs: dict[str, Array] = {"embedding": np.stack([letters(t) for t in texts])}
        else:
            wanted = {o.name for o in request.outputs}
            answer = self.answer(inputs)
            outputs = {n: v for n, v in answer.items() if not wanted or n in wanted}
        if self.mangle is not None:
            outputs = self.mangle(outputs)
        return write_response(request.model_name, self.version, request.id, outputs)

    async def infer_all(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async for request in requests:
            self.over_open_calls += 1
            answer = await self.infer(request, context)
            yield pb.ModelStreamInferResponse(infer_response=answer)

    async def _take_time(self) -> None:
        """Wait for as long as `delay` says, which may change meanwhile."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (left := began + self.delay - loop.time()) > 0:  # noqa: ASYNC110 -- tests set it
            await asyncio.sleep(min(left, 0.02))

    def answer(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Answer a batch, row by row."""
        size = next(len(array) for name, array in inputs.items() if name != "k")
        rows = [self.answer_row(_row(inputs, at)) for at in range(size)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def answer_row(self, row: Mapping[str, Any]) -> dict[str, Array]:
        user = self.user(row)
        if "candidates" in row:
            scores = [self.score(user, key) for key in row["candidates"].tolist()]
            return {"scores": np.array(scores, np.float32), "embedding": user}
        k = int(row["k"])
        ranked = sorted(self.vectors, key=lambda key: (-self.score(user, key), key))[:k]
        if not user.any():
            ranked = []
        scores = [self.score(user, key) for key in ranked]
        return {
            "item_keys": np.array(ranked + [0] * (k - len(ranked)), np.int64),
            "scores": np.array(scores + [np.nan] * (k - len(ranked)), np.float32),
            "embedding": user,
        }

    def score(self, user: np.ndarray, key: int) -> float:
        if key not in self.vectors or not user.any():
            return float("nan")
        return float(self.vectors[key] @ user)

    def user(self, row: Mapping[str, Any]) -> np.ndarray:
        if row.get("query"):
            return letters(row["query"].decode())
        user = np.zeros(WIDTH, np.float32)
        if "history" in row:
            weights = row["history_weight"].tolist()
            for key, weight in zip(row["history"].tolist(), weights, strict=True):
                if key in self.vectors:
                    user += np.float32(weight) * self.vectors[key]
        return user


def _row(inputs: Mapping[str, Any], at: int) -> dict[str, Any]:
    """One row of a batch; k is one number for all, a query one text a row."""
    row = {name: array[at] for name, array in inputs.items() if name != "k"}
    if "query" in row:
        row["query"] = row["query"][0]
    if "k" in inputs:
        row["k"] = inputs["k"].ravel()[0]
    return row
