"""`plait models`: every process at a glance, with versions, health and latency."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from rich.markup import escape

from cli.failures import UserError
from cli.health import Health, health
from cli.options import example
from cli.output import console, milliseconds, print_json, table
from cli.scrape import MODEL_INFER, Scrape, scrape
from cli.topology import BASE_PORT, GATEWAY, METRICS_BASE_PORT, Endpoint, usual


@dataclass(frozen=True, slots=True)
class Status:
    """What one process says about itself; None where its metrics cannot be read."""

    name: str
    address: str
    health: Health
    versions: tuple[str, ...]
    requests: int | None
    p50_seconds: float | None
    p99_seconds: float | None


@click.command(
    epilog=example("plait models", "plait models --at cf=10.0.0.7:50051/9151 --json"),
)
@click.option("--base-port", default=BASE_PORT, show_default=True, help="Port of the gateway.")
@click.option(
    "--metrics-base-port",
    default=METRICS_BASE_PORT,
    show_default=True,
    help="Metrics port of the gateway.",
)
@click.option(
    "--at",
    "places",
    multiple=True,
    metavar="NAME=HOST:PORT/METRICS_PORT",
    help="Where one process is, if not beside the gateway.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")
def models_command(
    base_port: int, metrics_base_port: int, places: Sequence[str], *, as_json: bool
) -> None:
    """Show the gateway and each model: versions, health, requests, latency."""
    endpoints = {e.name: e for e in usual(base_port, metrics_base_port).all}
    for text in places:
        endpoint = _place(text)
        endpoints[endpoint.name] = endpoint
    statuses = [status(endpoint) for endpoint in endpoints.values()]
    if as_json:
        print_json([asdict(s) for s in statuses])
    else:
        _show(statuses)
    if all(s.health == "down" for s in statuses):
        where = endpoints[GATEWAY].address
        raise UserError(
            f"Nothing answers, neither the gateway at {where} nor a model: start them: `plait up`"
        )


def status(endpoint: Endpoint) -> Status:
    """Ask one process for its health and read its metrics; never raises for a dead one."""
    state = health(endpoint.address)
    try:
        seen = scrape(endpoint.address.rpartition(":")[0], endpoint.metrics_port)
    except OSError:
        return Status(endpoint.name, endpoint.address, state, (), None, None, None)
    latency = (
        seen.histogram("plait_recommend_seconds")
        if endpoint.name == GATEWAY
        else seen.histogram("plait_request_seconds", method=MODEL_INFER)
    )
    return Status(
        endpoint.name, endpoint.address, state, _versions(endpoint, seen),
        int(latency.count), latency.quantile(0.5), latency.quantile(0.99),
    )  # fmt: skip


def _versions(endpoint: Endpoint, seen: Scrape) -> tuple[str, ...]:
    if endpoint.name == GATEWAY:
        return seen.values("plait_build_info", "release")
    return seen.values("plait_model_info", "version")


def _show(statuses: Sequence[Status]) -> None:
    made = table("Process", "Address", "Health", "Version", ">Requests", ">p50 ms", ">p99 ms")
    styles = {"serving": "green", "not serving": "yellow", "down": "red"}
    for s in statuses:
        made.add_row(
            s.name,
            escape(s.address),
            f"[{styles[s.health]}]{s.health}[/]",
            ", ".join(s.versions) or "-",
            "-" if s.requests is None else str(s.requests),
            milliseconds(s.p50_seconds),
            milliseconds(s.p99_seconds),
        )
    console().print(made)


def _place(text: str) -> Endpoint:
    name, _, rest = text.partition("=")
    address, _, metrics = rest.partition("/")
    host, _, port = address.rpartition(":")
    if not (name and host and port.isdecimal() and metrics.isdecimal()):
        raise click.BadParameter(
            f"{text!r} is not NAME=HOST:PORT/METRICS_PORT, for example cf=10.0.0.7:50051/9151"
        )
    return Endpoint(name, host, int(port), int(metrics))
