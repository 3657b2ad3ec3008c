"""What becomes of a journal as Valkey fails, and of what it holds."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from valkey import Valkey as Client
from valkey.asyncio.connection import Connection

from artifacts.keys import item_key
from benchmarks.valkey import Valkey
from gateway.events import EventTaker
from gateway.journal.entries import Events, encode
from gateway.journal.positions import Entry
from gateway.journal.stream import Journal
from gateway.store import Store
from gateway.types import Event, EventType, Item
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    forget,
    healthy,
    joined,
    membership,
    record,
    refusal,
    stored,
    stream_of,
    until,
    view,
    whole,
)
from tests.integration.gateway.world import Shop, ids


async def test_without_valkey_shoppers_are_ranked_and_writes_refused_until_it_is_back(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(4, "e1"))
    assert await healthy(first)
    valkey.stop()
    refused = await refusal(record(first, view(8, "e2")))
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "send them again" in str(refused.details())
    assert "grpc-retry-pushback-ms" in {key for key, _ in refused.trailing_metadata() or ()}
    assert len(ids(await first.recommend("new"))) > 5
    unwritten = await refusal(
        first.catalog.UpsertItems(UpsertItemsRequest(items=[t.Item(item_id="x", title="x")]))
    )
    assert unwritten.code() is grpc.StatusCode.UNAVAILABLE

    async def away() -> bool:
        return not await healthy(first)

    await until(away)
    request = UpsertItemsRequest(items=[t.Item(item_id="x", title="x")])
    for again in (record(first, view(8, "e2")), first.catalog.UpsertItems(request)):
        told = str((await refusal(again)).details())
        assert told.count("the journal is away") == 1, told
    assert await healthy(first, "")  # rankings need no writes
    valkey.start()

    async def back() -> bool:
        return await healthy(first)

    await until(back)
    assert (await record(first, view(8, "e2"))).recorded_count == 1
    assert [row[0] for row in stored(first)] == ["e1", "e2"]


async def test_a_start_without_valkey_serves_what_is_known_and_follows_once_it_is_there(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    valkey.stop()
    async with alone(other, valkey) as second:
        assert len(ids(await second.recommend("ann"))) > 5
        assert (await refusal(record(second, view(8)))).code() is grpc.StatusCode.UNAVAILABLE
        valkey.start()
        await both_hold(1, second)


async def test_an_entry_that_nobody_understands_is_passed_over(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        with Client.from_url(valkey.url) as client:
            stream = stream_of(client)
            client.xadd(stream, {"by": b"x", "entry": b"\xff\xff"})
            client.xadd(stream, {"nothing": b"of ours"})
        await record(first, view(4, "e1"))
        await both_hold(1, first, second)


async def test_a_full_journal_lets_go_of_its_oldest_and_takes_the_new(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, *(view(4, f"old {n}") for n in range(500)))
    with Client.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
        stream = stream_of(client)
        for _ in range(100):
            await record(first, *(view(4, f"{uuid4()}") for n in range(100)))
        assert client.xinfo_stream(stream)["entries-added"] == 101
        assert client.xlen(stream) < 101
    assert len(stored(first)) == 10_500


async def test_entries_stay_for_their_time_and_no_longer(
    directory: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.sending._TRIM_SECONDS", 0.0)
    async with alone(directory, valkey, journal_minutes=1) as shop:
        with Client.from_url(valkey.url) as client:
            stream = stream_of(client)
            for n in range(1, 301):  # long ago; whole pieces of a hundred go
                client.xadd(stream, {"by": b"x", "entry": b"x"}, id=f"{n}-0")
        # The first tells what time it is.
        await record(shop, view(4))
        await record(shop, view(8))
        with Client.from_url(valkey.url) as client:
            assert client.xlen(stream) <= 100


async def test_a_journal_that_lost_its_last_entries_is_gone_on_with(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(4, "e1"))
    valkey.stop()
    valkey.wipe()
    valkey.start()

    async def recorded() -> bool:
        try:
            await record(first, view(8, "e2"))
        except grpc.aio.AioRpcError:
            return False
        return True

    await until(recorded)
    assert [row[0] for row in stored(first)] == ["e1", "e2"]


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_a_server_whose_clock_is_behind_takes_over_and_no_write_is_lost(
    first: Shop, other: Path, valkey: Valkey, kept: int
) -> None:
    """What it takes is numbered lower than what was read of the one before it."""
    async with joined(other, first, valkey) as second:
        for event_id in ("e1", "e2", "e3"):
            await record(first, view(4, event_id))
        await both_hold(3, first, second)
        take_over(valkey, kept, NEXT)
        await both_hold(4, first, second)
        await record(second, view(4, "e5"))
        await both_hold(5, first, second)
        assert [row[0] for row in stored(first)] == ["e1", "e2", "e3", "e4", "e5"]


async def test_a_server_that_takes_over_while_nobody_reads_is_noticed(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client connects anew without a word."""
    read, waiting, go = Journal.read, set[Journal](), asyncio.Event()

    async def held(journal: Journal, after: int, *, wait: bool) -> tuple[list[Entry], bool]:
        waiting.add(journal)
        await go.wait()
        return await read(journal, after, wait=wait)

    async def both_wait() -> bool:
        return len(waiting) == 2

    async with joined(other, first, valkey) as second:
        for event_id in ("e1", "e2", "e3"):
            await record(first, view(4, event_id))
        await both_hold(3, first, second)
        monkeypatch.setattr(Journal, "read", held)
        await until(both_wait)
        take_over(valkey, 1, NEXT)
        await asyncio.sleep(0.1)  # the connections are seen to be closed
        go.set()
        await both_hold(4, first, second)


NEXT = encode(Events((Event("new", item_key("4"), EventType.VIEW, 1_700_000_000_000, "e4"),)))


def take_over(valkey: Valkey, kept: int, raw: bytes) -> None:
    """Have a server that has all but some of the entries take over, and one more written."""
    with Client.from_url(valkey.url) as client:
        stream = stream_of(client)
        entries: Any = client.xrange(stream)
        following = int(entries[max(kept - 1, 0)][0].split(b"-")[0])
        with client.pipeline(transaction=True) as pipe:
            pipe.delete(stream)
            for number, fields in entries[:kept]:
                pipe.xadd(stream, fields, id=number)
            pipe.xadd(stream, {"by": b"another", "entry": raw}, id=f"{following}-1")
            pipe.client_kill_filter(_type="normal", skipme=True)
            pipe.execute()


async def test_who_is_overtaken_by_what_lets_the_journal_go_knows_that_it_misses_some(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joined(other, first, valkey):
        pass
    for _ in range(600):
        await record(first, view(4))
    reads, read = 0, Journal.read

    async def overtaken(self: Journal, after: int, *, wait: bool) -> tuple[list[Entry], bool]:
        nonlocal reads
        reads += 1
        if reads == 2:
            forget(valkey)
        return await read(self, after, wait=wait)

    monkeypatch.setattr(Journal, "read", overtaken)
    async with alone(other, valkey) as second:
        assert len(stored(second)) == 16
        await record(second, view(8))
    monkeypatch.undo()
    async with joined(other, first, valkey) as second:
        assert stored(second) == stored(first)


async def test_a_right_that_is_missing_is_not_taken_for_a_journal_that_is_empty(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(4))
    with Client.from_url(valkey.url) as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-xinfo"])
    valkey_breaks(valkey)
    await asyncio.sleep(1.5)
    with Client.from_url(valkey.url) as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["+xinfo"])
    valkey_breaks(valkey)
    await asyncio.sleep(1.5)
    assert len(stored(first)) == 1


def valkey_breaks(valkey: Valkey) -> None:
    """Have it cut all connections."""
    with Client.from_url(valkey.url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_a_key_that_is_not_plaits_is_named_and_waited_for(
    directory: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    with Client.from_url(valkey.url) as client:
        client.set("plait:journal", "somebody's")
        waiting = asyncio.create_task(whole(alone(directory, valkey)))

        async def said() -> bool:
            reasons = [getattr(line, "reason", "") for line in caplog.records]
            return any("the key plait:journal holds something" in reason for reason in reasons)

        await until(said)
        assert not waiting.done()
        client.delete("plait:journal")
    assert len(await waiting) == 3


async def test_a_write_that_memory_cannot_take_in_is_in_the_file_once(
    first: Shop, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(EventTaker, "_count", fails)
    refused = await refusal(record(first, view(4)))
    assert "not yet visible" in str(refused.details())
    monkeypatch.undo()
    await record(first, view(8))
    assert [row[1] for row in stored(first)] == [item_key("4"), item_key("8")]


async def test_an_entry_that_a_defect_keeps_out_holds_up_no_other(
    first: Shop, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upsert = Store.upsert_items

    async def fails(self: Store, items: Sequence[Item], *rest: Any) -> None:
        if items[0].item_id == "bad":
            raise RuntimeError("a defect")
        await upsert(self, items, *rest)

    monkeypatch.setattr(Store, "upsert_items", fails)
    bad = UpsertItemsRequest(items=[t.Item(item_id="bad", title="x")])
    refused = await refusal(first.catalog.UpsertItems(bad))
    assert "the write was refused (RuntimeError)" in str(refused.details())
    await record(first, view(4))
    assert len(stored(first)) == 1
    assert [line.message for line in caplog.records if line.exc_info] == [
        "an entry cannot be taken in"
    ]


async def test_what_cannot_be_followed_is_said_once(
    first: Shop, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(self: Journal, after: int, *, wait: bool) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Journal, "read", fails)
    await asyncio.sleep(3.0)
    assert len([line for line in caplog.records if line.exc_info]) == 1
    assert not await healthy(first)
    monkeypatch.undo()

    async def back() -> bool:
        return await healthy(first)

    await until(back)


async def test_a_gateway_ends_also_as_it_has_just_asked_valkey(
    first: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, ending = Connection._send_packed_command, asyncio.Event()

    async def sent(self: Connection, command: Any) -> None:
        await send(self, command)
        if self.client_name == "plait-gateway-reader":
            ending.set()

    monkeypatch.setattr(Connection, "_send_packed_command", sent)
    await ending.wait()
    async with asyncio.timeout(5):
        await membership(first).stop()
