"""Plait itself: its own four services and its own gateway, as `plait up` starts them.

Further gateways with other settings can stand beside the first and ask the same
four services: one row of the table each, comparable because nothing else differs.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.job import CANDIDATES
from benchmarks.job.publish import MERGE_ONLY, WHOLE
from benchmarks.job.wire import RECOMMEND
from benchmarks.systems.process import NotAvailable
from benchmarks.systems.system import Door
from cli.child import Child
from cli.fleet_config import FleetConfig, child_environment
from cli.health import health
from cli.processes import Fleet, quiet
from cli.topology import GATEWAY, SOURCES, on_free_ports

# As the peers do it: the best 100 of each, the shared merge, no deadline, nothing written
# beside the answer. Metrics are on, as always.
JOB = {
    "VERSION": str(MERGE_ONLY),
    "CANDIDATES": str(CANDIDATES),
    "MAX_DEADLINE_MS": "8000",
    "EXPOSURE_LOG": "",
}
# Everything on, every setting at its default.
DEFAULTS = {"VERSION": str(WHOLE)}


class Plait:
    """Five processes."""

    name = "Plait"
    resident = True

    def __init__(self, repository: Path, state: Path, work: Path) -> None:
        """`state` is copied for each gateway into `work`: one gateway, one file."""
        self._repository = repository
        self._state = state
        self._work = work
        self._fleet: Fleet | None = None

    def start(self) -> Door:
        """Start the fleet; raises UserError."""
        config = FleetConfig(
            repository=self._repository,
            state=self.own_state("first"),
            topology=on_free_ports(),
            settings=gateway_settings(JOB),
            restart=False,
        )
        self._fleet = Fleet(config)
        self._fleet.start()
        return Door("grpc", config.topology.gateway.address, RECOMMEND, "shopper")

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


class FurtherGateway:
    """Another gateway before Plait's four services."""

    resident = True

    def __init__(
        self, name: str, plait: Plait, settings: Mapping[str, str], codec: str = "shopper",
        *, exact: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self._plait = plait
        self._settings = settings
        self._codec = codec
        self._exact = exact
        self._child: Child | None = None

    def start(self) -> Door:
        """Start it and wait until it serves."""
        fleet = self._plait.fleet
        endpoint = on_free_ports().gateway
        label = "".join(c if c.isalnum() else "-" for c in self.name)
        settings = gateway_settings(self._settings) | {
            "PLAIT_GATEWAY_PORT": str(endpoint.port),
            "PLAIT_GATEWAY_METRICS_PORT": str(endpoint.metrics_port),
            "PLAIT_GATEWAY_STATE": str(self._plait.own_state(label)),
        }
        inherited = {k: v for k, v in child_environment(fleet.config).items()
                     if k not in gateway_settings(JOB)}  # fmt: skip
        self._child = Child(endpoint, inherited | settings, quiet)
        self._child.start()
        until = time.monotonic() + 60.0
        while health(endpoint.address) != "serving":
            if self._child.exit_code() is not None or time.monotonic() > until:
                raise NotAvailable(f"{self.name}: {list(self._child.last_lines)[-2:]}")
            time.sleep(0.05)
        return Door("grpc", endpoint.address, RECOMMEND, self._codec, exact=self._exact)

    def processes(self) -> Mapping[str, int]:
        """Return this gateway and the four services."""
        fleet = self._plait.fleet
        own = self._child.pid if self._child is not None else os.getpid()
        return {GATEWAY: own, **{name: fleet.pid(name) for name in SOURCES}}

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
