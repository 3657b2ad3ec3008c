"""BentoML as a system (benchmarks/peers/bento)."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from benchmarks.systems.environment import PeersEnvironment
from benchmarks.systems.ports import free_ports
from benchmarks.systems.process import Process
from benchmarks.systems.system import Door


class Bento:
    """The supervisor, a worker for each of five services."""

    resident = False

    def __init__(
        self, repository: Path, work: Path, environment: PeersEnvironment, *, batched: bool = True
    ) -> None:
        """`batched`: whether requests that wait for the merge are asked as one batch."""
        self.name = "BentoML, HTTP" + ("" if batched else ", each alone")
        self._batched = {"JOB_BATCHED": str(int(batched))}
        self._repository = repository
        self._work = work
        self._environment = environment
        self._process: Process | None = None

    def start(self) -> Door:
        """Start it; raises NotAvailable."""
        python = self._environment.python
        (port,) = free_ports(1)
        command = [
            python, "-m", "bentoml", "serve", "benchmarks.peers.bento.app:Job",
            "--host", "127.0.0.1", "--port", str(port),
        ]  # fmt: skip
        environ = (
            self._environment.environ()
            | self._batched
            | {
                "JOB_REPOSITORY": str(self._repository),
                "BENTOML_HOME": str(self._work / "bentoml"),
                "BENTOML_DO_NOT_TRACK": "True",
            }
        )
        self._process = Process(command, self._work / "bento.log", environ)
        self._process.wait_until(lambda: _ready(port), 90.0)
        return Door("http", f"127.0.0.1:{port}", "/job", "json")

    def processes(self) -> Mapping[str, int]:
        """Return the supervisor; the workers are its children."""
        return {"bentoml": self._process.pid} if self._process is not None else {}

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop(15.0)
            self._process = None


def _ready(port: int) -> bool:
    """Ask its readiness probe, which waits for all five services."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
