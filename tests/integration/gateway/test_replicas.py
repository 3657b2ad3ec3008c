"""Several servers behind one source: shared, found when they come, asked what they serve."""

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.connection import Connection
from gateway.replicas.errors import VersionNotServed
from gateway.rounds import Rounds
from gateway.sources import Source
from gateway.traffic import Traffic
from gateway.types import Question
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.group import (
    ALONE,
    PATIENCE,
    QUICK,
    Group,
    question,
    replicas,
    state,
    until,
)
from tests.integration.gateway.world import vectors


async def test_replicas_share_the_calls() -> None:
    async with replicas(3) as group:
        for server in group.servers:
            server.delay = 0.01
        await asyncio.gather(*(group.ask() for _ in range(90)))
        assert all(n > 15 for n in group.asked())
        assert state("closed") == 3


async def test_each_replica_has_a_call_in_flight_and_the_rest_wait_to_share_the_next() -> None:
    async with replicas(2, ALONE) as group:
        source = Source(group.connection, Rounds(Traffic()))
        for server in group.servers:
            server.silent = True
        likes = Question(np.array([6], np.int64), np.ones(1, np.float32), k=5)
        for _ in range(4):
            source.ask(likes, time.perf_counter() + PATIENCE)
            await asyncio.sleep(0.01)
        await until(lambda: group.asked() == [1, 1])
        for server in group.servers:
            server.silent = False
        await until(lambda: sum(group.asked()) == 3)
        await asyncio.sleep(0.05)
        assert sum(group.asked()) == 3


async def test_rows_under_way_count_not_calls() -> None:
    async with replicas(2, ALONE) as group:
        for server in group.servers:
            server.silent = True
        many = asyncio.create_task(group.connection.infer(question(rows=32), PATIENCE))
        await until(lambda: sum(group.asked()))
        few = [asyncio.create_task(group.ask()) for _ in range(10)]
        await until(lambda: sum(group.asked()) == 11)
        assert sorted(group.asked()) == [1, 10]
        for server in group.servers:
            server.silent = False
        await asyncio.gather(many, *few)


async def test_a_draining_replica_gets_no_new_calls_and_finishes_those_it_has() -> None:
    async with replicas(2, ALONE) as group:
        leaving, staying = group.servers
        leaving.silent = staying.silent = True
        calls = [asyncio.create_task(group.ask()) for _ in range(10)]
        await until(lambda: sum(group.asked()) == 10)
        before = len(leaving.asked)
        assert before
        leaving.health.set("cf", serving=False)
        await until(lambda: state("draining") == 1)
        leaving.silent = staying.silent = False
        assert await asyncio.gather(*calls) == ["1"] * 10
        assert await group.asks(20) == {"1": 20}
        assert len(leaving.asked) == before
        leaving.health.set("cf", serving=True)
        await until(lambda: group.connection.width == 2)


async def test_a_replica_that_drains_is_still_better_than_none() -> None:
    async with replicas(1) as group:
        group.servers[0].health.set("cf", serving=False)
        await until(lambda: state("draining") == 1)
        assert await group.ask() == "1"


async def test_a_server_without_a_health_service_is_used() -> None:
    server = FakeSource("cf", vectors(), knows_health=False)
    await server.start()
    group = Group([server], Connection("cf", f"127.0.0.1:{server.port}", QUICK))
    group.connection.start()
    try:
        await group.connection.contacted()
        assert await group.asks(5) == {"1": 5}
    finally:
        await group.connection.stop()
        await server.stop()


async def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    server = FakeSource("cf", vectors())
    await server.start(unix=tmp_path / "cf.sock")
    group = Group([server], Connection("cf", f"unix:{tmp_path}/cf.sock", QUICK))
    group.connection.start()
    try:
        await group.connection.contacted()
        assert await group.ask() == "1"
    finally:
        await group.connection.stop()
        await server.stop()


async def test_replicas_that_a_name_gains_are_used_and_those_it_loses_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = {"127.0.0.1"}

    # The one part that is not real: no test can change the answers of the machine's DNS.
    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        assert host == "plait-cf"
        if not listed:
            raise OSError("no answer")
        return [(None, None, None, "", (ip, port)) for ip in listed]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    servers = [FakeSource("cf", vectors(), version=v) for v in ("1", "2")]
    await servers[0].start()
    await servers[1].start(servers[0].port, "127.0.0.2")
    group = Group(servers, Connection("cf", f"plait-cf:{servers[0].port}", QUICK))
    group.connection.start()
    try:
        await group.connection.contacted()
        assert await group.asks(5) == {"1": 5}
        listed.add("127.0.0.2")
        await until(lambda: group.connection.width == 2)
        servers[0].silent = True
        answers = [asyncio.create_task(group.ask()) for _ in range(10)]
        await until(lambda: servers[0].asked and servers[1].asked)
        listed.remove("127.0.0.1")
        await until(lambda: group.connection.width == 1)
        assert await group.asks(5) == {"2": 5}
        listed.clear()
        await asyncio.sleep(5 * QUICK.look_up)
        assert await group.asks(5) == {"2": 5}, "a name server that is away takes nothing with it"
        servers[0].silent = False
        assert Counter(await asyncio.gather(*answers)).keys() <= {"1", "2"}
    finally:
        await group.connection.stop()
        for server in servers:
            await server.stop()


async def test_a_name_that_is_not_answered_for_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        if host == "far-away":
            await asyncio.sleep(PATIENCE)
        return [(None, None, None, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    server = FakeSource("cf", vectors())
    await server.start()
    address = f"far-away:{server.port}|plait-cf:{server.port}"
    group = Group([server], Connection("cf", address, QUICK))
    group.connection.start()
    try:
        async with asyncio.timeout(PATIENCE / 2):
            await group.connection.contacted()
        assert await group.asks(5) == {"1": 5}
    finally:
        await group.connection.stop()
        await server.stop()


async def test_a_version_whose_number_python_will_not_read_is_a_version_like_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with replicas(1) as group:
        group.servers[0].version = "9" * 5_000
        group.connection.look_again()
        await until(lambda: (c := group.connection.contract) is not None and len(c.version) > 1)
        assert await group.ask() == group.servers[0].version
        assert state("closed") == 1
    assert not [r for r in caplog.records if r.name.startswith("gateway")]


async def test_a_request_for_a_version_goes_to_a_replica_that_serves_it() -> None:
    async with replicas(2) as group:
        group.servers[1].version = "2"
        await group.asks(10)
        await until(lambda: group.connection.contract_for("2"))
        for version in ("1", "2"):
            answers = {await group.ask(model_version=version) for _ in range(10)}
            assert answers == {version}
        with pytest.raises(VersionNotServed, match="version 7"):
            await group.ask(model_version="7")


async def test_a_request_goes_only_to_replicas_that_read_it() -> None:
    async with replicas(3) as group:
        newest = group.servers[0]
        newest.version, newest.inputs = "2", ("history", "history_weight", "k", "market")
        await group.asks(10)
        await until(lambda: group.connection.contract_for("2"))
        asked = len(newest.asked)
        assert await group.asks(20) == {"1": 20}
        assert len(newest.asked) == asked
        assert group.connection.contract == group.connection.contract_for("1")


async def test_stopping_ends_calls_under_way() -> None:
    async with replicas(2) as group:
        for server in group.servers:
            server.silent = True
        call = asyncio.create_task(group.ask())
        await until(lambda: sum(group.asked()))
        await group.connection.stop()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await call
        assert call.done()
