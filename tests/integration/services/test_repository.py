"""Versions that come and go while a service runs."""

import asyncio
import errno
import threading
from collections.abc import Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest

from artifacts import layout
from inference import inference_pb2 as pb
from services.cf.server import SOURCE as CF
from services.cf.server import open_models
from services.runtime.engine_model import EngineModel
from services.runtime.source import Source
from tests.integration.services.conftest import TINY
from tests.support.artifacts import Tiny, publish, publish_with_wrong_samples
from tests.support.servers import PATIENCE, Stub, eventually, infer, serving, stub_for

QUESTION = {"history": TINY.keys[None, :2], "k": np.array([[5]])}
OTHER = Tiny(seed=9)


async def _load(stub: Stub, version: int | str | None = None) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="cf")
    if isinstance(version, int):
        request.parameters["version"].int64_param = version
    elif version is not None:
        request.parameters["version"].string_param = version
    await stub.RepositoryModelLoad(request)


async def _refused(stub: Stub, version: int | str | None = None) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _load(stub, version)
    return refused.value


async def _served(stub: Stub) -> str:
    index = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    return ",".join(m.version for m in index.models)


async def test_a_new_version_takes_over_when_it_is_loaded_not_when_it_appears(
    stub: Stub, repository: Path
) -> None:
    before = await infer(stub, "cf", QUESTION)
    publish(repository, OTHER)
    assert await _served(stub) == "1"
    await _load(stub)
    assert await _served(stub) == "2"
    after = await infer(stub, "cf", QUESTION)
    assert after["item_keys"].tolist() != before["item_keys"].tolist()
    await _load(stub, 1)
    again = await infer(stub, "cf", QUESTION)
    assert again["item_keys"].tolist() == before["item_keys"].tolist()


async def test_calls_during_a_change_of_version_are_all_answered(
    stub: Stub, repository: Path
) -> None:
    publish(repository, OTHER)
    stop = asyncio.Event()

    async def keep_asking() -> int:
        answered = 0
        while not stop.is_set():
            await infer(stub, "cf", QUESTION)
            answered += 1
        return answered

    callers = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for version in (2, 1, 2, "1", None):
        await _load(stub, version)
    stop.set()
    assert all(n > 0 for n in await asyncio.gather(*callers))


async def test_an_artifact_whose_samples_do_not_replay_is_refused_and_the_old_one_serves(
    stub: Stub, repository: Path
) -> None:
    publish_with_wrong_samples(repository, OTHER)
    error = await _refused(stub)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "sample 0 of manifest.json gave another answer" in (error.details() or "")
    assert await _served(stub) == "1"
    await infer(stub, "cf", QUESTION)
    index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
    assert [(m.name, m.version, m.state) for m in index.models] == [
        ("cf", "1", "READY"),
        ("cf", "2", "UNAVAILABLE"),
    ]
    assert "sample 0" in index.models[1].reason


async def test_a_version_that_breaks_the_library_that_reads_it_is_refused_too(
    repository: Path,
) -> None:
    opened: list[Path] = []

    def open_once(directory: Path) -> Mapping[str, EngineModel]:
        opened.append(directory)
        if directory.name == "2":
            raise ValueError("field `details` is not defined in the schema")
        return open_models(directory)

    source = Source("cf", ("cf",), open_once)
    async with serving(source, repository) as server, stub_for(server.port) as stub:
        publish(repository, OTHER)
        error = await _refused(stub)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "2: cannot be used (ValueError: field `details`" in (error.details() or "")
        assert await _served(stub) == "1"
    assert len(opened) == 2


async def test_a_damaged_file_is_refused_by_name(stub: Stub, repository: Path) -> None:
    publish(repository, OTHER)
    (repository / "cf" / "2" / "model.onnx").write_bytes(b"damaged")
    error = await _refused(stub, 2)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "model.onnx: not the file manifest.json was written for" in (error.details() or "")


@pytest.mark.parametrize(
    ("version", "status", "said"),
    [
        (7, grpc.StatusCode.NOT_FOUND, "version 7 (found: 1)"),
        ("newest", grpc.StatusCode.INVALID_ARGUMENT, "version: must be a positive whole number"),
        ("9" * 5000, grpc.StatusCode.INVALID_ARGUMENT, "version: must be a positive whole number"),
    ],
)
async def test_a_version_that_cannot_be_had_is_refused(
    stub: Stub, version: int | str, status: grpc.StatusCode, said: str
) -> None:
    error = await _refused(stub, version)
    assert error.code() is status
    assert said in (error.details() or "")


async def test_a_parameter_that_means_nothing_here_is_refused(stub: Stub) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="cf")
    request.parameters["config"].string_param = "{}"
    with pytest.raises(grpc.aio.AioRpcError, match="config: not a parameter"):
        await stub.RepositoryModelLoad(request)


async def test_an_unloaded_model_is_not_ready_until_it_is_loaded_again(stub: Stub) -> None:
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="cf"))).ready
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
    with pytest.raises(grpc.aio.AioRpcError, match="cf: no version is loaded") as refused:
        await infer(stub, "cf", QUESTION)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await _load(stub)
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="cf", version="1"))).ready
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="cf", version="2"))).ready
    await infer(stub, "cf", QUESTION)


async def test_a_model_of_another_name_can_be_neither_loaded_nor_unloaded(stub: Stub) -> None:
    for call in (
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="text")),
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="text")),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="text: no such model") as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_service_without_model_control_keeps_what_it_started_with(
    repository: Path,
) -> None:
    async with (
        serving(CF, repository, model_control=False) as server,
        stub_for(server.port) as stub,
    ):
        assert (await _refused(stub)).code() is grpc.StatusCode.FAILED_PRECONDITION
        with pytest.raises(grpc.aio.AioRpcError, match="switched off here"):
            await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
        assert await _served(stub) == "1"


async def test_a_pinned_version_is_served_though_a_newer_one_exists(repository: Path) -> None:
    publish(repository, OTHER)
    async with serving(CF, repository, version=1) as server, stub_for(server.port) as stub:
        assert await _served(stub) == "1"


async def test_a_disk_that_fails_is_named_and_stops_no_version_that_is_loaded(
    stub: Stub, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(repository, OTHER)
    await _load(stub)

    def failing(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "iterdir", failing)
    for call in (stub.RepositoryIndex(pb.RepositoryIndexRequest()), _load(stub, 1)):
        with pytest.raises(grpc.aio.AioRpcError, match="Input/output error") as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await _load(stub, 2)
    await infer(stub, "cf", QUESTION)


async def test_a_disk_that_does_not_answer_stops_no_call(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, answers = threading.Event(), threading.Event()
    versions = layout.versions

    def hanging(repository: Path, source: str) -> list[int]:
        looks.set()
        answers.wait(PATIENCE)
        return versions(repository, source)

    monkeypatch.setattr(layout, "versions", hanging)
    index = asyncio.ensure_future(stub.RepositoryIndex(pb.RepositoryIndexRequest()))
    load = asyncio.ensure_future(_load(stub))
    await eventually(looks.is_set, "a look at the disk")
    await infer(stub, "cf", QUESTION)
    assert not index.done()
    assert not load.done()
    answers.set()
    await asyncio.gather(index, load)
