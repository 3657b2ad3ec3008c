"""`python -m services.cf` as an operator meets it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.topology import SOURCES
from inference.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.services.conftest import TINY
from tests.support.artifacts import publish_with_wrong_samples
from tests.support.servers import NEVER_BEGAN, PATIENCE, Process, infer, process, stub_for

QUESTION = {"history": TINY.keys[None, :2], "k": np.array([[5]])}


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def running(shared: Path) -> Iterator[Process]:
    """One cf process for the tests that do not stop it."""
    with process("cf", repository=shared) as started:
        yield started


async def test_it_says_where_it_serves_and_answers_there(running: Process) -> None:
    port, _ = running.ports()
    async with stub_for(port) as stub:
        answer = await infer(stub, "cf", QUESTION)
    assert answer["item_keys"].shape == (1, 5)
    starting = running.wait_for("starting")
    assert starting["config"]["max_batch_rows"] == "64"
    assert running.wait_for("loaded")["version"] == 1


async def test_what_it_does_can_be_read_from_its_metrics(running: Process) -> None:
    port, metrics_port = running.ports()
    async with stub_for(port) as stub:
        await infer(stub, "cf", {**QUESTION, "history": [[TINY.keys[0], 7]]})
        with pytest.raises(grpc.aio.AioRpcError):
            await infer(stub, "cf", {})
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    samples = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    infer_method = ("method", "/inference.GRPCInferenceService/ModelInfer")
    cf = (("source", "cf"), ("version", "1"))
    assert samples["plait_request_seconds_count", (infer_method, ("outcome", "OK"))] >= 1
    refused = (infer_method, ("outcome", "INVALID_ARGUMENT"))
    assert samples["plait_request_seconds_count", refused] == 1
    assert samples["plait_model_info", (("role", "default"), *cf)] == 1
    assert samples["plait_model_load_seconds", cf] > 0
    assert samples["plait_unknown_items_total", (("source", "cf"),)] == 1
    inference = (("outcome", "ok"), *cf)
    for name, labels in (("queue", cf), ("batch", cf), ("inference", inference)):
        assert samples[f"plait_{name}_seconds_count", labels] >= 1
    assert samples["plait_batch_rows_sum", cf] >= 1
    assert [labels for name, labels in samples if name == "plait_build_info"]


def test_a_second_process_on_the_port_says_so_and_ends(running: Process, shared: Path) -> None:
    port, metrics_port = running.ports()
    for setting, taken in (("port", port), ("metrics_port", metrics_port)):
        with process("cf", repository=shared, **{setting: taken}) as second:
            assert second.exit_code() == 1
            (said,) = [line for line in second.log if line["level"] == "critical"]
            assert f"127.0.0.1:{taken}: cannot listen" in said["message"]
            assert second.log[-1] == said


async def test_sigterm_finishes_calls_and_exits_with_0(shared: Path) -> None:
    with process("cf", repository=shared, drain_seconds=0.2) as started:
        port, _ = started.ports()
        answered = 0
        async with stub_for(port) as stub:
            await infer(stub, "cf", QUESTION)

            async def ask_until_refused() -> int:
                answers = 0
                while True:
                    try:
                        await infer(stub, "cf", QUESTION)
                    except grpc.aio.AioRpcError as error:
                        assert error.code() in NEVER_BEGAN
                        return answers
                    answers += 1

            callers = [asyncio.create_task(ask_until_refused()) for _ in range(4)]
            await asyncio.to_thread(started.terminate)
            answered = sum(await asyncio.gather(*callers))
        assert await asyncio.to_thread(started.exit_code) == 0
    assert answered > 0
    assert [line["message"] for line in started.log][-2:] == ["draining", "stopped"]


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "dialled"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("::", "127.0.0.1")]
)
async def test_an_ipv6_address_can_be_listened_on(shared: Path, host: str, dialled: str) -> None:
    with process("cf", repository=shared, host=host) as started:
        port, metrics_port = started.ports()
        async with grpc.aio.insecure_channel(f"{dialled}:{port}") as channel:
            answer = await infer(GRPCInferenceServiceStub(channel), "cf", QUESTION)
        assert answer["item_keys"].shape == (1, 5)
        url = f"http://{dialled}:{metrics_port}/metrics"
        assert await asyncio.to_thread(lambda: urllib.request.urlopen(url).status) == 200
        bare = host.strip("[]")
        assert started.wait_for("serving")["address"] == f"[{bare}]:{port}"


def test_a_start_without_an_artifact_says_which_and_what_to_do(tmp_path: Path) -> None:
    with process("cf", repository=tmp_path) as started:
        assert started.exit_code() == 1
    (said,) = [line["message"] for line in started.log if line["level"] == "critical"]
    assert f"{tmp_path / 'cf'}: no artifact of source 'cf'" in said
    assert "plait train" in said


def test_a_start_with_a_wrong_artifact_says_which_file_and_why(
    repository: Path, tmp_path: Path
) -> None:
    publish_with_wrong_samples(repository)
    (repository / "cf" / "1" / "item_keys.npy").unlink()
    for version, said in (
        (1, f"{repository / 'cf' / '1' / 'item_keys.npy'}: named in manifest.json but missing"),
        (2, f"{repository / 'cf' / '2'}: sample 0 of manifest.json gave another answer"),
    ):
        with process("cf", repository=repository, version=version) as started:
            assert started.exit_code() == 1
        assert said in started.log[-1]["message"]


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (["--port", "1"], {}, 2, "usage: no arguments; set PLAIT_SEQUENCE_<SETTING>"),
        (["--help"], {}, 0, "max_batch_rows"),
        ([], {"PLAIT_SEQUENCE_PROT": "1"}, 1, "PLAIT_SEQUENCE_PROT: sequence has no setting"),
        ([], {"PLAIT_SEQUENCE_PORT": "x"}, 1, "PLAIT_SEQUENCE_PORT: wants int"),
    ],
)
def test_misuse_is_told_in_one_line(
    arguments: list[str], variables: dict[str, str], code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "services.sequence", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    (line,) = ended.stderr.splitlines()
    assert said in line


def test_a_supervised_process_ends_with_its_supervisor(shared: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the kernel's parent-death signal is Linux only")
    supervisor = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'services.cf'], stderr=sys.stderr)\n"
        "time.sleep(600)\n"
    )
    settings = {"REPOSITORY": shared, "PORT": 0, "METRICS_PORT": 0, "DIE_WITH_PARENT": "yes"}
    parent = subprocess.Popen(
        [sys.executable, "-c", supervisor],
        env={**os.environ, **{f"PLAIT_CF_{k}": str(v) for k, v in settings.items()}},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stderr is not None
    lines: list[str] = []
    for line in parent.stderr:
        lines.append(json.loads(line)["message"])
        if lines[-1] == "serving":
            parent.send_signal(signal.SIGKILL)
            parent.wait(PATIENCE)
    # The pipe reached its end, so the child has closed it: it drained and stopped.
    parent.stderr.close()
    assert lines[-2:] == ["draining", "stopped"]


def test_both_ports_are_free_again_after_a_stop(shared: Path) -> None:
    with process("cf", repository=shared, drain_seconds=0) as started:
        ports = started.ports()
        started.terminate()
        assert started.exit_code() == 0
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def _has_handler(pid: int) -> bool:
    """Say whether a process would hear of SIGTERM as process 1 of a container."""
    status = dict(
        line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return bool(int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("module", [*(f"services.{name}" for name in SOURCES), "gateway"])
def test_it_can_be_stopped_before_it_has_imported_anything(module: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", module], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as started:
        end = time.monotonic() + PATIENCE
        while not _has_handler(started.pid):
            assert started.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
        started.terminate()
        _, said = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0
    assert said == "", "it had not begun"
