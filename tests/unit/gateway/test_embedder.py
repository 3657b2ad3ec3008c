"""Vectors are kept of what an item is, never of what it was."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import grpc
import numpy as np
import pytest

from gateway.embedder import Embedder
from gateway.fusion.types import Floats
from gateway.link import Link
from gateway.new_items import NewItems
from gateway.replicas.contract import Contract
from gateway.replicas.errors import NotReachable
from gateway.store import Store
from gateway.types import Item
from inference import inference_pb2 as pb
from services.runtime.tensors import read_inputs, write_response
from tests.support.servers import eventually

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
    new_items.put(Item("may change", 4, "tea"))
    links = {"text": cast(Link, link)}
    embedder = Embedder(links, new_items, cast(Store, cast(Any, kept)), retry_ms=10)
    embedder.start()
    embedder.poke()
    try:
        await link.asked.wait()
        new_items.put(Item("changes", 2, "buttermilk"))
        new_items.remove(3)
        new_items.on_the_way[4] = 1  # its next text may be in the file by now
        link.may_answer.set()
        assert await embedder.settle([1, 2], 5) == 2
        new_items.put(Item("may change", 4, "green tea"))
        del new_items.on_the_way[4]
        assert await embedder.settle([4], 5) == 1
    finally:
        await embedder.stop()
    # Whenever the gateway had stopped, the file had held no vector of other text.
    assert kept.written == [(1, 4.0), (2, 10.0), (4, 9.0)]


class PickyLink(SlowLink):
    """One that refuses the calls in which one of some texts is."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.may_answer.set()
        self.refused = [text.encode() for text in refused]
        self.calls = 0

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        self.calls += 1
        texts = read_inputs(request)["text"][:, 0].tolist()
        if any(text in self.refused for text in texts):
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, none, none)
        return await super().infer(request, seconds)


class AwayLink(SlowLink):
    """One that cannot be reached until it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer.set()
        self.back = False

    async def describe(self, model: str) -> Contract:
        if not self.back:
            raise NotReachable("not reachable")
        return await super().describe(model)


async def test_a_source_that_is_away_is_waited_for_once_and_again_when_it_is_back() -> None:
    link, kept, new_items = AwayLink(), Kept(), NewItems(("text",), 10)
    links = {"text": cast(Link, link)}
    embedder = Embedder(links, new_items, cast(Store, cast(Any, kept)), retry_ms=200)
    embedder.start()
    try:
        start = time.perf_counter()
        for key in (1, 2, 3, 4, 5):
            new_items.put(Item(str(key), key, "skyr"))
            assert await embedder.settle([key], 60) == 0
        assert time.perf_counter() - start < 0.4  # it is asked again five times a second
        link.back = True
        await eventually(lambda: new_items.placed() == 5, "placing them when it is back")
        new_items.put(Item("6", 6, "skyr"))
        assert await embedder.settle([6], 60) == 1
    finally:
        await embedder.stop()


async def test_an_item_that_an_encoder_refuses_keeps_no_other_from_its_place() -> None:
    link, kept, new_items = PickyLink("bad", "worse"), Kept(), NewItems(("text",), 200)
    for number in range(1, 101):
        title = {30: "bad", 95: "worse"}.get(number, f"good {number}")
        new_items.put(Item(str(number), number, title))
    links = {"text": cast(Link, link)}
    embedder = Embedder(links, new_items, cast(Store, cast(Any, kept)), retry_ms=10)
    embedder.start()
    try:
        await eventually(lambda: new_items.placed() == 98, "placing the others")
        # Others that come are placed in one call, and the refused ones are asked about alone.
        link.calls = 0
        for number in range(101, 121):
            new_items.put(Item(str(number), number, f"good {number}"))
        assert await embedder.settle(range(101, 121), 5) == 20
        await eventually(lambda: link.calls >= 3, "asking about those that were refused")
        new_items.put(Item("30", 30, "better"))
        await eventually(lambda: new_items.placed() == 119, "placing what was reworded")
    finally:
        await embedder.stop()
    assert sorted({key for key, _ in kept.written}) == [n for n in range(1, 121) if n != 95]


async def test_an_item_that_an_encoder_refuses_for_good_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link, kept, new_items = PickyLink("bad"), Kept(), NewItems(("text",), 200)
    new_items.put(Item("1", 1, "bad"))
    links = {"text": cast(Link, link)}
    embedder = Embedder(links, new_items, cast(Store, cast(Any, kept)), retry_ms=1)
    embedder.start()
    try:
        await eventually(lambda: link.calls >= 10, "asking again and again")
    finally:
        await embedder.stop()
    said = [r.getMessage() for r in caplog.records]
    assert said == ["new items not placed yet"]
