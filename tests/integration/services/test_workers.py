"""Several processes behind one port: they look like one, and end like one."""

import asyncio
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.scrape import Scrape, answering, scrape
from inference import inference_pb2 as pb
from inference import inference_pb2_grpc
from services.cf.server import SOURCE
from services.runtime.server import Server
from services.runtime.service import ModelService, ServiceConfig
from services.runtime.workers.child import Child
from services.runtime.workers.place import Place
from tests.integration.services.conftest import TINY
from tests.support.artifacts import publish
from tests.support.disks import small_disk
from tests.support.servers import (
    NEVER_BEGAN,
    Process,
    Stub,
    eventually,
    infer,
    process,
    stub_for,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
WORKERS = 2
QUESTION = {"history": TINY.keys[None, :2]}


@pytest.fixture
def running(repository: Path, tmp_path: Path) -> Iterator[Process]:
    """A cf service of two workers, both up; each listens on a Unix socket of its own too."""
    settings = {"workers": WORKERS, "drain_seconds": 0.2, "socket": tmp_path / "cf"}
    with process("cf", repository=repository, **settings) as started:
        _, metrics_port = started.ports()
        asyncio.run(eventually(lambda: serving(metrics_port) == WORKERS, "both workers"))
        yield started


def seen(metrics_port: int) -> Scrape:
    return scrape("127.0.0.1", metrics_port)


def serving(metrics_port: int) -> float:
    return seen(metrics_port).sum("plait_workers", state="serving")


def counted(metrics_port: int) -> dict[str, float]:
    """What must be the number of calls, each counted somewhere else on their way."""
    now = seen(metrics_port)
    return {
        "answered": answering(now).count,
        "queued": now.sum("plait_queue_seconds_count"),
        "rows": now.sum("plait_batch_rows_sum"),
        "unknown": now.sum("plait_unknown_items_total"),
    }


@asynccontextmanager
async def own_door(tmp_path: Path, number: int) -> AsyncIterator[Stub]:
    """One worker, and no other."""
    async with grpc.aio.insecure_channel(f"unix:{tmp_path / 'cf'}.{number}") as channel:
        yield inference_pb2_grpc.GRPCInferenceServiceStub(channel)


async def ask(tmp_path: Path, number: int, times: int = 1) -> str:
    """Ask one worker for an item nobody knows; return the version that answered."""
    async with own_door(tmp_path, number) as stub:
        for _ in range(times):
            await infer(stub, "cf", {"history": [[int(TINY.keys[0]), 7]]})
        found = await stub.ModelMetadata(pb.ModelMetadataRequest(name="cf"))
    return str(found.versions[-1])


def pid_of(running: Process, number: int) -> int:
    """The process of a worker, as the kernel knows it; 0 while there is none."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    for child in map(int, children):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if f"_PLAIT_WORKER={number}:".encode() in Path(f"/proc/{child}/environ").read_bytes():
                return child
    return 0


async def kill(running: Process, number: int) -> None:
    """Kill a worker and wait until another is in its place."""
    pid = pid_of(running, number)
    assert pid
    os.kill(pid, signal.SIGKILL)
    _, metrics_port = running.ports()

    def replaced() -> bool:
        restarts = seen(metrics_port).sum("plait_worker_restarts_total")
        # What the dead one counted last is there for a moment longer than itself.
        another = pid_of(running, number) not in {0, pid}
        return another and restarts > 0 and serving(metrics_port) == WORKERS

    await eventually(replaced, "a new worker")


async def test_workers_share_a_port_and_count_as_one(running: Process, tmp_path: Path) -> None:
    port, metrics_port = running.ports()
    async with stub_for(port) as stub:
        answer = await infer(stub, "cf", {"history": [[int(TINY.keys[0]), 7]]})
        assert answer["item_keys"].shape == (1, 100)
    await ask(tmp_path, 0, 3)
    await ask(tmp_path, 1, 4)
    assert set(counted(metrics_port).values()) == {8.0}
    now = seen(metrics_port)
    # What is served is served once, however many processes do so.
    assert now.sum("plait_model_info", source="cf", version="1", role="default") == 1
    assert now.sum("plait_build_info") == 1
    assert now.sum("plait_model_load_seconds") > 0
    assert now.sum("process_cpu_seconds_total") > 0
    # There before the first death: Prometheus sees no increase where there was nothing.
    deaths = [s.value for s in now.samples if s.name == "plait_worker_restarts_total"]
    assert deaths == [0.0]


async def test_a_killed_worker_is_replaced_and_its_counts_stay(
    running: Process, tmp_path: Path
) -> None:
    port, metrics_port = running.ports()
    await ask(tmp_path, 0, 3)
    await ask(tmp_path, 1, 2)
    await kill(running, 1)
    assert set(counted(metrics_port).values()) == {5.0}
    await ask(tmp_path, 1, 4)
    assert set(counted(metrics_port).values()) == {9.0}
    assert seen(metrics_port).sum("plait_model_info") == 1
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        found = await stub.Check(health_pb2.HealthCheckRequest(service="cf"))
        assert found.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_version_is_loaded_and_taken_back_in_every_worker(
    running: Process, repository: Path, tmp_path: Path
) -> None:
    publish(repository, TINY)
    _, metrics_port = running.ports()
    request = pb.RepositoryModelLoadRequest(model_name="cf")
    async with own_door(tmp_path, 0) as stub:
        await stub.RepositoryModelLoad(request)
        # No wait: the answer means that all have it.
        assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["2", "2"]
        await kill(running, 0)
    assert await ask(tmp_path, 0) == "2"
    now = seen(metrics_port)
    assert now.values("plait_model_info", "version", role="default") == ("2",)
    request.parameters["version"].string_param = "previous"
    async with own_door(tmp_path, 1) as stub:
        await stub.RepositoryModelLoad(request)
    assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["1", "1"]


async def test_an_unloaded_model_is_gone_from_every_worker(
    running: Process, tmp_path: Path
) -> None:
    async with own_door(tmp_path, 1) as stub:
        await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cf"))
    for number in range(WORKERS):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(tmp_path, number)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_where_one_worker_cannot_follow_nothing_changes(
    repository: Path, tmp_path: Path
) -> None:
    behind, shared = tmp_path / "behind", tmp_path / "shared"
    shared.mkdir()
    publish(behind, TINY)
    publish(repository, TINY)
    async with worker(repository, shared, 0), worker(behind, shared, 1):
        async with own_door(tmp_path, 0) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                request = pb.RepositoryModelLoadRequest(model_name="cf")
                await stub.RepositoryModelLoad(request)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "worker 1 cannot follow" in (caught.value.details() or "")
        assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["1", "1"]


async def test_where_the_others_cannot_be_told_nothing_changes(
    repository: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    with small_disk(shared, 1) as disk:
        if disk is None:
            pytest.skip("may not mount a disk that can be filled")
        async with worker(repository, shared, 0), worker(repository, shared, 1):
            publish(repository, TINY)
            disk.fill()
            async with own_door(tmp_path, 0) as stub:
                request = pb.RepositoryModelLoadRequest(model_name="cf")
                with pytest.raises(grpc.aio.AioRpcError, match="No space left on device") as caught:
                    await stub.RepositoryModelLoad(request)
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
                assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["1", "1"]
                disk.free()
                await stub.RepositoryModelLoad(request)
            assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["2", "2"]


async def test_a_caller_who_goes_meanwhile_leaves_all_workers_with_one_version(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    begun, gone, sync = threading.Event(), threading.Event(), os.fsync

    def slow(handle: int) -> None:
        begun.set()
        gone.wait(10.0)
        sync(handle)

    async with worker(repository, shared, 0), worker(repository, shared, 1):
        publish(repository, TINY)
        monkeypatch.setattr(os, "fsync", slow)
        async with own_door(tmp_path, 0) as stub:
            call = stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="cf"))
            await asyncio.to_thread(begun.wait, 10.0)
            call.cancel()
            # The server has heard of it when it answers a question that came later.
            assert await ask(tmp_path, 0) == "2"
            gone.set()
        followed = Place(1, os.getppid(), shared).follows_file
        await eventually(lambda: followed.read_text() == "2", "a second change")
        assert [await ask(tmp_path, n) for n in range(WORKERS)] == ["2", "2"]


@asynccontextmanager
async def worker(repository: Path, shared: Path, number: int) -> AsyncIterator[Server]:
    """A worker in this process, on any port; its socket lies beside the shared directory."""
    config = ServiceConfig(
        repository=repository, version=None if number else 1, drain_seconds=0.0,
        socket=shared.parent / "cf",
    )  # fmt: skip
    place = Place(number, os.getppid(), shared)
    server = Server(config, ModelService(SOURCE, config, place), place)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def test_workers_drain_together(running: Process) -> None:
    port, metrics_port = running.ports()

    async def ask_until_refused() -> int:
        answers = 0
        async with stub_for(port) as stub:
            while True:
                try:
                    await infer(stub, "cf", QUESTION)
                except grpc.aio.AioRpcError as error:
                    assert error.code() in NEVER_BEGAN
                    return answers
                answers += 1

    callers = [asyncio.create_task(ask_until_refused()) for _ in range(4)]
    await eventually(lambda: counted(metrics_port)["answered"] > 4, "answers")
    await asyncio.to_thread(running.terminate)
    assert sum(await asyncio.gather(*callers)) > 4
    assert await asyncio.to_thread(running.exit_code) == 0
    said = [line["message"] for line in running.log]
    assert (said.count("draining"), said.count("stopped")) == (WORKERS + 1, WORKERS + 1)
    assert said[-1] == "stopped"


def test_a_start_that_no_worker_survives_ends_with_the_reason(tmp_path: Path) -> None:
    with process("cf", repository=tmp_path, workers=WORKERS) as started:
        assert started.exit_code() == 1
    said = [line["message"] for line in started.log if line["level"] == "critical"]
    assert any(f"{tmp_path / 'cf'}: no artifact" in message for message in said)
    assert "before any of them served" in said[-1]


def test_a_taken_port_is_told_before_a_worker_starts(running: Process, repository: Path) -> None:
    port, _ = running.ports()
    with process("cf", repository=repository, workers=WORKERS, port=port) as second:
        assert second.exit_code() == 1
    assert f"127.0.0.1:{port}: cannot listen" in second.log[-1]["message"]


def test_a_port_on_which_connections_wait_out_their_time_is_free(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            before.accept()[0].close()  # whoever ends a connection remembers it for a minute
            assert client.recv(1) == b""
    with process("cf", repository=repository, workers=WORKERS, port=port) as started:
        assert started.ports()[0] == port


def test_workers_end_with_a_parent_that_was_killed(running: Process) -> None:
    running.kill()  # waits until its output ends, which the workers hold too
    said = [line["message"] for line in running.log]
    assert (said.count("draining"), said.count("stopped")) == (WORKERS, WORKERS)


def test_workers_end_with_a_parent_that_was_killed_as_they_began(repository: Path) -> None:
    with process("cf", repository=repository, workers=WORKERS) as started:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        started.wait_for("starting")
        asyncio.run(eventually(lambda: len(children.read_text().split()) == WORKERS, "workers"))
        pids = [int(pid) for pid in children.read_text().split()]
        os.kill(started.pid, signal.SIGKILL)
        try:
            asyncio.run(eventually(lambda: not any(map(runs, pids)), "the workers' end"))
        finally:
            for pid in filter(runs, pids):
                os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # of one that has ended: nothing
    except FileNotFoundError:
        return False


def test_what_a_killed_service_leaves_in_memory_goes_with_the_next_start(
    running: Process, repository: Path
) -> None:
    shared = Path(f"/proc/{pid_of(running, 0)}/environ").read_bytes().decode()
    directory = Path(shared.partition("PROMETHEUS_MULTIPROC_DIR=")[2].partition("\0")[0])
    assert directory.is_dir()
    pids = [pid_of(running, number) for number in range(WORKERS)]
    for pid in (running.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    running.exit_code()
    with process("cf", repository=repository, workers=WORKERS) as second:
        second.ports()
        assert not directory.exists()
        second.terminate()
        assert second.exit_code() == 0


async def test_a_start_that_the_machine_refuses_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def refused(*_command: str, **_options: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    child = Child("cf", Place(0, os.getpid(), tmp_path), {})
    keeping = asyncio.create_task(child.keep())
    await eventually(lambda: len(tries) > 1, "a second try")
    child.terminate()
    await keeping
    assert child.deaths >= 1
