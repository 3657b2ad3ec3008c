"""What is rolled out at one gateway of a journal holds at all."""

import asyncio
import errno
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from valkey import Valkey as Client

from benchmarks.valkey import Valkey
from gateway.journal.positions import Entry
from gateway.journal.taking import Taker
from gateway.rollouts.record import Record, RecordFile, parse
from plait.v1 import rollout_service_pb2 as pb
from plait.v1.rollout_service_pb2_grpc import RolloutServiceStub
from services.runtime.config import Secret
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    forget,
    joined,
    membership,
    record,
    refusal,
    stream_of,
    until,
    view,
)
from tests.integration.gateway.test_canaries import open_world
from tests.integration.gateway.world import Shop, open_shop, publish_fusion


async def rolled_out(shop: Shop) -> pb.GetRolloutsResponse:
    stub: Any = RolloutServiceStub(shop.channel)
    answer: pb.GetRolloutsResponse = await stub.GetRollouts(pb.GetRolloutsRequest())
    return answer


async def load_fusion(shop: Shop, **which: Any) -> None:
    stub: Any = RolloutServiceStub(shop.channel)
    await stub.LoadFusion(pb.LoadFusionRequest(**which))


async def until_served(shop: Shop, version: int, seconds: float = 20.0) -> None:
    """Wait until a gateway serves a version of the fusion."""

    async def served() -> bool:
        return bool((await rolled_out(shop)).fusion.version == version)

    await until(served, seconds)


def another_fusion(*directories: Path) -> None:
    """Publish a second version in the repository of each gateway."""
    for directory in directories:
        publish_fusion(directory / "models")


async def test_a_version_of_the_fusion_is_served_by_every_gateway(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(directory, other)
    async with joined(other, first, valkey) as second:
        await load_fusion(second, version=1)
        await agree(first, second)
        await load_fusion(first, version=2)
        await until_served(second, 2)
        await load_fusion(second, previous=True)
        await agree(first, second)
        assert (await rolled_out(first)).fusion.version == 1


async def test_what_was_rolled_out_meanwhile_is_served_after_a_restart(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    another_fusion(directory, other)
    await load_fusion(first, version=2)
    await load_fusion(first, previous=True)
    forget(valkey)
    async with joined(other, first, valkey) as second:
        assert await rolled_out(first) == await rolled_out(second)


async def test_a_gateway_that_lacks_a_version_goes_on_with_its_own(
    first: Shop, directory: Path, other: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(other, first, valkey) as second:
        another_fusion(directory)
        await load_fusion(first, version=2)

        async def said() -> bool:
            return "rollouts of another gateway not adopted" in caplog.text

        await until(said)
        assert (await rolled_out(second)).fusion.version == 1
        await record(first, view(4))
        await both_hold(1, first, second)


async def test_what_the_others_could_not_be_told_they_are_told_once_valkey_is_back(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(directory, other)
    async with joined(other, first, valkey) as second:
        await load_fusion(first, version=1)
        await agree(first, second)
        valkey.stop()
        refused = await refusal(load_fusion(first, version=2))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert "changed at this gateway" in str(refused.details())
        assert (await rolled_out(first)).fusion.version == 2
        valkey.start()
        await until_served(second, 2)


async def test_a_canary_takes_the_same_shoppers_at_every_gateway(
    directory: Path, other: Path, valkey: Valkey
) -> None:
    async with open_world(directory, journal=Secret(valkey.url)) as world:
        await world.load(1)
        await world.load(2, beside=True)
        settings = {
            "sources": {}, "addresses": world.shop.config.sources, "item_encoders": (),
            "peers": f"127.0.0.1:{world.shop.server.port}", "contact_ms": 10_000,
        }  # fmt: skip
        async with alone(other, valkey, **settings) as second:
            canary = await world.canary(30)
            await agree(world.shop, second)
            assert list((await rolled_out(second)).canaries) == [canary]


async def agree(*shops: Shop) -> None:
    async def same() -> bool:
        one, another = [await rolled_out(shop) for shop in shops]
        return one == another

    await until(same)


async def test_what_is_rolled_out_outlives_a_valkey_that_forgets_everything(
    first: Shop, directory: Path, valkey: Valkey
) -> None:
    another_fusion(directory)
    await load_fusion(first, version=1)
    await load_fusion(first, version=2)
    with Client.from_url(valkey.url) as client:
        (key,) = client.keys("plait:journal:*:rollouts")
        kept = client.get(key)
        client.flushall()
    valkey.stop()
    valkey.start()

    async def there() -> bool:
        with Client.from_url(valkey.url) as client:
            return bool(client.get(key) == kept)

    await until(there)


async def test_what_was_rolled_out_as_valkey_lost_its_last_entries_holds_at_all(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(directory, other)
    await load_fusion(first, version=1)
    with Client.from_url(valkey.url) as client:
        before = client.xlen(stream_of(client))
        held = client.get(f"{stream_of(client)}:rollouts")
    await load_fusion(first, version=2)
    with Client.from_url(valkey.url) as client, client.pipeline(transaction=True) as pipe:
        stream = stream_of(client)
        entries: Any = client.xrange(stream)
        pipe.delete(stream)
        for number, fields in entries[:before]:
            pipe.xadd(stream, fields, id=number)
        pipe.set(f"{stream}:rollouts", held or b"")
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.execute()

    async def told() -> bool:
        with Client.from_url(valkey.url) as client:
            kept: Any = client.get(f"{stream_of(client)}:rollouts")
            return bool(parse(kept.decode()).fusion == 2)

    await until(told)
    async with joined(other, first, valkey) as second:
        assert await rolled_out(first) == await rolled_out(second)
        assert (await rolled_out(second)).fusion.version == 2


async def test_what_was_rolled_out_beside_an_earlier_state_file_is_not_that_of_all(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(other)
    RecordFile(other / "state.sqlite").write(Record(fusion=1))
    async with joined(other, first, valkey) as second:
        assert (await rolled_out(second)).fusion.version == 2  # the newest
    with Client.from_url(valkey.url) as client:
        assert client.get(f"{stream_of(client)}:rollouts") is None


async def test_what_was_rolled_out_before_there_was_a_journal_is_served_by_all(
    directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(directory, other)
    async with open_shop(directory) as only:
        await load_fusion(only, version=1)
    async with alone(directory, valkey) as first, joined(other, first, valkey) as second:
        assert (await rolled_out(second)).fusion.version == 1
        assert await rolled_out(first) == await rolled_out(second)


async def test_a_gateway_that_is_behind_does_not_undo_what_another_changes_meanwhile(
    first: Shop, directory: Path, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_fusion(directory, other)
    monkeypatch.setattr("gateway.journal.writes._PATIENCE", 0.5)
    take, goes_on = Taker.take, asyncio.Event()
    follower = membership(first)._follower
    assert follower is not None
    slow = follower._taker

    async def late(self: Taker, entries: Sequence[Entry]) -> None:
        if self is slow and entries:
            await goes_on.wait()
        await take(self, entries)

    async with joined(other, first, valkey) as second:
        monkeypatch.setattr(Taker, "take", late)
        await load_fusion(first, version=2)
        await load_fusion(second, version=1)
        await asyncio.sleep(3.0)
        goes_on.set()
        await agree(first, second)
        assert (await rolled_out(second)).fusion.version == 1


async def test_what_is_in_force_is_told_also_if_who_asked_for_it_has_gone(
    first: Shop, directory: Path, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_fusion(directory, other)
    write, began, goes_on = RecordFile.write, threading.Event(), threading.Event()

    def slow(self: RecordFile, record: Record) -> None:
        began.set()
        goes_on.wait(10)
        write(self, record)

    async with joined(other, first, valkey) as second:
        await load_fusion(first, version=1)
        await agree(first, second)
        monkeypatch.setattr(RecordFile, "write", slow)
        asking = asyncio.create_task(load_fusion(first, version=2))
        await asyncio.to_thread(began.wait, 10)
        asking.cancel()
        await asyncio.sleep(0.2)
        goes_on.set()
        await until_served(second, 2, 5.0)


async def test_what_a_full_disk_does_not_keep_is_adopted_once_it_does(
    first: Shop, directory: Path, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_fusion(directory, other)
    write, full = RecordFile.write, [True, True]

    def refuses(self: RecordFile, record: Record) -> None:
        if self._path.parent == other and full:
            full.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, record)

    async with joined(other, first, valkey) as second:
        await load_fusion(first, version=1)
        await agree(first, second)
        monkeypatch.setattr(RecordFile, "write", refuses)
        await load_fusion(first, version=2)
        await agree(first, second)
        assert not full
