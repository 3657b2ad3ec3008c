"""Which processes make up Plait, and where each of them listens.

Five processes: four model services and the gateway that asks them. This file is
the only place in the command line that knows their modules and usual ports.
"""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from cli.failures import UserError
from services.runtime.ports import bare_host, joined

SOURCES = ("cf", "content", "sequence", "text")
GATEWAY = "gateway"
# What the gateway itself reads from the model repository.
FUSION = "fusion"
NAMES = (GATEWAY, *SOURCES)
# The gateway's health name that says whether its state file takes what it is told (gateway/app.py).
STORE = "store"
# Runs the gateway with the four models inside.
EMBEDDED = ("-m", "cli.embedded")
# A gateway that waits for a processor keeps all callers waiting, refused ones too; a model
# that waits has a fuller batch afterwards.
MODELS_NICENESS = 5
BASE_PORT = 50050
METRICS_BASE_PORT = 9150
HOST = "127.0.0.1"
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One process and its two listening ports."""

    name: str
    host: str
    port: int
    metrics_port: int
    # Arguments of the Python that runs it; empty: the process of that name in this release.
    program: tuple[str, ...] = ()
    # Unix sockets at which it answers too, one for each worker; the gateway prefers them.
    sockets: tuple[str, ...] = ()

    @property
    def dialled(self) -> str:
        """Return the address, or several, under which the gateway asks it."""
        return "|".join(self.doors) or self.address

    @property
    def doors(self) -> tuple[str, ...]:
        """Return its Unix sockets as a gateway asks them."""
        return tuple(f"unix:{path}" for path in self.sockets)

    @property
    def address(self) -> str:
        """Return HOST:PORT of the gRPC server, as a client dials it."""
        return joined(_dialled(self.host), self.port)

    @property
    def niceness(self) -> int:
        """Return how far it stands back where processors are short (docs/decisions/0010)."""
        return 0 if self.name == GATEWAY else MODELS_NICENESS

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of the Python that runs it."""
        module = GATEWAY if self.name == GATEWAY else f"services.{self.name}"
        return self.program or ("-m", module)


@dataclass(frozen=True, slots=True)
class Topology:
    """Where everything listens."""

    gateway: Endpoint
    sources: tuple[Endpoint, ...]

    @property
    def all(self) -> tuple[Endpoint, ...]:
        """Return all processes, the gateway first."""
        return (self.gateway, *self.sources)

    def find(self, name: str) -> Endpoint:
        """Return the process of a name; raises KeyError."""
        return {endpoint.name: endpoint for endpoint in self.all}[name]


def usual(base_port: int = BASE_PORT, metrics_base_port: int = METRICS_BASE_PORT) -> Topology:
    """Return consecutive ports from two bases: gateway, cf, content, sequence, text."""
    ends = [
        Endpoint(name, HOST, base_port + i, metrics_base_port + i) for i, name in enumerate(NAMES)
    ]
    return Topology(ends[0], tuple(ends[1:]))


def on_free_ports() -> Topology:
    """Return a topology of ports that were free a moment ago."""
    ports = _free_ports(2 * len(NAMES))
    ends = [Endpoint(n, HOST, ports[2 * i], ports[2 * i + 1]) for i, n in enumerate(NAMES)]
    return Topology(ends[0], tuple(ends[1:]))


def moved(endpoint: Endpoint, port: int | None, metrics_port: int | None) -> Endpoint:
    """Return an endpoint on other ports; None keeps the port."""
    return replace(
        endpoint,
        port=endpoint.port if port is None else port,
        metrics_port=endpoint.metrics_port if metrics_port is None else metrics_port,
    )


def taken_ports(topology: Topology) -> list[tuple[str, str, int]]:
    """Return (process, host, port) of every port that is taken, or wanted twice."""
    wanted = [(e.name, e.host, p) for e in topology.all for p in (e.port, e.metrics_port)]
    taken = []
    with ExitStack() as held:
        for name, host, port in wanted:
            try:
                held.enter_context(_bound(host, port))
            except OSError:
                taken.append((name, host, port))
    return taken


def check_ports(topology: Topology) -> None:
    """Raise UserError naming the ports that cannot be used."""
    for end in topology.all:
        for port in (end.port, end.metrics_port):
            _check_allowed(end, port)
    taken = taken_ports(topology)
    if taken:
        listed = ", ".join(f"{port} ({name})" for name, _, port in taken)
        raise UserError(
            f"Port in use on {taken[0][1]}: {listed}. Stop what listens there (is another "
            "`plait up` running?), or choose others with --base-port and --metrics-base-port"
        )


def _check_allowed(end: Endpoint, port: int) -> None:
    """Raise UserError where a port can't be had for another reason than that somebody has it."""
    if not 0 < port <= _LAST_PORT:
        raise UserError(f"{end.name}: {port} is no port: ports are 1 to {_LAST_PORT}")
    try:
        _bound(end.host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UserError(
                f"{end.name} cannot listen at {joined(end.host, port)}: {error.strerror}"
            ) from None


def _bound(host: str, port: int) -> socket.socket:
    """Bind a port without sharing it; raises OSError where somebody has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port in TIME_WAIT after a restart is free to a server.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((bare_host(host), port))
        # Two sockets with SO_REUSEADDR may be bound to one port until one listens.
        made.listen(1)
    except OSError:
        made.close()
        raise
    return made


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(_bound(HOST, 0)) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def _dialled(host: str) -> str:
    """Return the address under which a listener on `host` is reached from here."""
    return {"0.0.0.0": HOST, "[::]": HOST, "::": HOST}.get(host, host)  # noqa: S104
