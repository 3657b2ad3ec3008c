"""`plait models`: every process at a glance, and the life of a model version."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import click
from click.core import ParameterSource
from rich.text import Text

from cli import rollout
from cli.failures import UserError
from cli.fleet_options import endpoints, fleet_options
from cli.health import Health, health
from cli.options import example
from cli.output import console, milliseconds, print_json, table
from cli.scrape import Scrape, answering, scrape
from cli.topology import FUSION, GATEWAY, Endpoint


@dataclass(frozen=True, slots=True)
class Arm:
    """One version of a source that has a canary, as the gateway sees it."""

    source: str
    version: str
    # Percent of the shoppers; None: the rest.
    share: float | None
    answers: int
    failures: int
    fallbacks: int
    p50_seconds: float | None
    p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """What one process says about itself; None where its metrics cannot be read."""

    name: str
    address: str
    # "left out": nothing answers, and the gateway is not set to ask it.
    health: Health | Literal["left out"]
    # Of a model service: the default version; of the gateway: its release and its fusion.
    versions: tuple[str, ...]
    # Versions that answer whoever names them.
    beside: tuple[str, ...]
    requests: int | None
    p50_seconds: float | None
    p99_seconds: float | None
    # Of a source: its servers by state, as the gateway sees them; "closed" is in use.
    replicas: Mapping[str, int] = field(default_factory=dict)
    # While a share of the shoppers is answered by another version: each version.
    canary: tuple[Arm, ...] = ()


@click.group(
    invoke_without_command=True,
    epilog=example(
        "plait models",
        "plait models load cf 2",
        "plait models canary cf 2 --share 10",
        "plait models promote cf",
        "plait models rollback cf",
    ),
)
@fleet_options
@click.pass_context
def models_command(
    ctx: click.Context,
    base_port: int,
    metrics_base_port: int,
    places: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Show the gateway and each model: versions, health, requests, latency.

    The commands below change which versions serve, and whom.
    """
    if ctx.invoked_subcommand is not None:
        # What is said before the command holds for it: it must not act on another fleet.
        said = {name: value for name, value in ctx.params.items() if _said(ctx, name)}
        ctx.default_map = {command.name or "": said for command in rollout.COMMANDS}
        return
    ends = endpoints(base_port, metrics_base_port, places)
    scrapes = {end: _scrape(end) for end in ends}
    statuses = [status(end, seen) for end, seen in scrapes.items()]
    for gateway, seen in zip(statuses, scrapes.values(), strict=True):
        if gateway.name == GATEWAY and seen is not None:
            statuses = [_as_seen(s, gateway, seen) for s in statuses]
    asked = [
        sources(seen)
        for gateway, seen in zip(statuses, scrapes.values(), strict=True)
        if gateway.name == GATEWAY and gateway.health == "serving" and seen is not None
    ]
    if asked:
        statuses = left_out(statuses, frozenset[str]().union(*asked))
    if as_json:
        print_json([asdict(s) for s in statuses])
    else:
        _show(statuses)
        _compare([arm for s in statuses for arm in s.canary])
        _say_left_out([s.name for s in statuses if s.health == "left out"])
        _say_unread(unread(statuses))
    if all(s.health == "down" for s in statuses):
        where = next(e.address for e in ends if e.name == GATEWAY)
        raise UserError(
            f"Nothing answers, neither the gateway at {where} nor a model: start them: `plait up`"
        )


def _said(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


for _command in rollout.COMMANDS:
    models_command.add_command(_command)


def _scrape(endpoint: Endpoint) -> Scrape | None:
    try:
        return scrape(endpoint.address.rpartition(":")[0], endpoint.metrics_port)
    except OSError:
        return None


def status(endpoint: Endpoint, seen: Scrape | None) -> Status:
    """Ask one process for its health and read its metrics; never raises for a dead one."""
    state = health(endpoint.address)
    if seen is None:
        return Status(endpoint.name, endpoint.address, state, (), (), None, None, None)
    latency = (
        seen.histogram("plait_recommend_seconds") if endpoint.name == GATEWAY else answering(seen)
    )
    shown = versions(seen, endpoint.name)
    if endpoint.name == GATEWAY:
        fusion = (f"{FUSION} {version}" for version in versions(seen, FUSION))
        shown = (*seen.values("plait_build_info", "release"), *fusion)
    return Status(
        endpoint.name, endpoint.address, state, shown, versions(seen, endpoint.name, "beside"),
        int(latency.count), latency.quantile(0.5), latency.quantile(0.99),
    )  # fmt: skip


def versions(seen: Scrape, source: str, role: str = "default") -> tuple[str, ...]:
    """Return the versions of a source that a process serves."""
    return seen.values("plait_model_info", "version", source=source, role=role)


def _as_seen(status: Status, gateway: Status, seen: Scrape) -> Status:
    """Add to a source what the gateway says of it."""
    return replace(
        within(status, gateway, seen),
        replicas=replicas(seen, status.name),
        canary=tuple(arm for arm in arms(seen) if arm.source == status.name),
    )


def within(status: Status, gateway: Status, seen: Scrape) -> Status:
    """Return a source as the gateway it is a part of has it (`plait up --embedded`), if it is."""
    inside = versions(seen, status.name)
    if not inside or status.health != "down":
        return status
    answered = seen.histogram("plait_source_seconds", source=status.name, outcome="ok")
    return Status(
        status.name, gateway.address, gateway.health, inside, versions(seen, status.name, "beside"),
        int(answered.count), answered.quantile(0.5), answered.quantile(0.99),
    )  # fmt: skip


def replicas(seen: Scrape, source: str) -> dict[str, int]:
    """Return how many servers of a source are in each state, from the gateway's metrics."""
    return {
        s.labels["state"]: int(s.value)
        for s in seen.samples
        if s.name == "plait_replicas" and s.labels["source"] == source and s.value
    }


def sources(seen: Scrape) -> frozenset[str]:
    """Return the sources that a gateway asks, or has inside, from its metrics."""
    named = ("plait_breaker_changes_total", "plait_model_info")
    return frozenset(s.labels["source"] for s in seen.samples if s.name in named)


def left_out(statuses: Sequence[Status], asked: frozenset[str]) -> list[Status]:
    """Tell models that no gateway asks from those that are down."""
    return [
        replace(s, health="left out")
        if s.health == "down" and s.name != GATEWAY and s.name not in asked
        else s
        for s in statuses
    ]


def arms(seen: Scrape) -> list[Arm]:
    """Return the versions of each source that has a canary, from the gateway's metrics."""
    shares = {
        (s.labels["source"], s.labels["version"]): 100 * s.value
        for s in seen.samples
        if s.name == "plait_canary_share_ratio"
    }
    return [
        _arm(seen, source, version, shares)
        for source, canary in shares
        # A canary that has answered nobody yet is there all the same.
        for version in dict.fromkeys(
            (*seen.values("plait_source_seconds_count", "version", source=source), canary)
        )
        if version
    ]


def _arm(seen: Scrape, source: str, version: str, shares: Mapping[tuple[str, str], float]) -> Arm:
    which = {"source": source, "version": version}
    answered = seen.histogram("plait_source_seconds", **which, outcome="ok")
    return Arm(
        source, version, shares.get((source, version)), int(answered.count),
        int(seen.sum("plait_source_seconds_count", **which) - answered.count),
        int(seen.sum("plait_canary_fallbacks_total", **which)),
        answered.quantile(0.5), answered.quantile(0.99),
    )  # fmt: skip


def _show(statuses: Sequence[Status]) -> None:
    made = table(
        "Process", "Address", "Health", "Version", "In use", ">Requests", ">p50 ms", ">p99 ms"
    )
    styles = {"serving": "green", "not serving": "yellow", "down": "red", "left out": "dim"}
    for s in statuses:
        made.add_row(
            s.name,
            s.address,
            Text(s.health, style=styles[s.health]),
            _versions(s),
            in_use(s.replicas),
            "-" if s.requests is None else str(s.requests),
            milliseconds(s.p50_seconds),
            milliseconds(s.p99_seconds),
        )
    console().print(made)


def _say_left_out(names: Sequence[str]) -> None:
    if names:
        console().print(
            f"The gateway does not ask: {', '.join(names)}. `plait up` leaves out what its setting "
            "`sources` does, and what there is no model of; `plait train` says why it makes none",
            soft_wrap=True,
        )


def unread(statuses: Sequence[Status]) -> list[str]:
    """Return the processes that answer, and whose metrics cannot be read."""
    return [s.name for s in statuses if s.health not in {"down", "left out"} and s.requests is None]


def _say_unread(names: Sequence[str]) -> None:
    if names:
        where = "say where they are with --metrics-base-port or --at"
        console().print(f"No metrics to be read: {', '.join(names)}; {where}", soft_wrap=True)


def _versions(status: Status) -> str:
    default = ", ".join(status.versions) or "-"
    return f"{default} (+ {', '.join(status.beside)})" if status.beside else default


def in_use(replicas: Mapping[str, int]) -> str:
    """Say how many of a source's servers the gateway uses, and what is with the others."""
    if not replicas:
        return "-"
    others = [
        f"{n} {state.replace('_', ' ')}" for state, n in replicas.items() if state != "closed"
    ]
    used = f"{replicas.get('closed', 0)} of {sum(replicas.values())}"
    return f"{used} ({', '.join(others)})" if others else used


def _compare(compared: Sequence[Arm]) -> None:
    if not compared:
        return
    made = table(
        "Source", "Version", "Shoppers", ">Answers", ">Failed", ">Fell back", ">p50 ms", ">p99 ms",
        title="Canaries, since the gateway started",
    )  # fmt: skip
    for a in compared:
        made.add_row(
            a.source,
            a.version,
            "the others" if a.share is None else f"{a.share:g} %",
            str(a.answers),
            str(a.failures),
            str(a.fallbacks),
            milliseconds(a.p50_seconds),
            milliseconds(a.p99_seconds),
        )
    console().print(made)
