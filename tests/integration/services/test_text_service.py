"""The text service: queries in, items out, and vectors of texts beside them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from artifacts.engines.encoder import TextEncoder
from inference import inference_pb2 as pb
from services.text.server import SOURCE
from tests.support.servers import Stub, infer, serving, stub_for
from tests.support.text_artifact import KEYS, TITLES


@pytest_asyncio.fixture
async def stub(shared: Path) -> AsyncIterator[Stub]:
    """A client of a text service."""
    async with serving(SOURCE, shared) as server, stub_for(server.port) as client:
        yield client


def _texts(*texts: str | bytes) -> Any:
    values = [t.encode() if isinstance(t, str) else t for t in texts]
    return np.array(values, object)[:, None]


async def test_queries_of_a_batch_are_answered_row_by_row(stub: Stub) -> None:
    answer = await infer(stub, "text", {"query": _texts("bread", "peach tea"), "k": [[2], [1]]})
    first, second = answer["item_keys"].tolist()
    assert set(first) == {KEYS[3], KEYS[4]}
    assert second == [KEYS[7], 0]


async def test_candidates_are_scored_by_the_query(stub: Stub) -> None:
    wanted = [[KEYS[0], KEYS[3], KEYS[4]]]
    answer = await infer(stub, "text", {"query": _texts("rye bread"), "candidates": wanted})
    assert np.argmax(answer["scores"]) == 2


async def test_a_history_alone_is_a_question_too(stub: Stub) -> None:
    answer = await infer(stub, "text", {"history": [KEYS[:3]], "k": [[3]]})
    assert set(answer["item_keys"][0].tolist()) == set(KEYS[:3].tolist())


async def test_an_empty_query_is_no_opinion(stub: Stub) -> None:
    answer = await infer(stub, "text", {"query": _texts(""), "k": [[3]]})
    assert not answer["item_keys"].any()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (_texts("x" * 257), "query: row 0 has 257 characters, at most 256"),
        (_texts("yogurt", b"\xff\xfe"), "query: row 1 is not UTF-8"),
        (np.array([[1]]), "query: wants BYTES, got INT64"),
        (np.array([b"x"], object), r"query: wants shape \[-1, 1\], got \[1\]"),
    ],
)
async def test_a_query_that_is_no_query_is_refused_by_name(
    stub: Stub, query: Any, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=said) as refused:
        await infer(stub, "text", {"query": query})
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_256_characters_are_allowed_however_many_bytes_they_take(stub: Stub) -> None:
    await infer(stub, "text", {"query": _texts("é" * 256), "k": [[3]]})


async def test_texts_become_the_vectors_the_model_was_made_with(stub: Stub, shared: Path) -> None:
    answer = await infer(stub, "text-items", {"text": _texts(*TITLES[:2], "")})
    vectors = TextEncoder(shared / "text" / "1").encode([*TITLES[:2], ""])
    np.testing.assert_array_equal(answer["embedding"], vectors)
    with pytest.raises(grpc.aio.AioRpcError, match="text: missing"):
        await infer(stub, "text-items", {})


async def test_both_models_are_listed_and_change_together(stub: Stub) -> None:
    index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
    assert [(m.name, m.version, m.state) for m in index.models] == [
        ("text", "1", "READY"),
        ("text-items", "1", "READY"),
    ]
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="text-items"))
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
    await infer(stub, "text", {"query": _texts("yogurt")})
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="text"))
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
