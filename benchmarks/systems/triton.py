"""Triton as a system (benchmarks/peers/triton)."""

import shutil
import sysconfig
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.job.wire import INFER
from benchmarks.peers.triton import config
from benchmarks.systems.environment import PeersEnvironment
from benchmarks.systems.ports import free_ports, listening
from benchmarks.systems.process import NotAvailable, Process
from benchmarks.systems.system import Door


class Triton:
    """One server process and a Python process for each model instance."""

    name = "Triton, BLS fusion"
    resident = True

    def __init__(self, repository: Path, work: Path, environment: PeersEnvironment) -> None:
        self._repository = repository
        self._work = work
        self._environment = environment
        self._process: Process | None = None

    def start(self) -> Door:
        """Start the server; raises NotAvailable."""
        python = self._environment.python
        home = self._environment.packages / "pytriton" / "tritonserver"
        if not home.is_dir():
            raise NotAvailable(f"{python}: nvidia-pytriton holds no server")
        self._stop_and_clear()
        config.write(self._work / "triton" / "models", self._repository)
        backends = self._with_stub(home)
        grpc, metrics = free_ports(2)
        command = [
            str(home / "bin" / "tritonserver"),
            f"--model-repository={self._work / 'triton' / 'models'}",
            f"--backend-directory={backends}", f"--cache-directory={home / 'caches'}",
            f"--grpc-port={grpc}", "--grpc-address=127.0.0.1", "--allow-http=false",
            f"--metrics-port={metrics}", "--metrics-address=127.0.0.1",
        ]  # fmt: skip
        libraries = f"{self._environment.packages / 'nvidia_pytriton.libs'}"
        libraries += f":{sysconfig.get_config_var('LIBDIR')}"
        environ = self._environment.environ() | {"LD_LIBRARY_PATH": libraries}
        self._process = Process(command, self._work / "triton.log", environ)
        self._process.wait_until(partial(listening, grpc), 90.0)
        return Door("grpc", f"127.0.0.1:{grpc}", INFER, "infer")

    def _with_stub(self, home: Path) -> Path:
        """Put the Python backend and its part for this Python release side by side."""
        backends = self._work / "triton" / "backends"
        shutil.copytree(home / "backends", backends)
        version = sysconfig.get_python_version()
        stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not stub.is_file():
            raise NotAvailable(f"nvidia-pytriton has no Python backend for Python {version}")
        shutil.copy(stub, backends / "python")
        return backends

    def processes(self) -> Mapping[str, int]:
        """Return the server; the models are its children."""
        return {"server": self._process.pid} if self._process is not None else {}

    def stop(self) -> None:
        """End it."""
        self._stop_and_clear()

    def _stop_and_clear(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        shutil.rmtree(self._work / "triton", ignore_errors=True)
