"""Real model services, in processes of their own, that are stopped, killed and told to end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.connection import Connection
from gateway.replicas.errors import ReplicaError
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, write_request
from tests.support.artifacts import Tiny, publish
from tests.support.servers import PATIENCE, Process, process

KEY = Tiny().keys[0]
# A call that a healthy service answers many times over, and a stopped one does not.
SECONDS = 0.25


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("real")
    publish(directory)
    return directory


@pytest.fixture
def service(repository: Path) -> Iterator[Process]:
    with process("cf", repository=repository) as started:
        yield started


@asynccontextmanager
async def connected(*services: Process) -> AsyncIterator[Connection]:
    ports = [(await asyncio.to_thread(service.ports))[0] for service in services]
    connection = Connection("cf", "|".join(f"127.0.0.1:{port}" for port in ports))
    connection.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while connection.width < len(services) or connection.contract is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield connection
    finally:
        await connection.stop()


def question() -> pb.ModelInferRequest:
    history, weight = np.array([[KEY]], np.int64), np.ones((1, 1), np.float32)
    inputs: dict[str, Array] = {"history": history, "history_weight": weight}
    return write_request("cf", inputs | {"k": np.array([5], np.int64)}, ["item_keys", "scores"])


async def outcome(connection: Connection, seconds: float = SECONDS) -> str:
    """Ask once; return "ok", the status, or the name of the error."""
    try:
        await connection.infer(question(), seconds)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except ReplicaError as error:
        return type(error).__name__
    return "ok"


async def until(connection: Connection, wanted: str) -> list[str]:
    """Ask until this comes out; return what came before."""
    seen: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while (found := await outcome(connection)) != wanted:
            seen.append(found)
            await asyncio.sleep(0.01)
    return seen


async def test_a_stopped_process_is_left_alone_after_a_few_calls_and_used_when_it_goes_on(
    service: Process,
) -> None:
    async with connected(service) as connection:
        await until(connection, "ok")
        os.kill(service.pid, signal.SIGSTOP)
        try:
            late = await until(connection, "BreakersOpen")
            assert late == ["DEADLINE_EXCEEDED"] * 5
        finally:
            os.kill(service.pid, signal.SIGCONT)
        await until(connection, "ok")


async def test_one_that_is_told_to_end_costs_no_call_where_there_is_another(
    service: Process, repository: Path
) -> None:
    with process("cf", repository=repository, drain_seconds=1.0) as other:
        async with connected(service, other) as connection:
            other.terminate()
            ending = asyncio.create_task(asyncio.to_thread(other.exit_code))
            while not ending.done():
                assert await outcome(connection, PATIENCE) == "ok"
            assert await ending == 0
            assert await outcome(connection, PATIENCE) == "ok"


async def test_a_killed_process_is_used_again_once_another_takes_its_place(
    service: Process, repository: Path
) -> None:
    async with connected(service) as connection:
        port, _ = service.ports()
        service.kill()
        await until(connection, "NotReachable")
        with process("cf", repository=repository, port=port):
            await until(connection, "ok")
