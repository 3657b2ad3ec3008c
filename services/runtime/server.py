"""The life of a gRPC server, the same for model services and the gateway.

bind -> load -> warm up -> SERVING ... NOT_SERVING -> wait -> finish calls -> stop.
The port is bound first, so liveness answers while models load and a taken port
is found before minutes of work; readiness comes last and goes first, so that no
caller is sent to a server that cannot answer.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime import health, logs
from services.runtime.config import require
from services.runtime.errors import StartError
from services.runtime.interceptors import CallInterceptor
from services.runtime.metrics_server import MetricsServer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerConfig:
    """Settings of any server; processes add theirs by inheritance."""

    # Address to listen on. 127.0.0.1 keeps strangers out; 0.0.0.0 in a container.
    host: str = "127.0.0.1"
    # gRPC port; 0 takes a free one, which the "serving" log line names.
    port: int = 0
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
        for name in ("port", "metrics_port"):
            require(0 <= getattr(self, name) <= 65535, f"{name} must be within 0 .. 65535")
        for name in ("drain_seconds", "grace_seconds", "keepalive_seconds"):
            require(0 <= getattr(self, name) <= 3600, f"{name} must be within 0 .. 3600")
        require(self.max_message_bytes > 0, "max_message_bytes must be positive")
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

    def __init__(self, config: ServerConfig, application: Application) -> None:
        self._config = config
        self._application = application
        self._grpc: grpc.aio.Server | None = None
        self._metrics: MetricsServer | None = None
        self.health = health.Health()
        # The ports really bound, once started.
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Bind, load, warm up, then report SERVING; raises StartError and what loading raises."""
        self._grpc = grpc.aio.server(interceptors=(CallInterceptor(),), options=self._options())
        names = list(self._application.register(self._grpc, self.health))
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._grpc)
        names += [health.SERVICE, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._grpc)
        await self.health.start()
        self._bind(self._grpc)
        await self._grpc.start()
        await self._application.start()
        await self.health.set("", ready=True)
        address = f"{self._config.host}:{self.port}"
        metrics = f"http://{self._config.host}:{self.metrics_port}/metrics"
        _log.info("serving", extra={"address": address, "metrics": metrics})

    async def stop(self) -> None:
        """Drain and stop. Callable at any point of a start, and twice."""
        server, self._grpc = self._grpc, None
        if server is not None:
            was_ready = self.health.ready()
            await self.health.drain()
            if was_ready:
                await asyncio.sleep(self._config.drain_seconds)
            self.health.close()
            await server.stop(self._config.grace_seconds if was_ready else None)
            await self._application.stop()
        if self._metrics is not None:
            metrics, self._metrics = self._metrics, None
            await asyncio.to_thread(metrics.stop)

    def _bind(self, server: grpc.aio.Server) -> None:
        host, reuse = self._config.host, self._config.reuse_port
        check_port(host, self._config.port, "port", reuse=reuse)
        check_port(host, self._config.metrics_port, "metrics_port")
        try:
            self.port = server.add_insecure_port(f"{host}:{self._config.port}")
            metrics = MetricsServer(host, self._config.metrics_port)
            metrics.start()
        except (RuntimeError, OSError) as error:
            raise StartError(f"{host}: cannot listen ({error})") from None
        self._metrics, self.metrics_port = metrics, metrics.port

    def _options(self) -> list[tuple[str, int]]:
        milliseconds = int(self._config.keepalive_seconds * 1000)
        return [
            ("grpc.so_reuseport", int(self._config.reuse_port)),
            ("grpc.max_receive_message_length", self._config.max_message_bytes),
            ("grpc.max_send_message_length", self._config.max_message_bytes),
            ("grpc.keepalive_time_ms", milliseconds),
            # Clients may probe us as often, calls or none, without being cut off.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", min(milliseconds, 10_000)),
        ]


def check_port(host: str, port: int, setting: str, *, reuse: bool = False) -> None:
    """Raise StartError, in words, where a port cannot be listened on.

    gRPC itself only says "failed to bind", after a page of its own log.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            hint = "another process listens there; stop it, or set another"
            if error.errno != errno.EADDRINUSE:
                hint = f"{os.strerror(error.errno or 0)}; set another host or"
            raise StartError(f"{host}:{port}: cannot listen: {hint} {setting}") from None
