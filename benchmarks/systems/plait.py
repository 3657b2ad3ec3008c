"""Plait itself: its own four services and its own gateway, as `plait up` starts them.

Further gateways with other settings can stand beside the first and ask the same
four services: one row of the table each, comparable because nothing else differs.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.job import CANDIDATES, HISTORY
from benchmarks.job.publish import MERGE_ONLY, MERGE_SHARED, SHARED, WHOLE
from benchmarks.job.wire import RECOMMEND
from benchmarks.systems.process import NotAvailable
from benchmarks.systems.system import Door
from benchmarks.versions import Version
from cli.child import Child
from cli.fleet_config import FleetConfig, child_environment
from cli.health import health
from cli.processes import Fleet, quiet
from cli.topology import EMBEDDED, GATEWAY, SOURCES, Endpoint, Topology, on_free_ports

# As the peers do it: the best 100 of each, the shared merge, no deadline, nothing written
# beside the answer. Metrics are on, as always.
JOB = {
    "VERSION": str(MERGE_ONLY),
    "CANDIDATES": str(CANDIDATES),
    "MAX_DEADLINE_MS": "8000",
    "EXPOSURE_LOG": "",
}
# Every stage on, every setting at its default but the deadline: callers of a closed loop
# ask again at once, so refusals would only make them ask more often. What refusing is for
# is measured by benchmarks/overload.py.
DEFAULTS = {"VERSION": str(WHOLE), "MAX_DEADLINE_MS": JOB["MAX_DEADLINE_MS"]}

# The graphs that the other systems serve, in place of what Plait's trainers export.
AS_THE_OTHERS = Version(
    "the others' graphs",
    {f"PLAIT_{s.upper()}_VERSION": str(SHARED) for s in SOURCES}
    | {"PLAIT_GATEWAY_VERSION": str(MERGE_SHARED)},
)


class Plait:
    """Five processes."""

    name = "Plait"
    label = "first"
    resident = True

    def __init__(
        self, repository: Path, state: Path, work: Path, version: Version | None = None
    ) -> None:
        """`state` is copied for each gateway into `work`: one gateway, one file.

        `version`: another checkout or other settings, to be measured beside this one.
        """
        self._environment: Mapping[str, str] = {}
        if version is not None:
            self.name = f"{self.name}, {version.name}"
            self.label = f"version-{version.name}"
            self._environment = version.environment
        self._repository = repository
        self._state = state
        self._work = work
        self._fleet: Fleet | None = None

    def start(self) -> Door:
        """Start the fleet; raises UserError."""
        config = FleetConfig(
            repository=self._repository,
            state=self.own_state(self.label),
            topology=self.topology(),
            settings={**gateway_settings(JOB), **self._environment},
            restart=False,
        )
        self._fleet = Fleet(config)
        self._fleet.start()
        return Door("grpc", config.topology.gateway.address, RECOMMEND, "shopper")

    def topology(self) -> Topology:
        """Return where the processes listen, and what runs there."""
        return on_free_ports()

    def processes(self) -> Mapping[str, int]:
        """Return the gateway and the four services."""
        fleet = self.fleet
        return {name: fleet.pid(name) for name in (GATEWAY, *SOURCES)}

    def stop(self) -> None:
        """Stop the fleet."""
        if self._fleet is not None:
            self._fleet.stop()
            self._fleet = None

    @property
    def fleet(self) -> Fleet:
        """Return the running fleet."""
        if self._fleet is None:
            raise NotAvailable("Plait itself is not up")
        return self._fleet

    def own_state(self, name: str) -> Path:
        """Return a copy of the state for one gateway."""
        path = self._work / f"state-{name}.sqlite"
        path.write_bytes(self._state.read_bytes())
        return path


class Unmetered(Plait):
    """The same five processes with metrics that count nothing (benchmarks/unmetered.py)."""

    name = "metrics off"
    label = "unmetered"

    def topology(self) -> Topology:
        """Return free ports, and what to run there."""
        free = on_free_ports()
        gateway, *sources = (
            replace(end, program=("-m", "benchmarks.unmetered", *end.arguments[1:]))
            for end in free.all
        )
        return Topology(gateway, tuple(sources))


class Embedded(Plait):
    """The gateway with the four models in its own process, as `plait up --embedded` starts it."""

    name = "Plait, embedded"
    label = "embedded"

    def topology(self) -> Topology:
        """Return where the one process listens."""
        return Topology(replace(on_free_ports().gateway, program=EMBEDDED), ())

    def processes(self) -> Mapping[str, int]:
        """Return the one process."""
        return {GATEWAY: self.fleet.pid(GATEWAY)}


class Through:
    """Plait's running gateway, asked in other words or for other shoppers."""

    resident = True

    def __init__(
        self, name: str, plait: Plait, *, codec: str = "shopper", length: int = HISTORY
    ) -> None:
        self.name = name
        self._plait = plait
        self._codec = codec
        self._length = length

    def start(self) -> Door:
        """Return the other door; the gateway runs already, or this raises NotAvailable."""
        address = self._plait.fleet.topology.gateway.address
        return Door("grpc", address, RECOMMEND, self._codec, self._length)

    def processes(self) -> Mapping[str, int]:
        """Return those of Plait."""
        return self._plait.processes()

    def stop(self) -> None:
        """Leave the gateway to whoever started it."""


class FurtherGateway:
    """Another gateway before Plait's four services, or before some of them."""

    resident = True

    def __init__(
        self, name: str, plait: Plait, settings: Mapping[str, str],
        sources: tuple[str, ...] = SOURCES,
    ) -> None:  # fmt: skip
        """Its answers are whole but not the job's: it is set otherwise."""
        self.name = name
        self._plait = plait
        self._settings = settings
        self._sources = sources
        self._child: Child | None = None

    def start(self) -> Door:
        """Start it and wait until it serves; raises NotAvailable."""
        endpoint = on_free_ports().gateway
        self._child = Child(endpoint, self._environment(endpoint), quiet)
        self._child.start()
        until = time.monotonic() + 60.0
        while health(endpoint.address) != "serving":
            if self._child.exit_code() is not None or time.monotonic() > until:
                raise NotAvailable(
                    f"does not serve: {' / '.join(list(self._child.last_lines)[-2:])}"
                )
            time.sleep(0.05)
        return Door("grpc", endpoint.address, RECOMMEND, "shopper", exact=False)

    def _environment(self, endpoint: Endpoint) -> dict[str, str]:
        fleet = self._plait.fleet
        addresses = {name: fleet.topology.find(name).address for name in self._sources}
        label = "".join(c if c.isalnum() else "-" for c in self.name)
        state = self._plait.own_state(label)
        own = {
            # Never the log of the shop whose checkout this is: training reads it.
            "EXPOSURE_LOG": str(state.with_name(f"exposures-{label}.jsonl")),
            **self._settings,
            "PORT": str(endpoint.port),
            "METRICS_PORT": str(endpoint.metrics_port),
            "STATE": str(state),
            "SOURCES": ",".join(f"{name}={at}" for name, at in addresses.items()),
        }
        inherited = child_environment(replace(fleet.config, settings={}))
        return inherited | gateway_settings(own)

    def processes(self) -> Mapping[str, int]:
        """Return this gateway and the services it asks."""
        own = {} if self._child is None else {GATEWAY: self._child.pid}
        return own | {name: self._plait.fleet.pid(name) for name in self._sources}

    def stop(self) -> None:
        """Stop the gateway."""
        if self._child is not None:
            self._child.terminate()
            if not self._child.wait(10.0):
                self._child.kill()
                self._child.wait(5.0)
            self._child.close()
            self._child = None


def gateway_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as the gateway's environment."""
    return {f"PLAIT_GATEWAY_{name}": value for name, value in settings.items()}
