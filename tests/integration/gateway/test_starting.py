"""What stops a start, and what does not."""

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from artifacts.errors import ArtifactError
from artifacts.keys import item_key
from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from gateway.schema import SCHEMA_VERSION
from gateway.seed import seed
from gateway.store import Store, StoreSettings
from gateway.types import Item
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from services.runtime.errors import StartError
from services.runtime.health import SERVICE
from services.runtime.server import Server
from tests.integration.gateway.fakes import WIDTH
from tests.integration.gateway.world import (
    SEEDED,
    Shop,
    events,
    ids,
    items,
    open_shop,
    publish_fusion,
)
from tests.support.servers import channel_to, eventually
from tests.unit.gateway.damage import spoil


async def refusal(directory: Path, **settings: Any) -> str:
    with pytest.raises((StartError, ArtifactError)) as caught:
        async with open_shop(directory, **settings):
            pass
    return str(caught.value)


async def test_without_a_fusion_artifact_it_says_where_one_should_be(directory: Path) -> None:
    shutil.rmtree(directory / "models")
    message = await refusal(directory)
    assert str(directory / "models" / "fusion") in message
    assert "plait train" in message


async def test_a_damaged_fusion_artifact_is_refused_naming_the_file(directory: Path) -> None:
    file = directory / "models" / "fusion" / "1" / "fusion.npz"
    file.write_bytes(file.read_bytes()[:-10])
    assert str(file) in await refusal(directory)


async def test_a_state_file_that_is_none_is_refused_and_left_alone(directory: Path) -> None:
    state = directory / "state.sqlite"
    state.write_bytes(b"this is not a database, whatever it is called" * 100)
    before = state.read_bytes()
    message = await refusal(directory)
    assert str(state) in message
    assert "plait seed" in message
    assert state.read_bytes() == before


async def test_another_programs_database_is_refused(directory: Path) -> None:
    state = directory / "state.sqlite"
    state.unlink()
    with sqlite3.connect(state) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    assert "not a Plait state file" in await refusal(directory)


async def test_a_newer_schema_is_refused(directory: Path) -> None:
    with sqlite3.connect(directory / "state.sqlite") as state:
        state.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    state.close()
    assert f"schema version {SCHEMA_VERSION + 1}" in await refusal(directory)


async def test_vectors_of_two_widths_stop_no_start_and_are_made_again(directory: Path) -> None:
    # The repository was begun anew: two models of the same number.
    store = Store(directory / "state.sqlite", StoreSettings(5))
    store.start()
    new = [Item("new-1", 1001, "Skyr"), Item("new-2", 1002, "Quark")]
    await store.upsert_items(new, (), lambda _: None)
    for item, width in zip(new, (WIDTH, WIDTH + 1), strict=True):
        await store.put_embeddings("content", "1", [item.key], np.ones((1, width), np.float32))
    store.stop()
    async with open_shop(directory) as shop:
        state = shop.application._state
        assert state is not None
        new_items = state.new_items
        await eventually(lambda: not new_items.missing("content", "1"), "placing both")


async def test_one_state_file_serves_one_gateway(directory: Path, shop: Shop) -> None:
    assert "held by another gateway" in await refusal(directory, sources={}, addresses=("cf=x:1",),
                                                      item_encoders=())  # fmt: skip


async def test_without_a_state_file_it_starts_with_an_empty_catalogue(directory: Path) -> None:
    (directory / "state.sqlite").unlink()
    async with open_shop(directory) as shop:
        answer = await shop.recommend("ann")
        assert not answer.items
        assert answer.coverage.fallback


async def test_health_and_reflection_know_the_public_services(shop: Shop) -> None:
    assert shop.server.health.ready()
    names = shop.application.register(_Nobody(), shop.server.health)  # type: ignore[arg-type]
    assert names == [
        "plait.v1.RecommendationService",
        "plait.v1.EventService",
        "plait.v1.CatalogService",
        "plait.v1.ProfileService",
        "plait.v1.StateService",
        "plait.v1.RolloutService",
    ]
    assert SERVICE == "grpc.health.v1.Health"


class _Nobody:
    """A server that takes handlers and does nothing with them."""

    def add_generic_rpc_handlers(self, handlers: object) -> None: ...


def test_the_process_says_in_one_line_that_its_port_is_taken(directory: Path) -> None:
    publish_fusion(directory / "models")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PLAIT_")}
        settings = {
            "PORT": port, "METRICS_PORT": 0, "REPOSITORY": directory / "models",
            "STATE": directory / "state.sqlite",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "gateway"],
            env={**plain, **{f"PLAIT_GATEWAY_{k}": str(v) for k, v in settings.items()}},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert str(port) in last["message"]
    assert "Traceback" not in done.stderr


async def test_a_gateway_without_sources_shows_trends_and_finds_words(directory: Path) -> None:
    async with open_shop(directory, sources={}, item_encoders=()) as shop:
        shown = await shop.recommend("ann", explain=True)
        assert shown.coverage.fallback
        assert shown.items[0].explanation.reason == "Trending now"
        found = await shop.search("yogurt")
        assert found.items
        assert all("yogurt" in item.item.title.lower() for item in found.items)


def salvaging() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if p.name() == "sleep"]


async def test_a_gateway_that_repairs_its_file_at_the_start_hears_that_it_is_to_stop(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(directory / "state.sqlite", [1])
    forever = directory / "salvages"
    forever.write_text("#!/bin/sh\nexec sleep 600\n")
    forever.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(forever))
    config = GatewayConfig(
        repository=directory / "models", state=directory / "state.sqlite", sources=(),
        item_encoders=(), exposure_log=None,
    )  # fmt: skip
    server = Server(config, GatewayApplication(config))
    starting = asyncio.create_task(server.start())
    await eventually(salvaging, "the repair")
    async with channel_to(server.port) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        said = {
            name: (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("live", "", "store")
        }
    status = health_pb2.HealthCheckResponse.ServingStatus
    names = {name: status.Name(number) for name, number in said.items()}
    assert names == {"live": "SERVING", "": "NOT_SERVING", "store": "NOT_SERVING"}
    starting.cancel()
    await server.stop()
    await eventually(lambda: not salvaging(), "its end")


async def test_a_seeded_item_that_no_model_knows_is_found_by_them(directory: Path) -> None:
    """The shop was seeded with newer data than its models learned from."""
    late = Item("late", item_key("late"), title="Elderflower skyr", category="YOGURT")
    seed(directory / "state.sqlite", [late, *items()], [events(SEEDED)], replace=True)

    async with open_shop(directory) as shop:

        async def found() -> bool:
            return "late" in ids(await shop.search("elderflower skyr"))

        async with asyncio.timeout(20):
            while not await found():  # noqa: ASYNC110 -- models place it in the background
                await asyncio.sleep(0.05)


async def test_items_alike_rank_the_same_after_a_restart(directory: Path) -> None:
    """They lie in other rows then: what came through the API is read in the order it changed."""
    alike = [
        t.Item(item_id=f"new{n}", title="Cheese", category="CHEESE", domain="GROCERY", price=1)
        for n in (*range(5, 30), *range(5))
    ]

    async def asked(shop: Shop) -> list[list[str]]:
        found = [ids(await shop.recommend("ann", page_size=200, surface=t.SURFACE_HOME))]
        found.append(ids(await shop.search("cheese", "bob", page_size=60)))
        for source in shop.sources.values():
            await source.stop()
        found.append(ids(await shop.search("cheese", "bob", page_size=60)))
        return [*found, ids(await shop.recommend("bob", page_size=60))]

    async with open_shop(directory) as shop:
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=alike))
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=alike[3:1:-1]))
        before = await asked(shop)
    async with open_shop(directory) as shop:
        assert await asked(shop) == before
    assert {item.item_id for item in alike} & set(before[0])
