"""Ray Serve as a system (benchmarks/peers/ray_serve)."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.systems.environment import PeersEnvironment
from benchmarks.systems.ports import free_ports
from benchmarks.systems.process import Process
from benchmarks.systems.system import Door

_SETTINGS = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Everything is on loopback; a token would be written into the home directory.
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
}


class RayServe:
    """Ray's own processes, a proxy and a replica of each deployment."""

    # It uses most of a core at rest, so it is up only while it is measured.
    resident = False

    def __init__(
        self, repository: Path, work: Path, environment: PeersEnvironment, *, batched: bool = True
    ) -> None:
        """`batched`: whether requests that wait for the merge are asked as one batch."""
        self.name = "Ray Serve, HTTP" + ("" if batched else ", each alone")
        self._batched = {"JOB_BATCHED": str(int(batched))}
        self._repository = repository
        self._work = work
        self._environment = environment
        self._process: Process | None = None

    def start(self) -> Door:
        """Start it (about half a minute); raises NotAvailable."""
        python = self._environment.python
        (port,) = free_ports(1)
        ready, temporary = self._work / "ray.ready", self._work / "ray"
        ready.unlink(missing_ok=True)
        command = [
            python, "-m", "benchmarks.peers.ray_serve.app",
            str(self._repository), str(port), str(ready), str(temporary),
        ]  # fmt: skip
        environ = self._environment.environ() | _SETTINGS | self._batched
        self._process = Process(command, self._work / "ray.log", environ)
        self._process.wait_until(ready.exists, 120.0)
        return Door("http", f"127.0.0.1:{port}", "/", "raw")

    def processes(self) -> Mapping[str, int]:
        """Return the starter; all of Ray are its descendants."""
        return {"ray": self._process.pid} if self._process is not None else {}

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop(20.0)
            self._process = None
            shutil.rmtree(self._work / "ray", ignore_errors=True)
