"""The plain grpc.aio fan-out as a system (benchmarks/peers/plain)."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.job import SOURCES
from benchmarks.job.wire import INFER
from benchmarks.systems.environment import PeersEnvironment
from benchmarks.systems.ports import free_ports, listening
from benchmarks.systems.process import ROOT, Process
from benchmarks.systems.system import Door


class Plain:
    """Four model servers and a gateway."""

    resident = True

    name = "plain grpc.aio fan-out"

    def __init__(self, repository: Path, work: Path) -> None:
        self._repository = repository
        self._work = work
        self._running: dict[str, Process] = {}

    def python(self) -> str:
        """Return the interpreter, which decides on what versions it runs: Plait's own here."""
        return sys.executable

    def start(self) -> Door:
        """Start all five; raises NotAvailable."""
        ports = free_ports(len(SOURCES) + 1)
        for source, port in zip(SOURCES, ports[1:], strict=True):
            self._run(source, "model", str(self._repository), source, str(port))
        self._run("gateway", "gateway", *map(str, ports))
        for process, port in zip(self._running.values(), [*ports[1:], ports[0]], strict=True):
            process.wait_until(partial(listening, port), 30.0)
        return Door("grpc", f"127.0.0.1:{ports[0]}", INFER, "infer")

    def _run(self, name: str, module: str, *arguments: str) -> None:
        command = [self.python(), "-m", f"benchmarks.peers.plain.{module}", *arguments]
        label = "".join(c if c.isalnum() else "-" for c in f"{self.name}-{name}")
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
        self._running[name] = Process(command, self._work / f"{label}.log", paths)

    def processes(self) -> Mapping[str, int]:
        """Return the five processes."""
        return {name: process.pid for name, process in self._running.items()}

    def stop(self) -> None:
        """End them, the gateway first."""
        for process in reversed(self._running.values()):
            process.stop()
        self._running.clear()


class PlainNewest(Plain):
    """The same code on the newest grpcio, which a team that starts today would install."""

    name = "plain fan-out, grpcio 1.85"

    def __init__(self, repository: Path, work: Path, peers: PeersEnvironment) -> None:
        super().__init__(repository, work)
        self._peers = peers

    def python(self) -> str:
        """Return the interpreter of the other systems' environment."""
        return self._peers.python
