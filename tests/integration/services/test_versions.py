"""Two versions of one model side by side, under load, across restarts."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from artifacts.errors import ArtifactError
from inference import inference_pb2 as pb
from services.cf.server import SOURCE as CF
from services.content.server import SOURCE as CONTENT
from services.runtime import shelf
from services.runtime.server import Server
from services.runtime.service import ModelService, ServiceConfig
from services.runtime.source import Source
from services.runtime.tensors import read_outputs, write_request
from tests.integration.services.conftest import TINY
from tests.support.artifacts import Tiny, publish, publish_with_wrong_samples
from tests.support.content_artifact import publish_content
from tests.support.servers import PATIENCE, Stub, eventually, serving, stub_for

QUESTION = {"history": TINY.keys[None, :2], "k": np.array([[5]])}
SECOND = Tiny(seed=9)


@asynccontextmanager
async def running(repository: Path, **settings: Any) -> AsyncIterator[Stub]:
    async with serving(CF, repository, **settings) as server, stub_for(server.port) as stub:
        yield stub


async def change(stub: Stub, version: int | str, **flags: Any) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="cf")
    request.parameters["version"].string_param = str(version)
    for name, value in flags.items():
        request.parameters[name].bool_param = value
    await stub.RepositoryModelLoad(request)


async def unload(stub: Stub, version: int, model: str = "cf") -> None:
    request = pb.RepositoryModelUnloadRequest(model_name=model)
    request.parameters["version"].int64_param = version
    await stub.RepositoryModelUnload(request)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def listed(stub: Stub, version: str = "") -> list[str]:
    """The served versions, the default last."""
    request = pb.ModelMetadataRequest(name="cf", version=version)
    return list((await stub.ModelMetadata(request)).versions)


async def ready(stub: Stub, version: str) -> bool:
    return (await stub.ModelReady(pb.ModelReadyRequest(name="cf", version=version))).ready


async def ask(stub: Stub, version: str = "") -> tuple[str, list[int]]:
    """The version that answered, and what it named."""
    response = await stub.ModelInfer(write_request("cf", QUESTION, version=version))
    return response.model_version, read_outputs(response)["item_keys"][0].tolist()


async def test_a_version_loaded_beside_answers_those_who_name_it_and_nobody_else(
    stub: Stub, repository: Path
) -> None:
    publish(repository, SECOND)
    await change(stub, 2, beside=True)
    assert await listed(stub) == await listed(stub, "2") == ["2", "1"]
    first, second = await ask(stub), await ask(stub, "2")
    assert (first[0], second[0]) == ("1", "2")
    assert first[1] != second[1]
    assert await ask(stub, "1") == first
    assert await ready(stub, "1")
    assert await ready(stub, "2")
    assert not await ready(stub, "3")
    code, said = await refusal(ask(stub, "3"))
    assert (code, said) == (
        grpc.StatusCode.NOT_FOUND,
        "cf: version '3' is not served; there is 2, 1",
    )


async def test_a_version_beside_takes_over_and_gives_way_to_what_was_before(
    stub: Stub, repository: Path
) -> None:
    publish(repository, SECOND)
    await change(stub, 2, beside=True)
    await change(stub, 2)
    assert await listed(stub) == ["2"]
    assert (await ask(stub))[0] == "2"
    await change(stub, "previous")
    assert await listed(stub) == ["1"]
    code, said = await refusal(change(stub, "previous"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "no version was the default before" in said


async def test_one_version_is_unloaded_and_the_default_is_not(stub: Stub, repository: Path) -> None:
    publish(repository, SECOND)
    await change(stub, 2, beside=True)
    code, said = await refusal(unload(stub, 1))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "version 1 is the default one" in said
    await unload(stub, 2)
    assert await listed(stub) == ["1"]
    assert not await ready(stub, "2")
    assert (await refusal(unload(stub, 2)))[0] is grpc.StatusCode.NOT_FOUND


async def test_who_names_no_version_is_answered_by_the_default_one_or_by_none(
    stub: Stub, repository: Path
) -> None:
    publish(repository, SECOND)
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
    await change(stub, 2, beside=True)
    code, said = await refusal(ask(stub))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert said == "cf: the default version is not loaded; there is 2"
    assert (await ask(stub, "2"))[0] == "2"
    assert not await ready(stub, "")
    await change(stub, 1)
    assert (await ask(stub))[0] == "1"


async def test_a_third_version_needs_room_and_is_refused_without(
    stub: Stub, repository: Path
) -> None:
    publish(repository, SECOND)
    publish(repository, Tiny(seed=3))
    await change(stub, 2, beside=True)
    code, said = await refusal(change(stub, 3, beside=True))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "versions 1, 2 are loaded, at most 2 can be (max_versions)" in said
    # In the place of the default there is room.
    await change(stub, 3)
    assert await listed(stub) == ["2", "3"]


async def test_models_of_one_artifact_change_together(tmp_path: Path) -> None:
    publish_content(tmp_path)
    publish_content(tmp_path)
    async with (
        serving(CONTENT, tmp_path, version=1) as server,
        stub_for(server.port) as stub,
    ):
        request = pb.RepositoryModelLoadRequest(model_name="content")
        request.parameters["version"].int64_param = 2
        request.parameters["beside"].bool_param = True
        await stub.RepositoryModelLoad(request)
        for name in ("content", "content-items"):
            answer = await stub.ModelMetadata(pb.ModelMetadataRequest(name=name, version="2"))
            assert list(answer.versions) == ["2", "1"]
        await unload(stub, 2, "content")
        assert not (
            await stub.ModelReady(pb.ModelReadyRequest(name="content-items", version="2"))
        ).ready


async def test_no_call_fails_while_versions_come_and_go_and_a_broken_one_never_answers(
    stub: Stub, repository: Path
) -> None:
    publish(repository, SECOND)
    publish_with_wrong_samples(repository, Tiny(seed=4))
    answered: dict[tuple[str, str], int] = {}
    stop = asyncio.Event()

    async def keep_asking(version: str) -> None:
        while not stop.is_set():
            by, _ = await ask(stub, version)
            answered[version, by] = answered.get((version, by), 0) + 1

    callers = [asyncio.create_task(keep_asking("")) for _ in range(4)]
    await change(stub, 2, beside=True)
    callers += [asyncio.create_task(keep_asking("2")) for _ in range(4)]
    await eventually(lambda: answered.get(("2", "2"), 0) > 20, "answers of both")
    for attempt in (change(stub, 3, beside=True), change(stub, 3)):
        assert (await refusal(attempt))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await change(stub, 2)
    await change(stub, 1, beside=True)
    await eventually(lambda: answered.get(("", "2"), 0) > 20, "the new default")
    stop.set()
    await asyncio.gather(*callers)
    assert set(answered) == {("", "1"), ("", "2"), ("2", "2")}


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("beside", {"string_param": "yes"}, "beside: must be a bool_param"),
        ("version", {"bool_param": True}, "version: must be a positive whole number"),
        ("version", {"int64_param": 0}, "version: must be a positive whole number"),
    ],
)
async def test_a_parameter_of_the_wrong_kind_is_refused(
    stub: Stub, parameter: str, value: dict[str, Any], said: str
) -> None:
    request = pb.RepositoryModelLoadRequest(
        model_name="cf", parameters={parameter: pb.ModelRepositoryParameter(**value)}
    )
    code, details = await refusal(stub.RepositoryModelLoad(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in details


async def test_a_restarted_service_serves_what_it_was_told_to(repository: Path) -> None:
    publish(repository, SECOND)
    async with running(repository, version=1) as stub:
        await change(stub, 2, beside=True)
    publish(repository, Tiny(seed=3))
    async with running(repository) as stub:
        assert await listed(stub) == ["2", "1"]
        await change(stub, 2)
    async with running(repository) as stub:
        assert await listed(stub) == ["2"]
        await change(stub, "previous")
    async with running(repository) as stub:
        assert await listed(stub) == ["1"]
    async with running(repository, version=3) as stub:
        assert await listed(stub) == ["3"]


async def test_settings_name_the_versions_beside_the_pinned_one(repository: Path) -> None:
    publish(repository, SECOND)
    settings = {"version": 1, "beside": (2,), "model_control": False}
    async with running(repository, **settings) as stub:
        assert await listed(stub) == ["2", "1"]
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"beside": (2,)}, "set version as well"),
        ({"version": 2, "beside": (2,)}, "beside names version 2"),
        ({"version": 1, "beside": (2, 3)}, "max_versions"),
    )
    for refused, why in wrong:
        with pytest.raises(ValueError, match=why):
            ServiceConfig(repository=repository, **refused)
    (repository / "cf" / "2" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        async with running(repository, **settings):
            raise AssertionError("it serves")


async def test_who_asks_for_the_newest_gets_the_newest_after_a_restart_too(
    repository: Path,
) -> None:
    async with running(repository) as stub:
        await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="cf"))
    publish(repository, SECOND)
    async with running(repository) as stub:
        assert await listed(stub) == ["2"]


async def test_what_cannot_be_served_any_more_is_left_out_at_the_next_start(
    repository: Path,
) -> None:
    publish(repository, SECOND)
    async with running(repository, version=1) as stub:
        await change(stub, 2)
        await change(stub, 1, beside=True)
    (repository / "cf" / "2" / "model.onnx").write_bytes(b"damaged")
    async with running(repository) as stub:
        assert await listed(stub) == ["1"]
    for damaged in ("{", '{"default": Infinity, "beside": [], "previous": null}'):
        (repository / "cf" / ".serving.json").write_text(damaged)
        async with running(repository) as stub:
            # No choice to go by: the newest that is not refused.
            assert await listed(stub) == ["1"]


async def test_with_a_pinned_version_that_is_damaged_it_does_not_start(repository: Path) -> None:
    publish(repository, SECOND)
    (repository / "cf" / "2" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        async with running(repository, version=2):
            raise AssertionError("it serves")


async def test_a_choice_that_cannot_be_kept_is_made_all_the_same(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(repository, SECOND)
    (repository / "cf" / f".serving.json.{os.getpid()}").mkdir()
    async with running(repository, version=1) as stub:
        await change(stub, 2, beside=True)
        assert await listed(stub) == ["2", "1"]
    assert "ends with this process" in caplog.text


async def test_the_choice_is_a_file_a_person_can_read(repository: Path) -> None:
    publish(repository, SECOND)
    async with running(repository, version=1) as stub:
        await change(stub, 2)
        await change(stub, 1, beside=True)
    kept = json.loads((repository / "cf" / ".serving.json").read_text())
    assert kept == {"default": 2, "beside": [1], "previous": 1}


async def test_metrics_tell_of_the_last_versions_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[int]:
        """Versions of which a batch was counted."""
        return [
            version
            for version in range(1, 5)
            if REGISTRY.get_sample_value(
                "plait_batch_rows_count", {"source": "cf", "version": str(version)}
            )
        ]

    monkeypatch.setattr(shelf, "_MOST_PAST", 1)
    for seed in range(4):
        publish(tmp_path, Tiny(seed=seed))
    async with running(tmp_path, version=1) as stub:
        await ask(stub)
        for version in (2, 3, 4):
            await change(stub, version)
            await ask(stub)
        assert told() == [3, 4]
        await change(stub, 1)
        await ask(stub)
        assert told() == [1, 4]
        # One that came back is not of the past.
        await change(stub, 4)
        await ask(stub)
        assert told() == [1, 4]


async def test_a_server_is_ready_once_the_versions_beside_are_loaded_too(repository: Path) -> None:
    publish(repository, SECOND)
    loading, proven = threading.Event(), threading.Event()

    def opened(directory: Path) -> Any:
        if directory.name == "2":
            loading.set()
            proven.wait(PATIENCE)
        return CF.open(directory)

    config = ServiceConfig(repository=repository, drain_seconds=0.0, version=1, beside=(2,))
    server = Server(config, ModelService(Source("cf", ("cf",), opened), config))
    starting = asyncio.create_task(server.start())
    await eventually(loading.is_set, "the load of the version beside")
    # A rollout takes an old server away for one that is ready.
    assert not server.health.ready("cf")
    assert not server.health.ready()
    proven.set()
    await starting
    assert server.health.ready("cf")
    await server.stop()
