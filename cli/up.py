"""`plait up`: the five processes in the foreground, one log, one clean stop."""

import importlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from artifacts.errors import ArtifactMissing
from artifacts.layout import find, versions
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.fleet_options import words_for
from cli.loglines import json_line, readable_line
from cli.options import example
from cli.output import console
from cli.processes import SUPERVISOR, Fleet
from cli.topology import EMBEDDED, FUSION, GATEWAY, HOST, NAMES, SOURCES, Endpoint, Topology, usual
from cli.writable import check_directory
from gateway.config import GatewayConfig
from services.runtime.config import load
from services.runtime.service import ServiceConfig
from services.runtime.workers.place import own_socket

# Seconds a process gets to end beyond what its settings let it take for draining and calls; a
# parent of workers needs five of them.
STOP_BEYOND = 8.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says; None leaves it to file, environment and defaults."""

    repository: Path | None = None
    state: Path | None = None
    base_port: int | None = None
    metrics_base_port: int | None = None
    config: Path | None = None
    workers: int | None = None
    embedded: bool = False


@click.command(
    epilog=example(
        "plait up",
        "plait up --embedded",
        "plait up --base-port 60050 --metrics-base-port 9250",
        "PLAIT_TEXT_PORT=50099 plait up --config plait.toml",
        "PLAIT_TEXT_WORKERS=2 plait up",
    )
)
@click.option("--repository", type=click.Path(path_type=Path), help="Models  [var/models]")
@click.option(
    "--state", type=click.Path(path_type=Path, dir_okay=False), help="Store  [var/state.sqlite]"
)
@click.option("--base-port", type=int, help="Gateway; the models follow  [50050]")
@click.option("--metrics-base-port", type=int, help="Metrics, in the same order  [9150]")
@click.option("--workers", type=int, help="Processes for each model service  [1]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML with a table per process; PLAIT_<PROCESS>_<SETTING> goes before it.",
)
@click.option("--embedded", is_flag=True, help="One process: the models inside the gateway.")
@click.option("--json", "as_json", is_flag=True, help="Pass the log on as it is: JSON lines.")
def up_command(*, as_json: bool, **wishes: Path | int | None) -> None:
    """Start four model services and the gateway; stop them on Ctrl-C.

    Models that the gateway's setting `sources` leaves out, or has elsewhere, are not started.
    With --embedded it is one process that gives the same answers: for small shops.
    A process that dies is started again. Ctrl-C lets the gateway finish first,
    then the models; a second Ctrl-C kills what is left.
    """
    out = console()
    with tempfile.TemporaryDirectory(prefix="plait-up-") as sockets:
        config = plan(Wishes(**wishes), os.environ, Path(sockets))  # type: ignore[arg-type]
        if config.state is not None:  # the gateway, which would say so, starts last
            check_directory(config.state.resolve().parent)
        _run(out, config, as_json=as_json)


def _run(out: Console, config: FleetConfig, *, as_json: bool) -> None:
    fleet = Fleet(config, lambda name, line: _write(out, name, line, as_json=as_json))
    stop = _on_signals(fleet)
    _note_empty_state(out, config, as_json=as_json)
    for line in _left_out(config):
        _write(out, SUPERVISOR, line, as_json=as_json)
    try:
        fleet.start()
        _write(out, SUPERVISOR, _ready(config.topology), as_json=as_json)
        stop.wait()
        _write(out, SUPERVISOR, "stopping: the gateway first, then the models", as_json=as_json)
    finally:
        fleet.stop()
    _write(out, SUPERVISOR, "stopped, nothing is left running", as_json=as_json)


def plan(wishes: Wishes, environ: Mapping[str, str], sockets: Path) -> FleetConfig:
    """Work out where everything will listen, the way each process would; check the artifacts.

    `sockets` is a directory for the Unix sockets of workers. Raises ConfigError or UserError.
    """
    given = dict(environ)
    if wishes.config is not None:
        given["PLAIT_CONFIG"] = str(wishes.config)
    if wishes.repository is not None:
        given.update({f"PLAIT_{n.upper()}_REPOSITORY": str(wishes.repository) for n in NAMES})
    if wishes.state is not None:
        given["PLAIT_GATEWAY_STATE"] = str(wishes.state)
    if wishes.workers is not None:
        given.update({f"PLAIT_{n.upper()}_WORKERS": str(wishes.workers) for n in SOURCES})
    gateway = load(GatewayConfig, GATEWAY, given)
    asked = gateway.addresses()
    sources = {name: load(_config_class(name), name, given) for name in SOURCES}
    for name, config in sources.items():
        if config.workers > 1 and config.socket is None:
            # A port is shared by connections, and the gateway has one: it needs all their doors.
            sources[name] = replace(config, socket=sockets / name)
            given[f"PLAIT_{name.upper()}_SOCKET"] = str(sockets / name)
    ends = _ends(wishes, gateway, sources)
    # An address means nothing to a gateway that has the model inside.
    others = {name: at for name, at in asked.items() if name not in SOURCES}
    if not wishes.embedded:
        others |= _elsewhere(asked, sources, ends)
    needed = {n: c for n, c in sources.items() if n in asked and n not in others}
    untrained = _untrained(gateway, needed)
    ends = [e for e in ends if e.name == GATEWAY or (e.name in needed and e.name not in untrained)]
    given |= _beside(wishes.state, gateway) | _without(untrained, gateway, wishes)
    settings = {k: v for k, v in given.items() if environ.get(k) != v}
    topology = Topology(ends[0], tuple(ends[1:]))
    if wishes.embedded and wishes.workers is not None:
        raise UserError("--workers is for model services, and with --embedded there are none")
    if wishes.embedded:
        topology = Topology(replace(ends[0], program=EMBEDDED), ())
    longest = max(c.drain_seconds + c.grace_seconds for c in (gateway, *sources.values()))
    return FleetConfig(
        None, gateway.state, topology, others, settings,
        untrained=untrained, unasked=tuple(n for n in SOURCES if n not in asked),
        stop_seconds=longest + STOP_BEYOND,
    )  # fmt: skip


def _untrained(gateway: GatewayConfig, sources: Mapping[str, ServiceConfig]) -> tuple[str, ...]:
    """Return the sources without any artifact: training leaves out what the data teach nothing.

    Raises UserError where none has one, where a version that is named is not there, and where
    the gateway's own is not.
    """
    try:
        none = tuple(
            name
            for name, config in sources.items()
            if config.version is None and not versions(config.repository, name)
        )
        for name, config in sources.items():
            if name not in none or len(none) == len(sources):
                find(config.repository, name, config.version)
        find(gateway.repository, FUSION, gateway.version)
    except ArtifactMissing as error:
        raise UserError(f"{error}; `make train` makes all of them for the demo data") from None
    return none


def _without(untrained: tuple[str, ...], gateway: GatewayConfig, wishes: Wishes) -> dict[str, str]:
    """Return what the gateway must be told to do without some of its sources."""
    if not untrained:
        return {}
    encoders = [name for name in gateway.encoders() if name not in untrained]
    told = {"PLAIT_GATEWAY_ITEM_ENCODERS": ",".join(encoders)}
    if wishes.embedded:  # else the topology says which there are
        there = (f"{n}={at}" for n, at in gateway.addresses().items() if n not in untrained)
        told["PLAIT_GATEWAY_SOURCES"] = ",".join(there)
    return told


def _ends(
    wishes: Wishes, gateway: GatewayConfig, sources: Mapping[str, ServiceConfig]
) -> list[Endpoint]:
    """Return where each process listens, the gateway first."""
    ends = [Endpoint(GATEWAY, gateway.host, gateway.port, gateway.metrics_port)]
    ends += [
        Endpoint(n, c.host, c.port, c.metrics_port, sockets=_doors(c)) for n, c in sources.items()
    ]
    moved = usual(wishes.base_port or 0, wishes.metrics_base_port or 0).all
    return [
        replace(
            e,
            port=m.port if wishes.base_port is not None else e.port,
            metrics_port=m.metrics_port if wishes.metrics_base_port is not None else e.metrics_port,
        )
        for e, m in zip(ends, moved, strict=True)
    ]


def _beside(state: Path | None, gateway: GatewayConfig) -> dict[str, str]:
    """Return where what is shown is noted: beside another store too, or two would write one log."""
    usual_log = GatewayConfig.exposure_log
    if state is None or usual_log is None or gateway.exposure_log != usual_log:
        return {}
    return {"PLAIT_GATEWAY_EXPOSURE_LOG": str(state.with_name(usual_log.name))}


def _elsewhere(
    asked: Mapping[str, str], sources: Mapping[str, ServiceConfig], ends: Sequence[Endpoint]
) -> dict[str, str]:
    """Return the models that the gateway asks at another place than the process of its name here.

    Its place is where it listens, with and without --base-port, or what is set for all who set
    nothing else.
    """
    usual_places = GatewayConfig().addresses()
    found = {}
    for end in ends[1:]:
        unmoved = replace(end, port=sources[end.name].port)
        own = {end.address, unmoved.address, usual_places[end.name], *end.doors}
        if end.name in asked and not own & {_local(at) for at in asked[end.name].split("|")}:
            found[end.name] = asked[end.name]
    return found


def _local(address: str) -> str:
    name, colon, port = address.strip().rpartition(":")
    return f"{HOST if name == 'localhost' else name}{colon}{port}"


def _doors(config: ServiceConfig) -> tuple[str, ...]:
    if config.socket is None:
        return ()
    if config.workers == 1:
        return (str(config.socket),)
    return tuple(str(own_socket(config.socket, number)) for number in range(config.workers))


def _config_class(name: str) -> type[ServiceConfig]:
    found: type[ServiceConfig] = importlib.import_module(f"services.{name}.server").Config
    return found


def _on_signals(fleet: Fleet) -> threading.Event:
    """Have the first signal end the wait, and the second everything at once."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            fleet.kill_all()
        stop.set()
        fleet.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    # Under nohup the end of the terminal is not to be heard of.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_signal)
    return stop


def _note_empty_state(out: Console, config: FleetConfig, *, as_json: bool) -> None:
    if config.state is not None and not config.state.exists():
        line = f"{config.state} does not exist: the catalogue is empty until `plait seed DATASET`"
        _write(out, SUPERVISOR, line, as_json=as_json)


def _left_out(config: FleetConfig) -> Iterator[str]:
    """Say which models are not started, and why."""
    for name in config.untrained:
        yield f"{name} is left out: there is no model of it; `plait train` says why it makes none"
    if config.unasked:
        names = ", ".join(config.unasked)
        yield f"not started, as the gateway's setting `sources` leaves them out: {names}"
    for name in SOURCES:
        if name in config.other_sources:
            yield f"{name} is not started: the gateway asks it at {config.other_sources[name]}"


def _ready(topology: Topology) -> str:
    look = " ".join(["plait models", *words_for(topology)])
    return (
        f"up: gateway at {topology.gateway.address}, metrics at port "
        f"{topology.gateway.metrics_port}; try `{look}`; Ctrl-C stops everything"
    )


def _write(out: Console, name: str, line: str, *, as_json: bool) -> None:
    if as_json:
        out.out(json_line(name, line), highlight=False)
    else:
        out.print(readable_line(name, line), soft_wrap=True)
