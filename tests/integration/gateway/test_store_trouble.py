"""A damaged state file, a disk that fails: rankings go on, and nobody is told an untruth."""

import asyncio
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from gateway import app, loading
from gateway.errors import StoreFailed
from gateway.keeper import CatalogueKeeper
from gateway.store import Store
from gateway.trends import Trends
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, GetItemRequest, UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from tests.integration.gateway.world import COUNT, Shop, ids, open_shop
from tests.support.disks import Disk
from tests.support.servers import eventually
from tests.unit.gateway.damage import pages_of, spoil


def bought(user: str, item: str, event_id: str) -> t.Event:
    return t.Event(
        user_id=user, item_id=item, type=t.EVENT_TYPE_PURCHASE, event_id=event_id, market="m"
    )


async def record(shop: Shop, *events: t.Event) -> Any:
    return await shop.events.RecordEvents(RecordEventsRequest(events=events))


async def health(shop: Shop, name: str) -> str:
    stub = health_pb2_grpc.HealthStub(shop.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def until_health(shop: Shop, status: str) -> None:
    async with asyncio.timeout(30):
        while await health(shop, "store") != status:  # noqa: ASYNC110 -- asks a server
            await asyncio.sleep(0.02)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def stored_ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT event_id FROM events WHERE event_id IS NOT NULL ORDER BY event_id"
        return [row[0] for row in connection.execute(query)]


async def test_a_ranking_does_not_wait_for_a_disk_that_stands_still(directory: Path) -> None:
    async with open_shop(directory) as shop:
        state = shop.application._state
        assert state is not None
        opened = state.store._use()
        let = threading.Event()
        opened.readers.submit(let.wait, 30.0)
        answer = await shop.recommend("bob")
        assert answer.items
        assert not answer.coverage.partial, "the sources had their time"
        let.set()
        rules = t.Rules(exclude_purchased=True)
        assert not {"2", "8", "14"} & set(ids(await shop.recommend("bob", rules=rules)))


def damaged(directory: Path) -> list[Path]:
    return [p for p in directory.glob("state.sqlite.damaged-*") if not p.name.endswith("-wal")]


@pytest.mark.parametrize("name", ["header", "events", "items", "events_by_user"])
async def test_a_file_damaged_before_the_start_is_set_aside_and_what_is_left_serves(
    directory: Path, name: str
) -> None:
    state = directory / "state.sqlite"
    spoil(state, [1] if name == "header" else pages_of(state, name)[:1])
    size = state.stat().st_size
    async with open_shop(directory) as shop:
        if name == "events_by_user":  # nobody looks there before a shopper comes
            await shop.recommend("bob")
            await eventually(lambda: damaged(directory), "the repair")
            await until_health(shop, "SERVING")
        answer = await shop.recommend("ann")
        assert answer.items
        assert answer.coverage.answered == 4
        assert shop.sources["cf"].asked[-1]["history"].tolist() == [[6, 12, 18]]
        await eventually(lambda: metric("plait_store_set_aside_files") == 1, "the gauge")
        assert (await record(shop, bought("ann", "24", "new"))).recorded_count == 1
    (aside,) = damaged(directory)
    assert len(aside.read_bytes()) >= size
    async with open_shop(directory) as shop:
        await shop.recommend("ann")
        assert shop.sources["cf"].asked[-1]["history"].tolist() == [[6, 12, 18, 24]]


async def test_damage_found_while_running_is_repaired_behind_the_rankings(directory: Path) -> None:
    state = directory / "state.sqlite"
    async with open_shop(directory) as shop:
        crowd = [bought(f"c{n}", "6", f"{n:03}") for n in range(400)]
        await record(shop, *crowd)
        await shop.catalog.UpsertItems(
            UpsertItemsRequest(items=[t.Item(item_id="new", title="Yogurt of tomorrow")])
        )
        # Long enough for the log to be written back, so that the file is what is read.
        with closing(sqlite3.connect(state)) as outside:
            outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite_in_place(state, pages_of(state, "events_by_id")[:1])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await record(shop, bought("carl", "6", "refused"))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len((await shop.recommend("ann")).items) == 20
        await until_health(shop, "SERVING")
        assert damaged(directory)
        again = await record(shop, *crowd, bought("carl", "6", "refused"))
        assert (again.duplicate_count, again.recorded_count) == (400, 1)
        assert "new" in ids(await shop.search("yogurt of tomorrow"))
    assert len(stored_ids(state)) == 401


def overwrite_in_place(path: Path, numbers: list[int]) -> None:
    """Spoil pages of a file that is open elsewhere: same file, other content."""
    copy = path.with_name("spoiled")
    shutil.copyfile(path, copy)
    spoil(copy, numbers)
    with path.open("r+b") as file:
        file.write(copy.read_bytes())


async def test_writes_are_refused_rather_than_lost_where_there_is_no_room_for_the_repair(
    disk: Disk,
) -> None:
    directory = disk.root / "shop"
    async with open_shop(directory) as shop:
        await record(shop, bought("carl", "6", "first"))
        overwrite_in_place(
            directory / "state.sqlite", pages_of(directory / "state.sqlite", "items")
        )
        shop.application._state.store.condition.ill(ValueError("found by a person"))  # type: ignore[union-attr]
        disk.fill()
        await until_health(shop, "NOT_SERVING")
        with pytest.raises(grpc.aio.AioRpcError, match="being repaired"):
            await record(shop, bought("carl", "6", "second"))
        assert (await shop.recommend("ann")).items
        disk.free()
        await until_health(shop, "SERVING")
        answer = await record(shop, bought("carl", "6", "first"), bought("carl", "6", "second"))
        assert (answer.duplicate_count, answer.recorded_count) == (1, 1)
    assert len(stored_keys(directory / "state.sqlite")) == COUNT


def stored_keys(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [key for (key,) in connection.execute("SELECT item_key FROM items")]


async def test_items_that_a_repair_could_not_save_are_stored_again_from_memory(
    directory: Path,
) -> None:
    state = directory / "state.sqlite"
    async with open_shop(directory) as shop:
        await shop.catalog.UpsertItems(
            UpsertItemsRequest(items=[t.Item(item_id="new", title="Yogurt of tomorrow")])
        )
        await lose(shop, state, "items")
        await until_health(shop, "SERVING")
    assert len(stored_keys(state)) == COUNT + 1
    async with open_shop(directory) as shop:
        answer = await shop.catalog.GetItem(GetItemRequest(item_id="new"))
        assert answer.item.title == "Yogurt of tomorrow"


async def test_images_that_a_repair_could_not_save_are_stored_again_from_memory(
    directory: Path,
) -> None:
    state = directory / "state.sqlite"
    pictured = {f"new {n}": [float(n)] * 300 for n in range(1, 9)}
    async with open_shop(directory) as shop:
        items = [t.Item(item_id=i, image_vector=image) for i, image in pictured.items()]
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=items))
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=[t.Item(item_id="new 1")]))
    async with open_shop(directory) as shop:  # some are known from the file, one from the API
        changed = t.Item(item_id="new 2", image_vector=[0.5])
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=[changed]))
        await lose(shop, state, "embeddings")
        await until_health(shop, "SERVING")
    expected = {**pictured, "new 1": [], "new 2": [0.5]}
    async with open_shop(directory) as shop:
        for item_id, image in expected.items():
            answer = await shop.catalog.GetItem(GetItemRequest(item_id=item_id))
            assert answer.item.image_vector == image, item_id


async def test_damage_that_is_found_behind_a_start_is_repaired_after_its_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = loading._load_trends

    def while_the_upkeep_finds_it(*given: Any) -> Trends:
        store: Store = given[2]
        store.condition.ill(sqlite3.DatabaseError("found by the upkeep"))
        time.sleep(1)  # as a large file takes; the upkeep is at it meanwhile
        return read(*given)

    monkeypatch.setattr(loading, "_load_trends", while_the_upkeep_finds_it)
    async with open_shop(directory) as shop:
        assert (await shop.recommend("ann")).items
        await until_health(shop, "SERVING")
    assert len(damaged(directory)) == 1


async def test_items_that_a_repair_could_not_save_are_stored_once_the_disk_takes_them(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_RESTORE_AGAIN", 0.1)
    restore, tries = CatalogueKeeper.restore, 0

    async def at_the_third_time(keeper: CatalogueKeeper) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreFailed("the disk is full")
        return await restore(keeper)

    monkeypatch.setattr(CatalogueKeeper, "restore", at_the_third_time)
    state = directory / "state.sqlite"
    async with open_shop(directory) as shop:
        await lose(shop, state, "items")
        await eventually(lambda: tries == 3, "trying again")
        await eventually(lambda: len(stored_keys(state)) == COUNT, "storing them")


async def lose(shop: Shop, state: Path, table: str) -> None:
    """Spoil a table's pages, and have it found."""
    with closing(sqlite3.connect(state)) as outside:
        outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite_in_place(state, pages_of(state, table))
    assert shop.application._state is not None
    shop.application._state.store.condition.ill(sqlite3.DatabaseError("found by a person"))
    await until_health(shop, "NOT_SERVING")


async def test_what_is_stored_again_never_takes_the_place_of_a_change_on_its_way(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = directory / "state.sqlite"
    async with open_shop(directory) as shop:
        assert shop.application._state is not None
        assert shop.application._assembled is not None
        with closing(sqlite3.connect(state)) as outside, outside:
            outside.execute("DELETE FROM items WHERE item_key IN (1, 2, 3)")
        opened = shop.application._state.store._opened
        assert opened is not None
        on_the_way: list[Any] = []
        submit = opened.writer.submit

        def noting(*given: Any) -> Any:
            on_the_way.append(given)
            return submit(*given)

        monkeypatch.setattr(opened.writer, "submit", noting)
        renamed = UpsertItemsRequest(items=[t.Item(item_id="1", title="of today")])
        with opened.writer.held():
            changes = [
                asyncio.ensure_future(shop.catalog.UpsertItems(renamed)),
                asyncio.ensure_future(shop.catalog.DeleteItems(DeleteItemsRequest(item_ids=["2"]))),
            ]
            await eventually(lambda: len(on_the_way) == 2, "both changes on their way")
            restoring = asyncio.create_task(shop.application._assembled.parts.keeper.restore())
            await asyncio.sleep(0.3)
        await asyncio.gather(*changes)
        assert await restoring == 1
    with closing(sqlite3.connect(state)) as connection:
        found = dict(connection.execute("SELECT item_id, title FROM items"))
    assert (found["1"], "2" in found, "3" in found) == ("of today", False, True)
