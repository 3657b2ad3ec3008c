"""Options that say where the processes of a running Plait are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from cli.options import together
from cli.topology import BASE_PORT, METRICS_BASE_PORT, Endpoint, Topology, usual
from services.runtime.ports import bare_host

F = TypeVar("F", bound=Callable[..., Any])
_PORTS = click.IntRange(1, 65_535)


def fleet_options(function: F) -> F:
    """Add --base-port, --metrics-base-port, --at and --json."""
    return together(
        click.option(
            "--base-port", default=BASE_PORT, show_default=True, type=_PORTS,
            help="Port of the gateway.",
        ),
        click.option(
            "--metrics-base-port", default=METRICS_BASE_PORT, show_default=True, type=_PORTS,
            help="Metrics port of the gateway.",
        ),
        click.option(
            "--at", "places", multiple=True, metavar="NAME=HOST:PORT/METRICS_PORT",
            help="Where a process is, if not beside the gateway; several replicas: several times.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines."),
    )(function)  # fmt: skip


def endpoints(base_port: int, metrics_base_port: int, places: Sequence[str]) -> list[Endpoint]:
    """Return every process, the gateway first; raises click.BadParameter for a bad --at."""
    named = [_place(text) for text in places]
    moved = {end.name for end in named}
    return [e for e in usual(base_port, metrics_base_port).all if e.name not in moved] + named


def words_for(topology: Topology) -> list[str]:
    """Return what `plait models` must be told to find these processes: what is not as usual."""
    port, metrics_port = topology.gateway.port, topology.gateway.metrics_port
    words = _port_words(port, metrics_port)
    expected = usual(port, metrics_port)
    for end in topology.all:
        there = expected.find(end.name)
        if (end.address, end.metrics_port) != (there.address, there.metrics_port):
            words.append(f"--at {end.name}={end.address}/{end.metrics_port}")
    return words


def repeated(options: Mapping[str, Any]) -> str:
    """Return the words that name the fleet of these options again, behind another command."""
    words = _port_words(options["base_port"], options["metrics_base_port"])
    words += [f"--at {place}" for place in options["places"]]
    return "".join(f" {word}" for word in words)


def _port_words(port: int, metrics_port: int) -> list[str]:
    words = [] if port == BASE_PORT else [f"--base-port {port}"]
    if metrics_port != METRICS_BASE_PORT:
        words.append(f"--metrics-base-port {metrics_port}")
    return words


def _place(text: str) -> Endpoint:
    name, _, rest = text.partition("=")
    address, _, metrics = rest.partition("/")
    host, _, port = address.rpartition(":")
    if not (name and host and _is_port(port) and _is_port(metrics)):
        raise click.BadParameter(
            f"{text!r} is not NAME=HOST:PORT/METRICS_PORT, for example cf=10.0.0.7:50051/9151"
        )
    return Endpoint(name, bare_host(host), int(port), int(metrics))


def _is_port(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 65_535
