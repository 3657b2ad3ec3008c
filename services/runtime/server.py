"""The life of a gRPC server, the same for model services and the gateway.

bind -> load -> warm up -> SERVING ... NOT_SERVING -> wait -> finish calls -> stop.
The port is bound first, so liveness answers while models load and a taken port
is found before minutes of work; readiness comes last and goes first, so that no
caller is sent to a server that cannot answer.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime import accepting, health, logs
from services.runtime.config import MOST, require
from services.runtime.interceptors import CallInterceptor
from services.runtime.metrics import SERVING
from services.runtime.metrics_server import MetricsServer
from services.runtime.ports import bare_host, check_port, check_socket, joined, listening
from services.runtime.pulse import Pulse
from services.runtime.streams import Streams
from services.runtime.workers.place import Place, own_socket

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerConfig:
    """Settings of any server; processes add theirs by inheritance."""

    # Address to listen on. 127.0.0.1 keeps strangers out; 0.0.0.0 in a container, or ::
    # where its network is IPv6.
    host: str = "127.0.0.1"
    # gRPC port; 0 takes a free one, which the "serving" log line names.
    port: int = 0
    # Unix socket to listen on as well, for callers on the same machine; only those who may
    # write to it, usually the same user, can connect. Of several workers, each listens on
    # one of its own: this name and ".0", ".1", ... Empty: none.
    socket: Path | None = None
    # Prometheus port, same host; 0 takes a free one.
    metrics_port: int = 0
    # Seconds between NOT_SERVING and refusing calls. Long enough for balancers to
    # notice (several seconds on Kubernetes), short enough for a person at a terminal.
    drain_seconds: float = 0.5
    # Seconds that calls in flight get to finish at shutdown before they are cut.
    grace_seconds: float = 10.0
    # Largest message in either direction. 16 MiB holds 64 rows x 5000 candidates
    # several times over; more costs memory per call under load.
    max_message_bytes: int = 16 << 20
    # Seconds of silence after which a client's connection is probed. Lower finds
    # dead peers sooner, at a packet each.
    keepalive_seconds: float = 30.0
    # Two processes on one port share its calls. Off, a forgotten process is an
    # error at start instead of a riddle later.
    reuse_port: bool = False
    # debug, info, warning or error.
    log_level: str = "info"
    # Linux: end when the parent process ends, even if it was killed. For
    # processes started by a supervisor such as `plait up`.
    die_with_parent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", bare_host(self.host))
        require(bool(self.host), "host must not be empty; 0.0.0.0 are all addresses")
        for name in ("port", "metrics_port"):
            require(0 <= getattr(self, name) <= 65535, f"{name} must be within 0 .. 65535")
        for name in ("drain_seconds", "grace_seconds", "keepalive_seconds"):
            require(0 <= getattr(self, name) <= 3600, f"{name} must be within 0 .. 3600")
        require(0 < self.max_message_bytes <= MOST, f"max_message_bytes must be within 1 .. {MOST}")
        require(self.log_level in logs.LEVELS, f"log_level must be one of {', '.join(logs.LEVELS)}")


class Application(Protocol):
    """What a server serves."""

    def register(self, server: grpc.aio.Server, health: health.Health) -> Sequence[str]:
        """Add servicers; return their full service names (for reflection)."""
        ...

    async def start(self) -> None:
        """Load and warm up. Calls may already arrive; raises to stop the process."""
        ...

    async def stop(self) -> None:
        """Release everything; no call arrives any more. Called once, also after a failed start."""
        ...


class Server:
    """One gRPC server with health, reflection and metrics around an application."""

    def __init__(
        self, config: ServerConfig, application: Application, place: Place | None = None
    ) -> None:
        """`place`: that of a worker, whose parent serves the metrics."""
        self._config = config
        self._application = application
        self._place = place
        self._grpc: grpc.aio.Server | None = None
        self._streams = Streams()
        self._metrics: MetricsServer | None = None
        # Whether calls may be under way, of one model where another was unloaded, too.
        self._started = False
        self._pulse = Pulse(SERVING.set)
        self.health = health.Health(self._pulse.say)
        # The ports really bound, once started.
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Bind, load, warm up, then report SERVING; raises StartError and what loading raises."""
        self._grpc = accepting.server((CallInterceptor(self._streams),), self._options())
        names = list(self._application.register(self._grpc, self.health))
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._grpc)
        names += [health.SERVICE, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._grpc)
        await self.health.start()
        self._pulse.start()
        if self._place is None:
            await self._open(self._grpc)
            await self._application.start()
        else:
            # Whoever listens gets calls, so a worker does not before it can answer them.
            await self._application.start()
            await self._open(self._grpc)
        await self.health.set("", ready=True)
        self._started = True
        self._say_serving()

    async def stop(self) -> None:
        """Drain and stop. Callable at any point of a start, and twice."""
        server, self._grpc = self._grpc, None
        if server is not None:
            if self._place is not None:
                self._place.leave()
            await self.health.drain()
            if self._started:
                await asyncio.sleep(self._config.drain_seconds)
            self.health.close()
            self._streams.close()
            await server.stop(self._config.grace_seconds if self._started else None)
            await self._application.stop()
            self._pulse.stop()
        if self._metrics is not None:
            metrics, self._metrics = self._metrics, None
            await asyncio.to_thread(metrics.stop)

    async def _open(self, server: grpc.aio.Server) -> None:
        """Listen; raises StartError."""
        host, path = self._config.host, self._own_socket()
        check_port(host, self._config.port, "port", reuse=self._config.reuse_port)
        with listening(host):
            self.port = server.add_insecure_port(joined(host, self._config.port))
        if path is not None:
            check_socket(path)
            with listening(path):
                server.add_insecure_port(f"unix:{path}")
        if self._place is None:
            self._expose(host)
        await server.start()

    def _own_socket(self) -> Path | None:
        path = self._config.socket
        return path if path is None or self._place is None else own_socket(path, self._place.number)

    def _expose(self, host: str) -> None:
        check_port(host, self._config.metrics_port, "metrics_port")
        with listening(host):
            metrics = MetricsServer(host, self._config.metrics_port)
            metrics.start()
        self._metrics, self.metrics_port = metrics, metrics.port

    def _say_serving(self) -> None:
        address = joined(self._config.host, self.port)
        if self._place is not None:
            self._place.serving_file.touch()
            _log.info("worker serving", extra={"address": address})
            return
        metrics = f"http://{joined(self._config.host, self.metrics_port)}/metrics"
        _log.info("serving", extra={"address": address, "metrics": metrics})

    def _options(self) -> list[tuple[str, int]]:
        milliseconds = int(self._config.keepalive_seconds * 1000)
        return [
            ("grpc.so_reuseport", int(self._config.reuse_port)),
            ("grpc.max_receive_message_length", self._config.max_message_bytes),
            ("grpc.max_send_message_length", self._config.max_message_bytes),
            ("grpc.keepalive_time_ms", milliseconds),
            # Clients may probe us as often, calls or none, without being cut off.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", min(milliseconds, 10_000)),
        ]
