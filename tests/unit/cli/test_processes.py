"""The supervisor, with real processes that do little."""

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from artifacts.errors import ArtifactMissing
from cli.child import Child
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.health import health
from cli.processes import Fleet
from cli.topology import FUSION, MODELS_NICENESS, NAMES, SOURCES, Topology, on_free_ports

FAKE = str(Path(__file__).with_name("fake_process.py"))


class Log:
    """Keeps every line; safe to append to from several threads."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def said(self, name: str, part: str) -> bool:
        return any(n == name and part in line for n, line in list(self.lines))


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def fake_topology() -> Topology:
    free = on_free_ports()
    ends = [replace(e, program=(FAKE, e.name)) for e in free.all]
    return Topology(ends[0], tuple(ends[1:]))


@pytest.fixture
def config(tmp_path: Path) -> FleetConfig:
    for name in (*SOURCES, FUSION):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "manifest.json").touch()
    return FleetConfig(
        repository=tmp_path / "models",
        state=tmp_path / "state.sqlite",
        topology=fake_topology(),
        settings={"FAKE_NOTES": str(tmp_path / "notes")},
        first_pause=0.05,
        start_seconds=30.0,
    )


def with_settings(config: FleetConfig, **settings: str) -> FleetConfig:
    return replace(config, settings={**config.settings, **settings})


def test_models_serve_before_the_gateway_starts_and_stop_after_it(
    config: FleetConfig, tmp_path: Path
) -> None:
    log = Log()
    with Fleet(config, log) as fleet:
        pids = [fleet.pid(name) for name in NAMES]
        assert all(health(e.address) == "serving" for e in fleet.topology.all)
        order = [line.split()[0] for name, line in log.lines if name == "plait"]
        assert order[-1] == "gateway"
        assert sorted(order[:-1]) == sorted(SOURCES)
    stopped = (tmp_path / "notes").read_text().split()
    assert stopped[0] == "gateway"
    assert sorted(stopped) == sorted(NAMES)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_process_that_dies_is_started_again_after_a_pause_that_grows(config: FleetConfig) -> None:
    log = Log()
    with Fleet(config, log) as fleet:
        first = fleet.kill("cf")
        assert until(lambda: fleet.pid("cf") != first)
        assert fleet.wait_healthy("cf", 20.0)
        second = fleet.kill("cf")
        assert until(lambda: fleet.pid("cf") != second)
        assert fleet.wait_healthy("cf", 20.0)
    assert log.said("plait", "cf was killed by signal 9; starting it again in 0.1 s")
    assert log.said("plait", "cf started again")
    pauses = [line.split()[-2] for _, line in log.lines if "starting it again" in line]
    assert len(pauses) == 2


def test_a_process_that_refuses_to_start_ends_the_start_with_what_it_said(
    config: FleetConfig,
) -> None:
    fleet = Fleet(with_settings(config, FAKE_REFUSES="content"))
    with pytest.raises(UserError, match=r"content exited \(1\).*cannot start: no model here"):
        fleet.start()
    assert not any(psutil.pid_exists(fleet.pid(name)) for name in SOURCES)


def test_a_process_deaf_to_the_request_to_stop_is_killed(config: FleetConfig) -> None:
    log = Log()
    fleet = Fleet(replace(with_settings(config, FAKE_DEAF="text"), stop_seconds=0.5), log)
    fleet.start()
    pid = fleet.pid("text")
    fleet.stop()
    assert not psutil.pid_exists(pid)
    assert log.said("plait", "text did not stop")


def test_what_a_process_started_goes_with_it(config: FleetConfig) -> None:
    log = Log()
    with Fleet(with_settings(config, FAKE_BROOD="cf"), log) as fleet:
        assert until(lambda: log.said("cf", "brood="))
        brood = int(next(line for n, line in log.lines if n == "cf").partition("=")[2])
        assert psutil.pid_exists(brood)
        assert fleet.pid("cf")
    assert until(lambda: not _runs(brood))


def test_no_artifact_is_said_before_anything_starts(config: FleetConfig, tmp_path: Path) -> None:
    fleet = Fleet(replace(config, repository=tmp_path / "nothing"))
    with pytest.raises(ArtifactMissing, match="plait train"):
        fleet.start()
    assert fleet.pid("cf") == 0


def test_a_taken_port_is_said_before_anything_starts(config: FleetConfig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config.topology.find("content").port))
        taken.listen()
        fleet = Fleet(config)
        with pytest.raises(UserError, match=r"Port in use.*\(content\).*--base-port"):
            fleet.start()
    assert fleet.pid("cf") == 0


def test_a_start_can_be_given_up(config: FleetConfig) -> None:
    fleet = Fleet(config)
    fleet.request_stop()
    with pytest.raises(UserError, match="Stopped before"):
        fleet.start()
    assert not any(psutil.pid_exists(fleet.pid(name)) for name in SOURCES)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_nothing_outlives_a_supervisor_that_is_killed(config: FleetConfig, tmp_path: Path) -> None:
    script = tmp_path / "supervise.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from cli.fleet_config import FleetConfig
        from cli.processes import Fleet
        from cli.topology import Endpoint, Topology
        ends = {[(e.name, e.host, e.port, e.metrics_port, e.program) for e in config.topology.all]}
        ends = [Endpoint(*end) for end in ends]
        fleet = Fleet(FleetConfig(Path({str(config.repository)!r}), Path({str(config.state)!r}),
                                  Topology(ends[0], tuple(ends[1:]))))
        fleet.start()
        print(*[fleet.pid(e.name) for e in ends], flush=True)
        time.sleep(600)
        """)
    )
    environment = {**os.environ, **config.settings}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == len(NAMES)
        process.send_signal(signal.SIGKILL)
    assert until(lambda: not any(_runs(pid) for pid in pids))


def test_stopping_twice_and_killing_all_do_no_harm(config: FleetConfig) -> None:
    fleet = Fleet(config)
    fleet.start()
    fleet.kill_all()
    fleet.stop()
    fleet.stop()
    assert threading.active_count() < 50
    assert not any(_runs(fleet.pid(name)) for name in NAMES)


def _runs(pid: int) -> bool:
    """Whether a process does anything: a zombie that nobody has reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_models_let_the_gateway_go_first(config: FleetConfig) -> None:
    own = os.nice(0)
    with Fleet(config, Log()) as fleet:
        nice = {name: psutil.Process(fleet.pid(name)).nice() - own for name in NAMES}
    assert nice == {"gateway": 0, **dict.fromkeys(SOURCES, MODELS_NICENESS)}


def test_a_process_that_was_started_again_stops_in_good_order(
    config: FleetConfig, tmp_path: Path
) -> None:
    log = Log()
    with Fleet(config, log) as fleet:
        fleet.kill("cf")
        assert until(lambda: log.said("plait", "cf started again"))
        assert fleet.wait_healthy("cf", 20.0)
    # The kernel kills it with its parent, which to it is the thread that started it.
    assert "cf" in (tmp_path / "notes").read_text().split()


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), SystemExit(1)])
def test_a_log_that_cannot_be_written_stops_no_process(
    config: FleetConfig, failure: BaseException
) -> None:
    down = threading.Event()
    log = Log()

    def refuses(name: str, line: str) -> None:
        if down.is_set():
            raise failure
        log(name, line)

    with Fleet(with_settings(config, FAKE_TALKS="cf"), refuses) as fleet:
        assert until(lambda: log.said("cf", "a long line"))
        down.set()
        time.sleep(0.2)
        down.clear()
        heard = len(log.lines)
        assert until(lambda: len(log.lines) > heard + 10)
        fleet.kill("sequence")
        assert until(lambda: log.said("plait", "sequence started again"))


def test_a_stop_that_is_interrupted_kills_what_is_left(
    config: FleetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(with_settings(config, FAKE_DEAF="gateway"))
    fleet.start()
    pids = [fleet.pid(name) for name in NAMES]

    def interrupted(_child: Child, _seconds: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Child, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fleet.stop()
    assert until(lambda: not any(_runs(pid) for pid in pids))
    fleet.stop()


def test_a_restart_that_the_machine_refuses_is_tried_again(
    config: FleetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    start = Child.start
    with Fleet(config, log) as fleet:

        def refused(child: Child) -> None:
            monkeypatch.setattr(Child, "start", start)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr(Child, "start", refused)
        first = fleet.kill("cf")
        assert until(lambda: fleet.pid("cf") != first)
    assert log.said("plait", "cf cannot be started: Cannot allocate memory")


def test_a_process_that_has_died_all_night_is_started_again(config: FleetConfig) -> None:
    log = Log()
    config = replace(config, longest_pause=0.05)
    with Fleet(config, log) as fleet:
        fleet._deaths["cf"] = 2_000  # five hours of a process that cannot start
        first = fleet.kill("cf")
        assert until(lambda: fleet.pid("cf") != first)
