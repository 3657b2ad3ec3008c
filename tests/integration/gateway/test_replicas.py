"""Several servers behind one source: shared, left alone when unwell, found when they come."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from gateway.connection import Connection
from gateway.replicas.breaker import Rules
from gateway.replicas.errors import BreakersOpen, NotReachable, VersionNotServed
from gateway.replicas.settings import Settings
from gateway.rounds import Rounds
from gateway.sources import Source
from gateway.traffic import Traffic
from gateway.types import Question
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, TensorError, write_request
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import vectors

PATIENCE = 30.0
QUICK = Settings(look_up=0.02, rules=Rules(failures=3, rest=0.02, longest_rest=0.1))
# Never a second call, so that what a first one meets can be seen.
ALONE = replace(QUICK, second_share=0.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- a server elsewhere changes it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def replicas(count: int, settings: Settings = QUICK) -> AsyncIterator["Group"]:
    """Run servers of one source, and a connection that has met them all."""
    async with AsyncExitStack() as stack:
        servers = [FakeSource("cf", vectors()) for _ in range(count)]
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        address = "|".join(f"127.0.0.1:{server.port}" for server in servers)
        group = Group(servers, Connection("cf", address, settings))
        group.connection.start()
        stack.push_async_callback(group.connection.stop)
        await until(lambda: state("closed") == count)
        yield group


class Group:
    """Servers of one source and the connection to them."""

    def __init__(self, servers: list[FakeSource], connection: Connection) -> None:
        self.servers = servers
        self.connection = connection

    async def ask(self, seconds: float = PATIENCE, model_version: str = "") -> str:
        """Ask one question; return the version that answered."""
        wanted = question(model_version=model_version)
        response = await self.connection.infer(wanted, seconds)
        return response.model_version

    async def asks(self, times: int, seconds: float = PATIENCE) -> Counter[str]:
        """Ask one after the other; count answers and errors."""
        found: Counter[str] = Counter()
        for _ in range(times):
            try:
                found[await self.ask(seconds)] += 1
            except grpc.aio.AioRpcError as error:
                found[error.code().name] += 1
            except BreakersOpen:
                found["OPEN"] += 1
        return found

    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]


def question(rows: int = 1, model_version: str = "") -> pb.ModelInferRequest:
    history = np.full((rows, 1), 6, np.int64)
    inputs: dict[str, Array] = {
        "history": history,
        "history_weight": np.ones((rows, 1), np.float32),
        "k": np.array([5], np.int64),
    }
    return write_request("cf", inputs, ["item_keys", "scores"], model_version)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"source": "cf", **labels}) or 0.0


def state(name: str) -> float:
    return count("plait_replicas", state=name)


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


async def test_a_breaker_opens_is_counted_and_closes_again() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        before = {s: count("plait_breaker_changes_total", state=s) for s in ("open", "closed")}
        server.status = grpc.StatusCode.INTERNAL
        answers = await group.asks(20)
        assert answers["INTERNAL"] < 20
        assert answers["OPEN"]
        server.status = None
        await until_answered(group)
        await until(lambda: state("closed") == 1)
        for name, was in before.items():
            assert count("plait_breaker_changes_total", state=name) > was


async def test_a_batch_of_new_items_is_not_the_call_by_which_a_server_is_tried() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        server.status = grpc.StatusCode.INTERNAL
        await group.asks(3)
        server.status, server.delay = None, 0.2
        await until(lambda: state("half_open") == 1)
        items = write_request("cf-items", {"text": np.array([[b"soap"]], np.object_)})
        placing = asyncio.create_task(group.connection.infer(items, PATIENCE))
        await asyncio.sleep(0.05)
        assert await group.ask() == "1"
        await placing
        await until(lambda: state("closed") == 1)


async def test_batches_of_new_items_say_nothing_of_answers_to_shoppers() -> None:
    items = write_request("cf-items", {"text": np.array([[b"soap"]], np.object_)})
    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        (server,) = group.servers
        for _ in range(5):
            server.status = grpc.StatusCode.INTERNAL
            with pytest.raises(grpc.aio.AioRpcError):
                await group.connection.infer(items, PATIENCE)
            server.status = None
        assert await group.ask() == "1", "an item that an encoder cannot take opens no breaker"
        for _ in range(3):
            await group.connection.infer(items, PATIENCE)
            server.status = grpc.StatusCode.INTERNAL
            assert await group.asks(1) == {"INTERNAL": 1}
            server.status = None
        assert await group.asks(1) == {"OPEN": 1}, "and one that it takes closes none"


async def until_answered(group: Group) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (await group.asks(1, seconds=1.0))["1"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_source_whose_replicas_all_rest_is_not_called() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        for server in group.servers:
            server.status = grpc.StatusCode.INTERNAL
        await group.asks(20)
        assert group.asked() == [3, 3]
        with pytest.raises(BreakersOpen):
            await group.ask()
        assert state("open") == 2


async def test_calls_go_to_the_replica_that_is_well() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        group.servers[0].status = grpc.StatusCode.INTERNAL
        answers = await group.asks(50)
        assert answers == {"1": 47, "INTERNAL": 3}


async def test_bad_requests_never_open_a_breaker() -> None:
    async with replicas(1) as group:
        group.servers[0].status = grpc.StatusCode.INVALID_ARGUMENT
        assert await group.asks(50) == {"INVALID_ARGUMENT": 50}
        group.servers[0].status = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await group.asks(50) == {"RESOURCE_EXHAUSTED": 50}


async def test_callers_in_a_hurry_never_open_a_breaker() -> None:
    async with replicas(1) as group:
        group.servers[0].delay = 0.05
        assert await group.asks(20) == {"1": 20}
        answers = await group.asks(20, seconds=0.01)
        assert answers["DEADLINE_EXCEEDED"]
        assert not answers["OPEN"]


async def test_an_answer_that_cannot_be_read_counts_as_a_failure() -> None:
    def read(_: pb.ModelInferResponse) -> str:
        raise TensorError("scores: missing")

    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        for _ in range(3):
            with pytest.raises(TensorError):
                await group.connection.ask(question(), PATIENCE, read, counted=False)
        for _ in range(3):
            with pytest.raises(TensorError):
                await group.connection.ask(question(), PATIENCE, read)
        with pytest.raises(BreakersOpen):
            await group.ask()


async def test_a_silent_server_is_left_alone_and_used_again_when_it_speaks() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        server.silent = True
        late = await group.asks(3, seconds=0.06)
        assert late == {"DEADLINE_EXCEEDED": 3}
        asked = len(server.asked)
        assert await group.asks(50) == {"OPEN": 50}
        await asyncio.sleep(5 * QUICK.rules.rest)
        assert await group.asks(50) == {"OPEN": 50}, "silence is no sign of life"
        assert len(server.asked) == asked
        server.silent = False
        await until_answered(group)


async def test_calls_that_their_callers_gave_up_at_the_deadline_count_too() -> None:
    async with replicas(1, replace(ALONE, rules=Rules(failures=3, rest=60.0))) as group:
        group.servers[0].silent = True
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.099):
                    await group.ask(seconds=0.1)
        with pytest.raises(BreakersOpen):
            await group.ask()


async def test_a_killed_server_is_not_reachable_until_it_is_back() -> None:
    async with replicas(1) as group:
        (server,) = group.servers
        await server.stop()
        await until(lambda: state("away") == 1)
        with pytest.raises(NotReachable):
            await group.ask()
        server.health = type(server.health)()
        await server.start(server.port)
        await until(lambda: state("closed") == 1)
        assert await group.ask() == "1"


async def warm(group: Group) -> None:
    """Have the source's usual time known."""
    await group.asks(60)


async def test_a_slow_answer_is_asked_of_another_replica_and_the_first_is_cancelled() -> None:
    async with replicas(2) as group:
        await warm(group)
        used = count("plait_second_calls_total", reason="slow", outcome="used")
        slow = group.servers[0]
        slow.silent = True
        while count("plait_second_calls_total", reason="slow", outcome="used") == used:
            assert await group.ask() == "1"
        await until(lambda: slow.cancelled)


async def test_a_replica_that_is_outrun_every_time_is_left_alone() -> None:
    async with replicas(2) as group:
        await warm(group)
        group.servers[0].silent = True
        while state("open") == 0:
            # Several at once, so that some go to either.
            assert await asyncio.gather(*(group.ask() for _ in range(4))) == ["1"] * 4
        group.servers[0].silent = False

        async def well() -> None:
            while state("closed") < 2:
                await group.ask()
                await asyncio.sleep(0.005)

        await asyncio.wait_for(well(), PATIENCE)


async def test_a_call_that_fails_is_repeated_at_another_replica() -> None:
    async with replicas(2) as group:
        failed = count("plait_second_calls_total", reason="failed", outcome="used")
        group.servers[0].status = grpc.StatusCode.UNAVAILABLE
        assert await group.asks(20) == {"1": 20}
        assert count("plait_second_calls_total", reason="failed", outcome="used") > failed


async def test_nothing_is_asked_twice_beyond_the_budget() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=1000, ratio=1.0))) as group:
        denied = count("plait_second_calls_total", reason="failed", outcome="denied")
        group.servers[0].status = grpc.StatusCode.UNAVAILABLE
        answers = await group.asks(20)
        assert answers["UNAVAILABLE"] == len(group.servers[0].asked)
        assert (
            count("plait_second_calls_total", reason="failed", outcome="denied") - denied
            == answers["UNAVAILABLE"]
        )


async def test_when_both_fail_the_first_says_why() -> None:
    async with replicas(2) as group:
        for server, status in zip(
            group.servers, (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL), strict=True
        ):
            server.status = status
        assert await group.asks(2) == {"INTERNAL": 2}
        assert sum(group.asked()) == 4


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
