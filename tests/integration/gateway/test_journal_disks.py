"""What becomes of a gateway with a journal as its disk or its state file fails."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.valkey import Valkey
from gateway.errors import StoreFailed
from gateway.journal.place import Place, place_of
from gateway.store import Store
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    healthy,
    items_of,
    joined,
    membership,
    names,
    record,
    stored,
    until,
    view,
)
from tests.integration.gateway.test_store_trouble import overwrite_in_place
from tests.integration.gateway.world import Shop, ids
from tests.support.disks import Disk
from tests.unit.gateway.damage import pages_of, spoil


async def test_a_full_disk_holds_up_one_gateway_and_not_the_other(
    disk: Disk, other: Path, valkey: Valkey
) -> None:
    async with alone(disk.root / "shop", valkey) as first, joined(other, first, valkey) as second:
        disk.fill()
        taken = 0
        with pytest.raises(grpc.aio.AioRpcError, match="no event was recorded"):
            for number in range(5_000):
                await record(first, view(4, f"{number:04}"))
                taken += 1
        for number in range(5):
            assert (await record(second, view(8, f"n{number}"))).recorded_count == 1
        assert len(ids(await first.recommend("ann"))) > 5
        disk.free()

        async def even() -> bool:
            return stored(first) == stored(second)

        await until(even)
        found = [row[0] for row in stored(second)]
        assert len(found) == len(set(found)) in (taken + 5, taken + 6)  # its last may be in

        async def well() -> bool:
            return await healthy(first, "store")

        await until(well)
        assert (await record(first, view(8, "last"))).recorded_count == 1


async def test_a_gateway_starts_on_a_full_disk_and_follows_once_there_is_room(
    disk: Disk, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.follower._START_SECONDS", 0.5)
    async with alone(disk.root / "shop", valkey) as first, joined(other, first, valkey):

        async def prepared() -> bool:
            return ".state.sqlite.reserve" in names(disk.root / "shop")

        await until(prepared)
    async with alone(other, valkey) as second:
        await record(second, view(4, "e1"))
        disk.fill()
        async with alone(disk.root / "shop", valkey) as first:
            assert len(ids(await first.recommend("ann"))) > 5
            disk.free()
            await both_hold(1, first, second)


async def test_a_repaired_file_goes_on_and_is_copied_at_the_next_start(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(second, *(view(1 + n % 60, f"e{n}", user=f"u{n}") for n in range(500)))
    spoil(other / "state.sqlite", pages_of(other / "state.sqlite", "events")[1:3])
    await record(first, view(4, "last"))
    async with alone(other, valkey) as second:
        await both_hold(1, first, second)
        assert (await record(second, view(8, "later"))).recorded_count == 1
    async with joined(other, first, valkey) as second:
        assert everything(second) == everything(first)


def everything(shop: Shop) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(shop.config.state)) as connection:
        query = "SELECT event_id, user_id, item_key, type, market FROM events ORDER BY seq"
        return connection.execute(query).fetchall()


async def test_a_file_that_is_damaged_while_it_serves_goes_on_where_it_was(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        crowd = [view(1 + n % 60, f"e{n}", user=f"u{n}") for n in range(400)]
        await record(first, *crowd)
        state = directory / "state.sqlite"
        with closing(sqlite3.connect(state)) as outside:
            outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite_in_place(state, pages_of(state, "events_by_id")[:1])
        # Taken in once the file is repaired, by whoever got it first.
        await record(second, view(4, "e500"))
        await both_hold(1, first, second)

        async def well() -> bool:
            return await healthy(first, "store")

        await until(well)
        again = await record(first, *crowd, view(4, "e500"))
        assert (again.recorded_count, again.duplicate_count) == (0, 401)


async def test_what_a_nearly_full_disk_has_no_room_for_is_taken_in_once_it_has(
    disk: Disk, other: Path, valkey: Valkey
) -> None:
    """Small writes go through, so that the disk seems well now and then: nothing is skipped."""
    async with alone(disk.root / "shop", valkey) as first, joined(other, first, valkey) as second:
        disk.fill()
        ballast = disk.root / "ballast"
        os.truncate(ballast, ballast.stat().st_size - (200 << 10))
        texts = [t.Item(item_id=f"large {n}", title="x", text="y" * 8_000) for n in range(400)]
        await second.catalog.UpsertItems(UpsertItemsRequest(items=texts))
        await asyncio.sleep(8.0)
        disk.free()

        async def there() -> bool:
            return "large 399" in items_of(first)

        await until(there)


async def test_that_a_file_may_lack_something_is_kept_once_the_disk_takes_it(
    first: Shop, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    put_place = Store.put_place

    async def fails_first(self: Store, place: Place) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreFailed("a disk that takes nothing")
        await put_place(self, place)

    monkeypatch.setattr(Store, "put_place", fails_first)
    membership(first).restate()
    await record(first, view(4))

    async def kept() -> bool:
        return await asyncio.to_thread(has_gap, first)

    await until(kept)
    assert tries == 2


def has_gap(shop: Shop) -> bool:
    with closing(sqlite3.connect(shop.config.state)) as connection:
        return place_of(connection).gap
