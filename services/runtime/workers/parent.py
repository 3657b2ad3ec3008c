"""The parent of a service's workers: it holds the ports, keeps them alive, answers no call.

The gRPC port is bound here and listened on by the workers (SO_REUSEPORT), so that it is
one number and nobody else's from start to end, whichever worker is up. A worker listens
when it can answer, and not before: while one is up, every call finds one that can.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.runtime import metrics
from services.runtime.errors import StartError
from services.runtime.metrics_server import MetricsServer
from services.runtime.ports import check_port, joined, listening
from services.runtime.server import ServerConfig
from services.runtime.workers.child import Child
from services.runtime.workers.place import Place
from services.runtime.workers.summed import Summed

_log = logging.getLogger(__name__)
# A file system in memory, where there is one: counts are written there at every call.
_MEMORY = Path("/dev/shm")  # noqa: S108
# Locked in the directory as long as the parent lives.
_ALIVE = "alive"
_LOOK = 0.05
# Beyond the time a worker's drain may take by its own settings.
_PATIENCE = 5.0


async def supervise(
    role: str, config: ServerConfig, count: int, environ: Mapping[str, str]
) -> None:
    """Keep `count` workers running until SIGTERM or SIGINT, then drain them.

    Raises StartError where a port is taken, or no worker can start.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with _directory(role) as directory, _held_port(config.host, config.port) as port:
        told = {**environ, **_settings(role, port)}
        children = [Child(role, Place(n, os.getpid(), directory), told) for n in range(count)]
        async with _exposed(config, directory, children) as metrics_port, _kept(children, config):
            if await _first(children, stopped):
                _say_serving(config, port, metrics_port, count)
            while not stopped.is_set():
                _count(role, children)
                await asyncio.sleep(_LOOK)
            _log.info("draining")


def _settings(role: str, port: int) -> dict[str, str]:
    """Return what is otherwise in a worker: the real port, which it shares."""
    told = {"PORT": port, "REUSE_PORT": "true", "WORKERS": 1, "DIE_WITH_PARENT": "false"}
    return {f"PLAIT_{role.upper()}_{name}": str(value) for name, value in told.items()}


@contextmanager
def _directory(role: str) -> Iterator[Path]:
    """Make the directory the workers share, in memory; it ends with this process."""
    base = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    _sweep(base, f"plait-{role}-")
    try:
        made = Path(tempfile.mkdtemp(prefix=f"plait-{role}-", dir=base))
    except OSError as error:
        raise StartError(
            f"{base}: several workers need a directory to share, and none can be made there "
            f"({error.strerror}); mount one that can be written, or set workers=1"
        ) from None
    with (made / _ALIVE).open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _sweep(base: Path, prefix: str) -> None:
    """Remove what killed parents have left: nobody holds the lock in it any more."""
    for alive in base.glob(f"{prefix}*/{_ALIVE}"):
        with contextlib.suppress(OSError), alive.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(alive.parent, ignore_errors=True)


@contextmanager
def _held_port(host: str, port: int) -> Iterator[int]:
    """Bind the port for others to listen on; a socket that only binds gets no connection."""
    check_port(host, port, "port")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Only while binding, for connections of a server before this one that wait out their
        # time there: to others who bind like this the port must not look free.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield held.getsockname()[1]


@asynccontextmanager
async def _exposed(
    config: ServerConfig, directory: Path, children: Sequence[Child]
) -> AsyncIterator[int]:
    """Serve the metrics of all; yield the port."""
    registry = CollectorRegistry()
    registry.register(Summed(directory, lambda: [c.pid for c in children if c.pid is not None]))
    check_port(config.host, config.metrics_port, "metrics_port")
    with listening(config.host):
        server = MetricsServer(config.host, config.metrics_port, registry=registry)
        server.start()
    try:
        yield server.port
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _kept(children: Sequence[Child], config: ServerConfig) -> AsyncIterator[None]:
    """Run the workers; at the end all of them drain together, and none is left."""
    keepers = [asyncio.create_task(child.keep()) for child in children]
    try:
        yield
    finally:
        for child in children:
            child.terminate()
        limit = config.drain_seconds + config.grace_seconds + _PATIENCE
        _, late = await asyncio.wait(keepers, timeout=limit)
        for child in children if late else ():
            child.kill()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*keepers)


async def _first(children: Sequence[Child], stopped: asyncio.Event) -> bool:
    """Wait until one serves; False if told to stop before. Raises StartError if one fails."""
    while not stopped.is_set():
        if any(child.serving for child in children):
            return True
        if any(child.deaths for child in children):
            raise StartError("a worker ended before any of them served; it has said why")
        await asyncio.sleep(_LOOK)
    return False


def _count(role: str, children: Sequence[Child]) -> None:
    serving = sum(child.serving for child in children)
    metrics.WORKERS.labels(role, "serving").set(serving)
    metrics.WORKERS.labels(role, "away").set(len(children) - serving)


def _say_serving(config: ServerConfig, port: int, metrics_port: int, count: int) -> None:
    address = joined(config.host, port)
    exposed = f"http://{joined(config.host, metrics_port)}/metrics"
    _log.info("serving", extra={"address": address, "metrics": exposed, "workers": count})
