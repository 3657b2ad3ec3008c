"""Where `plait up` will start what: options, then environment, then file, then defaults."""

import json
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli import embedded
from cli.failures import UserError
from cli.fleet_config import FleetConfig, child_environment
from cli.fleet_options import endpoints, words_for
from cli.loglines import json_line, message, readable_line
from cli.models import models_command
from cli.processes import Fleet
from cli.topology import FUSION, SOURCES
from cli.up import Wishes, _left_out, _on_signals
from cli.up import plan as plan_with_sockets
from gateway.config import GatewayConfig
from services.runtime.config import ConfigError, load
from services.runtime.server import ServerConfig
from tests.unit.cli.conftest import Run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in (*SOURCES, FUSION):
        (tmp_path / "models" / name / "3").mkdir(parents=True)
        (tmp_path / "models" / name / "3" / "manifest.json").touch()
    return tmp_path / "models"


SOCKETS = Path("sockets")


def plan(wishes: Wishes, environ: Mapping[str, str]) -> FleetConfig:
    return plan_with_sockets(wishes, environ, SOCKETS)


def test_without_wishes_everything_is_where_the_documentation_says(repository: Path) -> None:
    topology = plan(Wishes(repository=repository), {}).topology
    assert topology.gateway.address == "127.0.0.1:50050"
    assert [e.port for e in topology.sources] == [50051, 50052, 50053, 50054]
    assert [e.metrics_port for e in topology.all] == [9150, 9151, 9152, 9153, 9154]


def test_two_base_ports_move_everything(repository: Path) -> None:
    wishes = Wishes(repository=repository, base_port=60000, metrics_base_port=61000)
    topology = plan(wishes, {"PLAIT_CF_PORT": "50077"}).topology
    assert [e.port for e in topology.all] == [60000, 60001, 60002, 60003, 60004]
    assert [e.metrics_port for e in topology.all] == [61000, 61001, 61002, 61003, 61004]


def test_a_file_moves_one_process_and_the_environment_goes_before_it(
    repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "plait.toml"
    file.write_text('[cf]\nport = 50077\n[gateway]\nport = 50078\nstate = "elsewhere.sqlite"\n')
    config = plan(Wishes(repository=repository, config=file), {"PLAIT_GATEWAY_PORT": "50079"})
    assert config.topology.find("cf").port == 50077
    assert config.topology.gateway.port == 50079
    assert config.state == Path("elsewhere.sqlite")
    assert config.settings["PLAIT_CONFIG"] == str(file)


def test_what_was_shown_lies_beside_the_store_unless_it_is_put_elsewhere(repository: Path) -> None:
    moved = Wishes(repository=repository, state=Path("other/state.sqlite"))
    told = child_environment(plan(moved, {}))
    assert told["PLAIT_GATEWAY_EXPOSURE_LOG"] == "other/exposures.jsonl"
    setting = {"PLAIT_GATEWAY_EXPOSURE_LOG": ""}
    assert "PLAIT_GATEWAY_EXPOSURE_LOG" not in plan(moved, setting).settings
    assert "PLAIT_GATEWAY_EXPOSURE_LOG" not in plan(Wishes(repository=repository), {}).settings


def test_a_store_that_cannot_be_is_told_before_anything_starts(
    repository: Path, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    options = ("up", "--repository", str(repository), "--state")
    for state, said in (
        ("", "state must name a file"),
        (str(tmp_path), "is a directory"),
        (str(file / "state.sqlite"), "cannot be written"),
        ("/proc/nowhere/state.sqlite", "cannot be written"),
    ):
        result = run(*options, state)
        assert result.exit_code in {1, 2}
        assert said in result.output


def test_plait_models_finds_what_is_not_where_it_usually_is(repository: Path) -> None:
    assert words_for(plan(Wishes(repository=repository), {}).topology) == []
    wishes = Wishes(repository=repository, base_port=60000)
    moved = {
        "PLAIT_TEXT_METRICS_PORT": "9999",
        "PLAIT_CF_HOST": "::1",
        "PLAIT_CF_METRICS_PORT": "9151",
    }
    for options in (wishes, Wishes(repository=repository, metrics_base_port=61000, embedded=True)):
        topology = plan(options, moved).topology
        command = shlex.split(" ".join(["plait", "models", *words_for(topology)]))[2:]
        context = models_command.make_context("models", command)
        told = context.params
        found = endpoints(told["base_port"], told["metrics_base_port"], told["places"])
        places = {end.name: (end.address, end.metrics_port) for end in found}
        assert places | {e.name: (e.address, e.metrics_port) for e in topology.all} == places


def told_sources(config: FleetConfig, environ: Mapping[str, str] = {}) -> dict[str, str]:
    return load(GatewayConfig, "gateway", {**environ, **child_environment(config)}).addresses()


def test_a_fifth_model_that_runs_elsewhere_stays_a_source(repository: Path) -> None:
    four = ",".join(GatewayConfig().sources)
    config = plan(
        Wishes(repository=repository, base_port=60000),
        {"PLAIT_GATEWAY_SOURCES": f"{four},visual=10.0.0.9:50055"},
    )
    told = told_sources(config)
    assert told["visual"] == "10.0.0.9:50055"
    assert told["cf"] == "127.0.0.1:60001"
    assert len(told) == 5


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_model_that_the_gateway_is_set_not_to_ask_is_not_started(
    repository: Path, tmp_path: Path, embedded: bool, in_a_file: bool
) -> None:
    shutil.rmtree(repository / "text")  # nobody asks for it, so nobody misses it
    file = tmp_path / "plait.toml"
    file.write_text(
        '[gateway]\nsources = ["cf=localhost:50051", "content=127.0.0.1:50052"]\n'
        'item_encoders = ["content"]\n'
    )
    given = {
        "PLAIT_GATEWAY_SOURCES": "cf=localhost:50051,content=127.0.0.1:50052",
        "PLAIT_GATEWAY_ITEM_ENCODERS": "content",
    }
    wishes = Wishes(repository=repository, embedded=embedded, config=file if in_a_file else None)
    environ = {} if in_a_file else given
    config = plan(wishes, environ)
    assert [e.name for e in config.topology.sources] == ([] if embedded else ["cf", "content"])
    assert list(told_sources(config, environ)) == ["cf", "content"]
    assert list(_left_out(config)) == [
        "not started, as the gateway's setting `sources` leaves them out: sequence, text"
    ]


def test_a_model_that_the_gateway_asks_elsewhere_is_asked_there(repository: Path) -> None:
    sources = "cf=10.0.0.7:50051|10.0.0.8:50051,content=127.0.0.1:50077,text=unix:/run/text"
    config = plan(
        Wishes(repository=repository, base_port=60000),
        {
            "PLAIT_GATEWAY_SOURCES": sources,
            "PLAIT_CONTENT_PORT": "50077",
            "PLAIT_TEXT_SOCKET": "/run/text",
        },
    )
    assert [e.name for e in config.topology.sources] == ["content", "text"]
    assert told_sources(config) == {
        "cf": "10.0.0.7:50051|10.0.0.8:50051",
        "content": "127.0.0.1:60002",
        "text": "unix:/run/text",
    }
    assert "cf is not started: the gateway asks it at 10.0.0.7:50051|10.0.0.8:50051" in _left_out(
        config
    )


def test_the_gateway_is_told_a_door_for_each_worker(repository: Path) -> None:
    wishes = Wishes(repository=repository, workers=2)
    told = child_environment(plan(wishes, {"PLAIT_TEXT_SOCKET": "/run/text"}))
    assert told["PLAIT_CF_WORKERS"] == told["PLAIT_TEXT_WORKERS"] == "2"
    assert told["PLAIT_CF_SOCKET"] == "sockets/cf"
    sources = told["PLAIT_GATEWAY_SOURCES"].split(",")
    assert "cf=unix:sockets/cf.0|unix:sockets/cf.1" in sources
    assert "text=unix:/run/text.0|unix:/run/text.1" in sources


def test_a_socket_is_preferred_to_the_port_beside_it(repository: Path) -> None:
    config = plan(Wishes(repository=repository), {"PLAIT_CF_SOCKET": "/run/cf"})
    assert "cf=unix:/run/cf," in child_environment(config)["PLAIT_GATEWAY_SOURCES"]
    assert config.topology.find("cf").address == "127.0.0.1:50051"


def test_nobody_is_killed_who_stops_as_slowly_as_told_to(repository: Path) -> None:
    wishes = Wishes(repository=repository)
    usual = ServerConfig()
    most = usual.drain_seconds + usual.grace_seconds
    assert plan(wishes, {}).stop_seconds > most
    told = {"PLAIT_GATEWAY_DRAIN_SECONDS": "30", "PLAIT_CF_GRACE_SECONDS": "60"}
    assert plan(wishes, told).stop_seconds > usual.drain_seconds + 60


def test_a_setting_that_does_not_exist_is_refused_before_anything_starts(
    repository: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="PLAIT_CF_PROT"):
        plan(Wishes(repository=repository), {"PLAIT_CF_PROT": "1"})
    monkeypatch.setenv("PLAIT_CF_PROT", "1")
    result = run("up", "--repository", str(repository))
    assert result.exit_code == 1
    assert "PLAIT_CF_PROT" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("embedded", [False, True])
def test_a_source_that_the_data_taught_nothing_is_left_out(
    repository: Path, embedded: bool
) -> None:
    shutil.rmtree(repository / "text")
    config = plan(Wishes(repository=repository, embedded=embedded), {})
    told = child_environment(config)
    assert config.untrained == ("text",)
    gateway = load(GatewayConfig, "gateway", told)
    assert set(gateway.addresses()) == {"cf", "content", "sequence"}
    with pytest.raises(UserError, match="version 3"):
        plan(Wishes(repository=repository), {"PLAIT_TEXT_VERSION": "3"})


def test_a_pinned_version_must_be_there(repository: Path) -> None:
    assert plan(Wishes(repository=repository), {"PLAIT_TEXT_VERSION": "3"})
    with pytest.raises(UserError, match="version 9"):
        plan(Wishes(repository=repository), {"PLAIT_TEXT_VERSION": "9"})


def test_no_models_is_one_line_that_says_what_to_do(run: Run, tmp_path: Path) -> None:
    result = run("up", "--repository", str(tmp_path))
    assert result.exit_code == 1
    assert "plait train" in result.output
    assert result.output.count("\n") == 1


def test_a_structured_log_line_is_made_readable() -> None:
    line = (
        '{"time": "2026-01-02T03:04:05.678+00:00", "level": "info", "role": "cf", '
        '"message": "serving", "address": "127.0.0.1:50051", "config": {"a": 1}}'
    )
    assert readable_line("cf", line).plain == (
        "      cf 03:04:05.678 serving address=127.0.0.1:50051"
    )
    assert message(line) == "serving"


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "{not json", "[1]", ""])
def test_a_line_that_is_no_json_stays_as_it_is(line: str) -> None:
    assert readable_line("cf", line).plain == f"      cf {line}"
    assert message(line) == line
    assert json.loads(json_line("cf", line))["role"] == "cf"
    assert json.loads(json_line("cf", line))["message"] == line


def test_a_structured_log_line_stays_as_it_is_for_machines() -> None:
    line = '{"level": "info", "message": "serving"}'
    assert json_line("cf", line) == line


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("nohup", [False, True])
def test_the_end_of_a_terminal_is_a_reason_to_stop_but_under_nohup(
    repository: Path, nohup: bool
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    stop = _on_signals(Fleet(plan(Wishes(repository=repository), {})))
    signal.raise_signal(signal.SIGHUP)
    assert stop.is_set() is not nohup
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_set()


def test_one_process_needs_and_loads_the_models_that_are_asked_and_no_others(
    repository: Path,
) -> None:
    shutil.rmtree(repository / "text")
    sources = {
        "PLAIT_GATEWAY_SOURCES": "cf=127.0.0.1:1,content=127.0.0.1:2",
        "PLAIT_GATEWAY_ITEM_ENCODERS": "content",
    }
    config = plan(Wishes(repository=repository, embedded=True), sources)
    made = {**sources, **child_environment(config)}
    asked = load(GatewayConfig, "gateway", made).addresses()
    assert list(embedded.links(made, asked)) == ["cf", "content"]
    assert not config.untrained  # nobody asks for text here
