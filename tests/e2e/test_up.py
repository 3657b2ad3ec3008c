"""`plait up` as a person uses it: started in a terminal, ended with Ctrl-C."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from artifacts.layout import find
from cli.fleet_config import child_environment
from cli.health import health
from cli.topology import NAMES
from tests.e2e.conftest import Ground, Processes, fleet_config, plait


def test_ctrl_c_ends_all_five_in_order_and_leaves_nothing(ground: Ground, tmp_path: Path) -> None:
    config = fleet_config(ground, tmp_path)
    ends = config.topology.all
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(config),
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if " up: gateway at" in line:
                break
        assert all(health(e.address) == "serving" for e in ends), said
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == len(NAMES)
        process.send_signal(signal.SIGINT)
        said += list(process.stdout)
        assert process.wait(30.0) == 0
    text = "".join(said)
    assert "nothing is left running" in text
    assert all(f"{name} " in text for name in NAMES)
    assert "Traceback" not in text
    assert not any(child.is_running() for child in children)
    assert all(health(e.address) == "down" for e in ends)


def test_a_taken_port_is_one_line_and_an_exit_code(ground: Ground, five: Processes) -> None:
    taken = five.topology.gateway.port
    done = plait("up", "--repository", str(ground.places.models), "--base-port", str(taken))
    assert done.returncode == 1
    assert f"{taken} (gateway)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_model_refuses_to_serve_and_the_start_says_which_file(
    ground: Ground, tmp_path: Path
) -> None:
    config = fleet_config(ground, tmp_path)
    broken = tmp_path / "models"
    for source in ("cf", "content", "sequence", "text", "fusion"):
        shutil.copytree(find(ground.places.models, source), broken / source / "1")
    with (broken / "cf" / "1" / "model.onnx").open("ab") as graph:
        graph.write(b"x")
    done = plait("up", "--repository", str(broken), environment=child_environment(config))
    assert done.returncode == 1
    assert "cf exited (1) instead of serving" in done.stderr
    assert "model.onnx" in done.stderr
