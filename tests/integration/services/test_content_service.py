"""The content service: recommendations by what items are, and places for new ones."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from inference import inference_pb2 as pb
from services.content.server import SOURCE
from tests.support.content_artifact import CATEGORIES, DIMENSION
from tests.support.servers import Stub, infer, serving, stub_for
from tests.support.text_artifact import KEYS, TITLES


@pytest_asyncio.fixture
async def stub(shared: Path) -> AsyncIterator[Stub]:
    """A client of a content service."""
    async with serving(SOURCE, shared) as server, stub_for(server.port) as client:
        yield client


def _column(*values: str) -> Any:
    return np.array([v.encode() for v in values], object)[:, None]


async def test_a_new_item_lies_where_it_would_lie_as_a_known_one(stub: Stub) -> None:
    item = {"text": _column(TITLES[4]), "category": _column(CATEGORIES[4])}
    vector = (await infer(stub, "content-items", item))["embedding"]
    known = await infer(stub, "content", {"history": [[KEYS[4]]], "k": [[1]]})
    np.testing.assert_allclose(vector.astype(float), known["embedding"].astype(float), atol=1e-5)
    assert known["item_keys"].tolist() == [[KEYS[4]]]


async def test_what_is_unknown_of_an_item_may_be_left_out(stub: Stub) -> None:
    bare = await infer(stub, "content-items", {"text": _column(TITLES[0])})
    blank = {
        "text": _column(TITLES[0]),
        "brand": _column(""),
        "price": np.full((1, 1), np.nan, np.float32),
    }
    same = await infer(stub, "content-items", blank)
    np.testing.assert_array_equal(bare["embedding"], same["embedding"])
    more = {
        "brand": _column("Acme"),
        "provider": _column("shop 7"),
        "price": np.array([[3.5]], np.float32),
    }
    other = await infer(stub, "content-items", {**blank, **more})
    assert other["embedding"].shape == (1, DIMENSION)
    assert not np.array_equal(bare["embedding"], other["embedding"])


async def test_a_negative_price_is_refused_by_name(stub: Stub) -> None:
    item = {"text": _column("x"), "price": np.array([[-1.0]], np.float32)}
    with pytest.raises(grpc.aio.AioRpcError, match="price: must be zero or more") as refused:
        await infer(stub, "content-items", item)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_encoder_describes_its_columns(stub: Stub) -> None:
    described = await stub.ModelMetadata(pb.ModelMetadataRequest(name="content-items"))
    assert {t.name: (t.datatype, list(t.shape)) for t in described.inputs} == {
        "text": ("BYTES", [-1, 1]),
        "category": ("BYTES", [-1, 1]),
        "brand": ("BYTES", [-1, 1]),
        "domain": ("BYTES", [-1, 1]),
        "provider": ("BYTES", [-1, 1]),
        "price": ("FP32", [-1, 1]),
    }
    assert [(t.name, list(t.shape)) for t in described.outputs] == [("embedding", [-1, DIMENSION])]
