"""The gateway's own artifact changes while requests are answered, and is taken back."""

import asyncio
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from artifacts import layout
from artifacts.errors import ArtifactError
from artifacts.fusion import FusionArtifact, FusionSettings, save
from gateway.rollouts.fusion import first_fusion
from gateway.rollouts.record import Record, RecordFile
from plait.v1 import rollout_service_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.manifest_pb2 import Manifest
from plait.v1.recommendation_service_pb2 import RankRequest
from plait.v1.rollout_service_pb2_grpc import RolloutServiceStub
from tests.integration.gateway.world import SOURCES, Shop, fusion, open_shop, outcomes
from tests.support.servers import PATIENCE, eventually


def publish(directory: Path, artifact: FusionArtifact) -> int:
    with layout.publish(directory / "models", "fusion") as (home, version):
        save(home, artifact, Manifest(version=version))
    return version


def mostly_cf() -> FusionArtifact:
    """An artifact by which one model counts most."""
    parts = dict.fromkeys(SOURCES, 0.1) | {"cf": 0.7}
    weights = dict.fromkeys(fusion().weights, parts)
    return replace(fusion(), weights=weights, settings=FusionSettings(w_trend=0.3))


async def change(shop: Shop, **which: Any) -> tuple[int, int]:
    stub: Any = RolloutServiceStub(shop.channel)
    done = (await stub.LoadFusion(pb.LoadFusionRequest(**which))).fusion
    return done.version, done.previous_version


async def serving(shop: Shop) -> int:
    stub: Any = RolloutServiceStub(shop.channel)
    return int((await stub.GetRollouts(pb.GetRolloutsRequest())).fusion.version)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def weights(shop: Shop) -> dict[str, float]:
    """The weight of each source in the first item's score."""
    answer = await shop.recommend("ann", explain=True)
    return {c.source: c.weight for c in answer.items[0].explanation.contributions}


async def test_another_version_answers_the_next_request_and_is_taken_back(
    directory: Path, shop: Shop
) -> None:
    before = await weights(shop)
    assert before["cf"] < 0.5
    publish(directory, mostly_cf())
    assert await change(shop) == (2, 1)
    assert (await weights(shop))["cf"] > 0.5
    assert await change(shop, previous=True) == (1, 0)
    assert await weights(shop) == before
    code, said = await refusal(change(shop, previous=True))
    assert (code, said) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "fusion: no version served before; name the one to serve",
    )


async def test_a_broken_version_is_refused_and_the_old_one_goes_on(
    directory: Path, shop: Shop
) -> None:
    publish(directory, mostly_cf())
    (directory / "models" / "fusion" / "2" / "fusion.npz").write_bytes(b"damaged")
    code, said = await refusal(change(shop))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "fusion.npz: not the file manifest.json was written for" in said
    code, said = await refusal(change(shop, version=9))
    assert (code, "version 9 (found: 1, 2)" in said) == (grpc.StatusCode.NOT_FOUND, True)
    assert (await refusal(change(shop, version=-1)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert await serving(shop) == 1
    assert (await shop.recommend("ann")).items


@pytest.mark.skipif(sys.platform != "linux", reason="reads a file that gives nothing but errors")
@pytest.mark.parametrize("name", ["fusion.npz", "manifest.json"])
async def test_a_version_that_the_disk_does_not_give_is_refused_at_a_start_and_after(
    directory: Path, shop: Shop, name: str
) -> None:
    publish(directory, mostly_cf())
    path = directory / "models" / "fusion" / "2" / name
    path.unlink()
    path.symlink_to("/proc/self/mem")  # to be opened, and then every read is an I/O error
    code, said = await refusal(change(shop))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"2/{name}: cannot be read (Input/output error)" in said
    assert first_fusion(directory / "models", None, None).version == 1


async def test_a_version_under_the_number_of_another_is_refused(
    directory: Path, shop: Shop
) -> None:
    versions = directory / "models" / "fusion"
    publish(directory, mostly_cf())
    shutil.copytree(versions / "2", versions / "5")
    code, said = await refusal(change(shop, version=5))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "5/manifest.json: says version 2; versions are immutable" in said
    assert (await serving(shop), await change(shop, version=2)) == (1, (2, 1))


async def test_what_was_chosen_survives_a_restart_and_a_pinned_version_goes_before_it(
    directory: Path,
) -> None:
    publish(directory, mostly_cf())
    publish(directory, mostly_cf())
    async with open_shop(directory) as shop:
        assert await serving(shop) == 3
        assert await change(shop, version=2) == (2, 3)
    async with open_shop(directory) as shop:
        assert await serving(shop) == 2
        assert await change(shop, previous=True) == (3, 0)
    async with open_shop(directory, version=1) as shop:
        assert await serving(shop) == 1


async def test_a_version_that_serves_already_is_chosen_by_naming_it(directory: Path) -> None:
    async with open_shop(directory) as shop:
        assert await change(shop, version=1) == (1, 0)
    publish(directory, mostly_cf())
    async with open_shop(directory) as shop:
        assert await serving(shop) == 1


async def test_a_change_whose_caller_goes_while_it_is_kept_is_in_force(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(directory, mostly_cf())
    begun, disk = threading.Event(), threading.Event()
    write = RecordFile.write

    def slowly(file: RecordFile, record: Record) -> None:
        begun.set()
        assert disk.wait(PATIENCE)
        write(file, record)

    async with open_shop(directory, version=1) as shop:
        monkeypatch.setattr(RecordFile, "write", slowly)
        stub: Any = RolloutServiceStub(shop.channel)
        call = stub.LoadFusion(pb.LoadFusionRequest(version=2))
        waiting = asyncio.ensure_future(call)
        await eventually(begun.is_set, "the write")
        call.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0.1)  # the gateway hears of it
        disk.set()
        kept = RecordFile(directory / "state.sqlite")
        await eventually(lambda: kept.read().fusion == 2, "keeping it")
        async with asyncio.timeout(PATIENCE):
            while await serving(shop) != 2:  # noqa: ASYNC110 -- asks a server
                await asyncio.sleep(0.02)


async def test_at_a_start_a_damaged_version_is_passed_over_unless_it_is_pinned(
    directory: Path,
) -> None:
    publish(directory, mostly_cf())
    (directory / "models" / "fusion" / "2" / "fusion.json").write_text("{")
    async with open_shop(directory) as shop:
        assert await serving(shop) == 1
    with pytest.raises(ArtifactError, match=r"fusion\.json"):
        async with open_shop(directory, version=2):
            raise AssertionError("it serves")


async def test_no_request_fails_while_the_artifact_changes(directory: Path, shop: Shop) -> None:
    publish(directory, mostly_cf())
    answered, stop = 0, asyncio.Event()

    async def keep_asking(user: str) -> None:
        nonlocal answered
        while not stop.is_set():
            answer = await shop.recommend(user)
            assert len(answer.items) == 20
            assert set(outcomes(answer).values()) <= {"ok", "skipped"}
            answered += 1

    callers = [asyncio.create_task(keep_asking(user)) for user in ("ann", "bob") * 2]
    for version in (2, 1, 2):
        before = answered
        await change(shop, version=version)
        await eventually(lambda before=before: answered > before + 10, "answers")
    stop.set()
    await asyncio.gather(*callers)


def placed() -> float | None:
    return REGISTRY.get_sample_value("plait_embedded_items")


async def test_an_item_that_was_new_is_one_the_models_know(directory: Path, shop: Shop) -> None:
    item = t.Item(item_id="skyr-1", title="Skyr yogurt", domain="GROCERY", category="YOGURT")
    await shop.catalog.UpsertItems(UpsertItemsRequest(items=[item]))
    state = shop.application._state
    assert state is not None
    assert (len(state.new_items), placed()) == (1, 1.0)
    key = state.catalogue.item(state.catalogue.row_of("skyr-1")).key
    old = fusion()
    vectors = np.vstack([old.vectors, old.vectors[:1]])
    popularity = np.append(old.popularity, np.float32(1.0))
    grown = replace(
        old, item_keys=np.append(old.item_keys, key), vectors=vectors, popularity=popularity
    )
    publish(directory, grown)
    await change(shop)
    assert (len(state.new_items), placed()) == (0, 0.0)
    row = state.catalogue.row_of("skyr-1")
    assert state.catalogue.columns.popularity[row] == 1.0
    ranked = await shop.recommendations.Rank(RankRequest(item_ids=["skyr-1", "6"]))
    assert {i.item_id for i in ranked.items} == {"skyr-1", "6"}
    # And new again by the version before, as though the gateway had begun with it.
    assert await change(shop, previous=True) == (1, 0)
    assert len(state.new_items) == 1
    await eventually(lambda: placed() == 1.0, "its vectors")


async def test_a_version_is_taken_back_though_the_file_cannot_be_read(
    directory: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fusion()
    fewer = replace(
        old, item_keys=old.item_keys[1:], vectors=old.vectors[1:], popularity=old.popularity[1:]
    )
    publish(directory, fewer)
    state = shop.application._state
    assert state is not None
    monkeypatch.setattr(state.store, "_opened", None)  # as while it is being repaired
    assert await change(shop) == (2, 1)
    monkeypatch.undo()
