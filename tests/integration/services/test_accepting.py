"""A busy loop takes in all calls that wait at once, and hears all that gRPC tells it at once."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from services.runtime import accepting
from services.runtime.loop import Loop, is_bell

T = TypeVar("T")
SERVING = pb.HealthCheckResponse.SERVING


class Watched(Loop):
    """Notes which sockets are gRPC's bell."""

    def __init__(self) -> None:
        super().__init__()
        self.bells: list[socket.socket] = []

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Callable[..., Any], *arguments: Any
    ) -> None:
        if is_bell(fd, callback):
            self.bells.append(fd)
        super().add_reader(fd, callback, *arguments)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers after some seconds, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.came = 0
        self.first = asyncio.Event()

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:  # noqa: N802
        self.came += 1
        self.first.set()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return pb.HealthCheckResponse(status=SERVING)


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=Watched) as runner:
        return runner.run(work)


async def started(health: Health) -> tuple[grpc.aio.Server, str]:
    server = accepting.server((), ())
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


def ask(address: str, calls: int) -> list[int]:
    """Ask from another thread, all at once; the statuses."""
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        asked = [check.future(pb.HealthCheckRequest(), timeout=60) for _ in range(calls)]
        return [call.result().status for call in asked]


def test_calls_that_wait_are_taken_in_together() -> None:
    calls = 60

    async def turns_of_a_busy_loop() -> int:
        health = Health()
        server, address = await started(health)
        with ThreadPoolExecutor() as pool:
            asked = asyncio.get_running_loop().run_in_executor(pool, ask, address, calls)
            turns = 0
            while health.came < calls:
                time.sleep(0.01)  # noqa: ASYNC251 -- work that holds the loop
                turns += health.came > 0
                await asyncio.sleep(0)
            assert await asked == calls * [SERVING]
        await server.stop(None)
        return turns

    # One at a time they would need three turns each.
    assert run(turns_of_a_busy_loop()) < calls


def test_nothing_is_left_ringing_when_all_has_been_heard() -> None:
    async def left() -> int:
        server, address = await started(Health())
        async with grpc.aio.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            await asyncio.gather(*(check(pb.HealthCheckRequest()) for _ in range(200)))
            (bell,) = asyncio.get_running_loop().bells  # type: ignore[attr-defined]
            time.sleep(0.1)  # noqa: ASYNC251 -- until gRPC's thread has nothing more to tell
            for _ in range(3):
                await asyncio.sleep(0)
            try:
                return len(bell.recv(1000, socket.MSG_PEEK))
            except BlockingIOError:
                return 0
            finally:
                await server.stop(None)

    # It would be hundreds, each read in a turn of its own.
    assert run(left()) <= 1


def test_a_server_that_stops_answers_what_is_under_way_and_drops_what_it_asked_for() -> None:
    async def status() -> int:
        health = Health(seconds=0.05)
        server, address = await started(health)
        async with grpc.aio.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            asking = asyncio.ensure_future(check(pb.HealthCheckRequest()))
            await health.first.wait()
            await server.stop(60)
            return int((await asking).status)

    assert run(status()) == SERVING


def test_a_server_that_stops_answers_all_that_came_in_its_last_turn() -> None:
    calls = accepting.AHEAD // 2

    async def stopped() -> tuple[list[int], float]:
        server, address = await started(Health())
        await asyncio.sleep(0.1)  # until calls are asked for
        with ThreadPoolExecutor() as pool:
            asked = asyncio.get_running_loop().run_in_executor(pool, ask, address, calls)
            time.sleep(0.5)  # noqa: ASYNC251 -- work that holds the loop while they come
            began = time.perf_counter()
            await server.stop(20)
            return await asked, time.perf_counter() - began

    answers, seconds = run(stopped())
    assert answers == calls * [SERVING]
    assert seconds < 10  # nothing was left that it would have had to wait for


def test_answers_that_nobody_waits_for_any_more_are_no_errors() -> None:
    def record(error: Exception) -> logging.LogRecord:
        what = (type(error), error, None)
        return logging.LogRecord(cygrpc.__name__, logging.ERROR, "", 1, "failed", (), what)

    unsent = accepting.Unsent()
    first, second = (record(cygrpc.ExecuteBatchError("execute_batch")) for _ in range(2))
    assert unsent.filter(record(ValueError("a defect")))
    logging.getLogger(cygrpc.__name__).setLevel(logging.INFO)
    try:
        assert unsent.filter(first)
        assert not unsent.filter(second)
    finally:
        logging.getLogger(cygrpc.__name__).setLevel(logging.NOTSET)
    assert (first.levelno, first.exc_info) == (logging.INFO, None)


def test_one_filter_hears_of_unsent_answers_however_many_servers_there_are() -> None:
    async def filters() -> list[object]:
        for _ in range(2):
            server, _ = await started(Health())
            await server.stop(None)
        return list(logging.getLogger(cygrpc.__name__).filters)

    assert [type(one) for one in run(filters())] == [accepting.Unsent]
