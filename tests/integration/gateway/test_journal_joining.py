"""Which state files join a journal, and how a gateway gets the state of another."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from valkey import Valkey as Client

from benchmarks.systems.ports import free_ports
from benchmarks.valkey import Valkey, running_valkey
from gateway.errors import StoreFailed
from gateway.journal import copying
from gateway.journal.place import Place
from plait.v1 import state_service_pb2 as state
from plait.v1.state_service_pb2_grpc import (
    StateServiceServicer,
    add_StateServiceServicer_to_server,
)
from services.runtime.errors import StartError
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    copy,
    forget,
    joined,
    names,
    record,
    refusal,
    stored,
    view,
    whole,
)
from tests.integration.gateway.world import Shop, ids, open_shop
from tests.support.disks import Disk
from tests.unit.gateway.damage import spoil


async def test_a_new_gateway_copies_the_state_and_answers_as_the_first(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    await record(first, view(4, "e1", user="ann"))
    async with joined(other, first, valkey) as second:
        mine, theirs = await first.recommend("ann"), await second.recommend("ann")
        assert stored(second, "ann") == stored(first, "ann")
    assert len(ids(mine)) > 5
    assert ids(mine) == ids(theirs)
    assert names(other) <= {"models", "state.sqlite", "state.sqlite.lock", "exposures.jsonl"}


async def test_a_full_file_does_not_join_another_gateways_journal(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    with closing(sqlite3.connect(first.config.state)) as connection:
        connection.execute("VACUUM INTO ?", (str(other / "state.sqlite"),))
    with closing(sqlite3.connect(other / "state.sqlite")) as connection, connection:
        connection.execute("DELETE FROM progress")
    with pytest.raises(StartError, match="holds items or events"):
        async with joined(other, first, valkey):
            pass
    with closing(sqlite3.connect(other / "state.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (15,)


async def test_who_went_on_alone_does_not_come_back_with_what_no_other_knows(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    async with open_shop(other) as second:
        await record(second, view(4))
    with pytest.raises(StartError, match="holds items or events"):
        async with joined(other, first, valkey):
            pass


async def test_a_file_of_another_journal_is_refused(
    first: Shop, other: Path, valkey: Valkey, tmp_path: Path
) -> None:
    async with joined(other, first, valkey):
        pass
    with running_valkey(tmp_path / "another") as another:
        Client.from_url(another.url).set("plait:journal", "7")
        with pytest.raises(StartError, match="belongs to another journal"):
            async with alone(other, another):
                pass


async def test_an_empty_file_needs_to_know_another_gateway(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    with pytest.raises(StartError, match="peers: required"):
        async with alone(other, valkey):
            pass


async def test_a_new_shop_begins_with_an_empty_file(other: Path, valkey: Valkey) -> None:
    async with alone(other, valkey) as only:
        assert (await record(only, view(4, "e1"))).recorded_count == 1
    async with alone(other, valkey) as only:
        assert (await record(only, view(4, "e1"))).duplicate_count == 1


async def test_a_gateway_that_knows_of_others_waits_for_one_to_begin(
    directory: Path, other: Path, valkey: Valkey
) -> None:
    (port,) = free_ports(1)

    async def later() -> list[tuple[Any, ...]]:
        async with alone(other, valkey, peers=f"127.0.0.1:{port}") as second:
            return stored(second, "ann")

    waiting = asyncio.create_task(later())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    async with alone(directory, valkey, port=port) as first:
        assert await waiting == stored(first, "ann")


async def test_a_gateway_killed_as_it_began_the_journal_begins_it_again(
    directory: Path, valkey: Valkey
) -> None:
    async with alone(directory, valkey):
        pass
    with Client.from_url(valkey.url) as client:
        identity = client.get("plait:journal")
        client.delete("plait:journal")
    async with alone(directory, valkey) as again:
        assert (await record(again, view(4))).recorded_count == 1
    with Client.from_url(valkey.url) as client:
        assert client.get("plait:journal") == identity


async def test_a_state_is_given_to_gateways_of_the_journal_alone(first: Shop) -> None:
    for token in ("", "made up"):
        refused = await refusal(copy(first, token))
        assert refused.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_state_that_its_disk_has_no_room_to_copy_is_waited_for(
    disk: Disk, other: Path, valkey: Valkey
) -> None:
    async with alone(disk.root / "shop", valkey) as first:
        disk.fill()
        waiting = asyncio.create_task(whole(joined(other, first, valkey)))
        await asyncio.sleep(0.7)
        assert not waiting.done()
        assert not any("snapshot" in name for name in names(disk.root / "shop"))
        disk.free()
        assert await waiting == stored(first, "ann")


async def test_a_gateway_without_a_journal_gives_its_state_to_nobody(shop: Shop) -> None:
    assert (await refusal(copy(shop, "x"))).code() is grpc.StatusCode.FAILED_PRECONDITION


class Silent(StateServiceServicer):
    """A gateway that vanishes in the middle of a copy."""

    async def CopyState(  # noqa: N802 -- gRPC names it
        self, request: state.CopyStateRequest, context: Any
    ) -> AsyncIterator[state.CopyStateResponse]:
        yield state.CopyStateResponse(content=b"x")
        await asyncio.sleep(3_600)


async def test_a_gateway_that_falls_silent_as_it_gives_its_state_is_left_for_another(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.copying._SILENCE", 0.5)
    server = grpc.aio.server()
    add_StateServiceServicer_to_server(Silent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    peers = f"127.0.0.1:{port}|127.0.0.1:{first.server.port}"
    try:
        copied = await asyncio.wait_for(whole(alone(other, valkey, peers=peers)), 10)
    finally:
        await server.stop(None)
    assert copied == stored(first, "ann")


async def test_a_copy_that_takes_long_to_make_is_waited_for(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = copying._snapshot

    def slow(path: Path, moved: Callable[[], None]) -> Path:
        for _ in range(20):
            moved()
            time.sleep(0.05)
        return snapshot(path, moved)

    monkeypatch.setattr(copying, "_snapshot", slow)
    monkeypatch.setattr(copying, "_SIGN_SECONDS", 0.05)
    monkeypatch.setattr(copying, "_SILENCE", 0.5)
    waiting = whole(joined(other, first, valkey))
    assert await asyncio.wait_for(waiting, 4) == stored(first, "ann")


async def test_what_a_kill_left_of_a_copy_goes_at_the_next_start(
    directory: Path, valkey: Valkey
) -> None:
    for kind in ("copy", "snapshot"):
        (directory / f".state.sqlite.{kind}").write_bytes(b"half of it")
    async with alone(directory, valkey):
        assert not any(name.endswith(("copy", "snapshot")) for name in names(directory))


async def test_who_was_away_for_too_long_copies_a_state(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    forget(valkey)
    async with joined(other, first, valkey) as second:
        assert stored(second) == stored(first)
        await record(second, view(8, "e2"))
        await both_hold(2, first, second)


async def test_with_nobody_to_copy_from_what_is_known_is_served_and_copied_later(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    forget(valkey)
    monkeypatch.setattr("gateway.journal.joining._PATIENCE", 0.2)
    async with alone(other, valkey) as second:
        assert len(ids(await second.recommend("ann"))) > 5
        assert stored(second) == []
        await record(second, view(8, "e2"))
    async with joined(other, first, valkey) as second:
        assert [row[0] for row in stored(second)] == ["e1", "e2"]


async def test_a_damaged_file_gives_way_to_a_copy_and_is_kept(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(second, view(4, "e1"))
    spoil(other / "state.sqlite", [1])
    async with joined(other, first, valkey) as second:
        assert stored(second) == stored(first)
        assert stored(second, "ann") == stored(first, "ann")
        assert (await record(second, view(8, "e2"))).recorded_count == 1
    assert any("damaged" in name for name in names(other))


async def test_a_state_with_a_gap_replaces_none_that_holds_something(
    directory: Path, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each misses what the other has: none is given up for the other."""
    monkeypatch.setattr("gateway.journal.joining._PATIENCE", 0.5)
    async with alone(directory, valkey) as first:
        async with joined(other, first, valkey):
            pass
        await record(first, view(4, "e1"))
    forget(valkey)
    async with alone(other, valkey) as second:
        await record(second, view(4, "e2"))
        forget(valkey)
        async with joined(directory, second, valkey) as first:
            assert [row[0] for row in stored(first)] == ["e1"]


async def test_a_full_file_that_could_not_be_read_for_a_moment_does_not_join_either(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(first.config.state)) as connection:
        connection.execute("VACUUM INTO ?", (str(other / "state.sqlite"),))
    with closing(sqlite3.connect(other / "state.sqlite")) as connection, connection:
        connection.execute("DELETE FROM progress")

    def fails(path: Path) -> Place:
        raise StoreFailed(f"{path}: cannot be read just now")

    monkeypatch.setattr("gateway.journal.joining.read_place", fails)
    with pytest.raises(StartError, match="holds items or events"):
        async with joined(other, first, valkey):
            pass
