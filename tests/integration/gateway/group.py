"""Servers of one source, a connection to them all, and what is counted of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import grpc
import numpy as np
from prometheus_client import REGISTRY

from gateway.connection import Connection
from gateway.replicas.breaker import Rules
from gateway.replicas.errors import BreakersOpen
from gateway.replicas.settings import Settings
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, write_request
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import vectors

PATIENCE = 30.0
QUICK = Settings(look_up=0.02, rules=Rules(failures=3, rest=0.02, longest_rest=0.1))
# Never a second call, so that what a first one meets can be seen.
ALONE = replace(QUICK, second_share=0.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- a server elsewhere changes it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def replicas(count: int, settings: Settings = QUICK) -> AsyncIterator["Group"]:
    """Run servers of one source, and a connection that has met them all."""
    async with AsyncExitStack() as stack:
        servers = [FakeSource("cf", vectors()) for _ in range(count)]
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        address = "|".join(f"127.0.0.1:{server.port}" for server in servers)
        group = Group(servers, Connection("cf", address, settings))
        group.connection.start()
        stack.push_async_callback(group.connection.stop)
        await until(lambda: state("closed") == count)
        yield group


class Group:
    """Servers of one source and the connection to them."""

    def __init__(self, servers: list[FakeSource], connection: Connection) -> None:
        self.servers = servers
        self.connection = connection

    async def ask(self, seconds: float = PATIENCE, model_version: str = "") -> str:
        """Ask one question; return the version that answered."""
        wanted = question(model_version=model_version)
        response = await self.connection.infer(wanted, seconds)
        return response.model_version

    async def asks(self, times: int, seconds: float = PATIENCE) -> Counter[str]:
        """Ask one after the other; count answers and errors."""
        found: Counter[str] = Counter()
        for _ in range(times):
            try:
                found[await self.ask(seconds)] += 1
            except grpc.aio.AioRpcError as error:
                found[error.code().name] += 1
            except BreakersOpen:
                found["OPEN"] += 1
        return found

    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]


def question(rows: int = 1, model_version: str = "") -> pb.ModelInferRequest:
    history = np.full((rows, 1), 6, np.int64)
    inputs: dict[str, Array] = {
        "history": history,
        "history_weight": np.ones((rows, 1), np.float32),
        "k": np.array([5], np.int64),
    }
    return write_request("cf", inputs, ["item_keys", "scores"], model_version)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"source": "cf", **labels}) or 0.0


def state(name: str) -> float:
    return count("plait_replicas", state=name)


async def until_answered(group: Group) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (await group.asks(1, seconds=1.0))["1"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
