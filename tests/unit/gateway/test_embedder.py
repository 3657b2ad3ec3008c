"""Vectors are kept of what an item is, never of what it was."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from gateway.embedder import Embedder
from gateway.fusion.types import Floats
from gateway.link import Link
from gateway.new_items import NewItems
from gateway.replicas.contract import Contract
from gateway.store import Store
from gateway.types import Item
from inference import inference_pb2 as pb
from services.runtime.tensors import read_inputs, write_response

CONTRACT = Contract("1", frozenset({"text"}), frozenset({"embedding"}))


class SlowLink:
    """An encoder that answers once it may: a text's length is its vector."""

    name = "text"
    contract = CONTRACT

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def describe(self, model: str) -> Contract:
        return CONTRACT

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        texts = read_inputs(request)["text"][:, 0].tolist()
        self.asked.set()
        await self.may_answer.wait()
        vectors = np.array([[len(text), 1] for text in texts], np.float32)
        return write_response(request.model_name, "1", "", {"embedding": vectors})


class Kept:
    """What would lie in the state file."""

    def __init__(self) -> None:
        self.written: list[tuple[int, float]] = []

    async def put_embeddings(
        self, source: str, version: str, keys: Sequence[int], vectors: Floats
    ) -> None:
        self.written += zip(keys, vectors[:, 0].tolist(), strict=True)


async def test_a_vector_of_what_was_reworded_meanwhile_is_not_stored() -> None:
    link, kept, new_items = SlowLink(), Kept(), NewItems(("text",), 10)
    for item in (Item("same", 1, "skyr"), Item("changes", 2, "milk"), Item("goes", 3, "soap")):
        new_items.put(item)
    links = {"text": cast(Link, link)}
    embedder = Embedder(links, new_items, cast(Store, cast(Any, kept)), retry_ms=10)
    embedder.start()
    embedder.poke()
    try:
        await link.asked.wait()
        new_items.put(Item("changes", 2, "buttermilk"))
        new_items.remove(3)
        link.may_answer.set()
        assert await embedder.settle([1, 2], 5) == 2
    finally:
        await embedder.stop()
    # Whenever the gateway had stopped, the file had held no vector of other text.
    assert kept.written == [(1, 4.0), (2, 10.0)]
