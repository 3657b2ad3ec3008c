"""A full disk: rankings go on, a start is possible, and events wait for room."""

import grpc
import pytest

from tests.integration.gateway.test_store_trouble import (
    bought,
    health,
    metric,
    record,
    stored_ids,
    until_health,
)
from tests.integration.gateway.world import open_shop
from tests.support.disks import Disk
from tests.support.servers import eventually


async def test_on_a_full_disk_rankings_go_on_and_events_are_refused_until_there_is_room(
    disk: Disk,
) -> None:
    refused = metric("plait_events_refused_total", reason="full")
    lost = metric("plait_exposures_lost_total")
    async with open_shop(disk.root / "shop") as shop:
        assert await health(shop, "store") == "SERVING"
        acknowledged = []
        disk.fill()
        failure = None
        for number in range(5_000):
            try:
                await record(shop, bought("carl", "6", f"{number:04}"))
                acknowledged.append(f"{number:04}")
            except grpc.aio.AioRpcError as error:
                failure = error
                break
        assert failure is not None
        assert failure.code() == grpc.StatusCode.UNAVAILABLE
        assert "the disk is full" in str(failure.details())
        pushback = {str(k): str(v) for k, v in failure.trailing_metadata() or ()}
        assert pushback["grpc-retry-pushback-ms"] == "1000"

        await until_health(shop, "NOT_SERVING")
        assert await health(shop, "") == "SERVING"
        assert metric("plait_store_state", reason="full") == 1
        with pytest.raises(grpc.aio.AioRpcError, match="the disk is full"):
            await record(shop, bought("carl", "6", "at once"))
        assert metric("plait_events_refused_total", reason="full") > refused
        assert len((await shop.recommend("ann")).items) == 20
        await eventually(lambda: metric("plait_exposures_lost_total") > lost, "a lost exposure")

        disk.free()
        await until_health(shop, "SERVING")  # by itself: nobody wrote meanwhile
        again = await record(shop, *(bought("carl", "6", f"{n:04}") for n in range(number + 1)))
        assert again.duplicate_count == len(acknowledged)
        await shop.recommend("ann")
    assert stored_ids(disk.root / "shop" / "state.sqlite") == [f"{n:04}" for n in range(number + 1)]
    assert (disk.root / "shop" / "exposures.jsonl").read_text().splitlines()[-1].endswith("}")


async def test_a_gateway_starts_on_a_full_disk_and_takes_events_once_there_is_room(
    disk: Disk,
) -> None:
    shop = disk.root / "shop"
    async with open_shop(shop):
        await eventually((shop / ".state.sqlite.reserve").exists, "room put aside")
    assert not (shop / "state.sqlite-wal").exists(), "it ended in good order"
    disk.fill()
    async with open_shop(shop) as again:
        assert len((await again.recommend("ann")).items) == 20
        taken = []
        with pytest.raises(grpc.aio.AioRpcError, match="the disk is full"):
            for number in range(5_000):  # what was put aside is soon used up
                await record(again, bought("carl", "6", f"{number:04}"))
                taken.append(f"{number:04}")
        await until_health(again, "NOT_SERVING")
        disk.free()
        await until_health(again, "SERVING")
        await record(again, bought("carl", "6", "taken"))
        await eventually((shop / ".state.sqlite.reserve").exists, "room put aside again")
    assert stored_ids(shop / "state.sqlite") == [*taken, "taken"]
