"""Systems are started with what they need, and nothing of them is left behind."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.job import SOURCES
from benchmarks.peers.triton import config
from benchmarks.systems import ON_REQUEST, USUAL, line_up
from benchmarks.systems.environment import PeersEnvironment, pinned
from benchmarks.systems.process import ROOT, NotAvailable, Process
from benchmarks.systems.triton import Triton
from cli.failures import UserError

# Starts a process in a session of its own, which a signal to the group does not reach.
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("started", flush=True)
time.sleep(60)
"""


def test_stopping_a_process_ends_what_it_started_in_groups_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process([sys.executable, "-c", PARENT], log, {})
    process.wait_until(lambda: "started" in log.read_text(), 20.0)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(everyone) == 2
    process.stop(5.0)
    _, alive = psutil.wait_procs(everyone, 5.0)
    assert alive == []


def test_a_process_that_ends_instead_of_serving_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no models here')"]
    process = Process(command, tmp_path / "log", {})
    with pytest.raises(NotAvailable, match="no models here"):
        process.wait_until(lambda: False, 20.0)
    process.stop()


def test_a_process_that_is_not_ready_in_time_is_not_available(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", {})
    with pytest.raises(NotAvailable, match="not ready"):
        process.wait_until(lambda: False, 0.2)
    process.stop()


def test_what_cannot_be_installed_is_tried_once_and_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []

    def fails(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        tried.append(command)
        return subprocess.CompletedProcess(command, 1, "", "No matching distribution")

    monkeypatch.setattr(subprocess, "run", fails)
    environment = PeersEnvironment(tmp_path / "peers")
    triton = Triton(tmp_path, tmp_path, environment)
    for _ in range(2):
        with pytest.raises(NotAvailable, match="No matching distribution"):
            triton.start()
    assert len(tried) == 1
    triton.stop()


def test_every_package_of_the_other_systems_is_pinned() -> None:
    assert {"bentoml", "nvidia-pytriton", "ray[serve]"} <= set(pinned())
    assert all(version for version in pinned().values())
    # Nobody's models run on a faster release than Plait's own.
    assert f"onnxruntime=={pinned()['onnxruntime']}\n" in (ROOT / "requirements.lock").read_text()


def test_tritons_repository_holds_the_four_models_and_the_fusion(tmp_path: Path) -> None:
    config.write(tmp_path / "models", tmp_path / "artifacts")
    names = {p.parent.name for p in (tmp_path / "models").glob("*/config.pbtxt")}
    assert names == {*SOURCES, "job"}
    text = (tmp_path / "models" / "cf" / "config.pbtxt").read_text()
    assert f'string_value: "{tmp_path / "artifacts"}"' in text
    assert "max_queue_delay_microseconds: 0" in text
    assert (tmp_path / "models" / "job" / "1" / "model.py").is_file()


def test_a_system_can_be_chosen_by_name_and_brings_what_it_needs(tmp_path: Path) -> None:
    assert list(line_up(tmp_path, tmp_path, ["plait-whole"])) == ["plait", "plait-whole"]
    assert list(line_up(tmp_path, tmp_path, ["plain"])) == ["plain"]
    assert tuple(line_up(tmp_path, tmp_path, [])) == USUAL
    assert {*line_up(tmp_path, tmp_path, [*USUAL, *ON_REQUEST])} == {*USUAL, *ON_REQUEST}
    with pytest.raises(UserError, match="no system"):
        line_up(tmp_path, tmp_path, ["plane"])
