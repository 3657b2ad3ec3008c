"""Servers in this process and in others, and the calls tests make to them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np

from inference import inference_pb2_grpc
from services.runtime.server import Server
from services.runtime.service import ModelService, ServiceConfig
from services.runtime.source import Source
from services.runtime.tensors import Array, read_outputs, write_request

Stub: TypeAlias = "inference_pb2_grpc.GRPCInferenceServiceAsyncStub"
# How long a test waits for what should take a moment; never asserted on.
PATIENCE = 30.0
# What callers hear from a server that stops. gRPC's core answers CANCELLED to calls that
# arrive in the instant of its shutdown, before any handler has seen them.
NEVER_BEGAN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@asynccontextmanager
async def serving(source: Source, repository: Path, **settings: Any) -> AsyncIterator[Server]:
    """Run a model service in this process on free ports."""
    config = ServiceConfig(repository=repository, drain_seconds=0.0, **settings)
    server = Server(config, ModelService(source, config))
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def channel_to(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to a local port."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@asynccontextmanager
async def stub_for(port: int) -> AsyncIterator[Stub]:
    """Open an inference client to a local port."""
    async with channel_to(port) as channel:
        yield inference_pb2_grpc.GRPCInferenceServiceStub(channel)


async def infer(
    stub: Stub,
    model: str,
    inputs: Mapping[str, Any],
    *,
    outputs: tuple[str, ...] = (),
    timeout: float = PATIENCE,  # noqa: ASYNC109
) -> dict[str, Array]:
    """Ask a model with raw contents; lists become INT64, lists of floats FP32."""
    arrays = {name: _array(value) for name, value in inputs.items()}
    request = write_request(model, arrays, outputs)
    return read_outputs(await stub.ModelInfer(request, timeout=timeout))


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _parse(line: str) -> dict[str, Any]:
    """Read a log line; whatever is none (a traceback) is shown to the failing test."""
    try:
        parsed: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return {"level": "raw", "message": line.rstrip()}
    return parsed


class Process:
    """A service in a process of its own, on free ports; `log` grows as it speaks."""

    def __init__(self, role: str, settings: Mapping[str, object]) -> None:
        variables = {f"PLAIT_{role.upper()}_{k.upper()}": str(v) for k, v in settings.items()}
        ports = {f"PLAIT_{role.upper()}_{name}": "0" for name in ("PORT", "METRICS_PORT")}
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PLAIT_")}
        self.log: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._silent = False
        self._popen = subprocess.Popen(
            [sys.executable, "-m", f"services.{role}"],
            env={**plain, **ports, **variables},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            with self._changed:
                self.log.append(_parse(line))
                self._changed.notify_all()
        with self._changed:
            self._silent = True
            self._changed.notify_all()

    def wait_for(self, message: str) -> dict[str, Any]:
        """Return the first log line with this message, waiting for it."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.log if line["message"] == message), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._silent, PATIENCE)
            line = found()
        assert line is not None, f"no '{message}' in {self.log}"
        return line

    def ports(self) -> tuple[int, int]:
        """Wait until it serves; return its gRPC and metrics ports."""
        line = self.wait_for("serving")
        metrics = line["metrics"].removesuffix("/metrics")
        return int(line["address"].rsplit(":", 1)[1]), int(metrics.rsplit(":", 1)[1])

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._popen.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Wait for its end and its last words; return the exit code."""
        code = self._popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it whatever it does."""
        if self._popen.poll() is None:
            self._popen.kill()
        self.exit_code()
        assert self._popen.stderr is not None
        self._popen.stderr.close()


@contextmanager
def process(role: str, **settings: object) -> Iterator[Process]:
    """Run `python -m services.<role>`; whatever happens, it is gone afterwards."""
    started = Process(role, settings)
    try:
        yield started
    finally:
        started.kill()


async def eventually(condition: Any, what: str) -> None:
    """Wait until a condition holds; fail, saying what did not happen, after a long while."""
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} did not happen")
