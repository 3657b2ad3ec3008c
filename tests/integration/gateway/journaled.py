"""Gateways of one journal, and what tests ask of them."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from valkey import Valkey as Client

from benchmarks.valkey import Valkey
from gateway.journal.membership import Membership
from plait.v1 import state_service_pb2 as state
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest, RecordEventsResponse
from plait.v1.state_service_pb2_grpc import StateServiceStub
from services.runtime.config import Secret
from tests.integration.gateway.world import Shop, open_shop


def joined(
    other: Path, first: Shop, valkey: Valkey, **settings: Any
) -> AbstractAsyncContextManager[Shop]:
    """A second gateway, which knows where the first one is."""
    return alone(other, valkey, peers=f"127.0.0.1:{first.server.port}", **settings)


def alone(directory: Path, valkey: Valkey, **settings: Any) -> AbstractAsyncContextManager[Shop]:
    return open_shop(directory, journal=Secret(valkey.url), **settings)


async def record(shop: Shop, *events: t.Event) -> RecordEventsResponse:
    request = RecordEventsRequest(events=events)
    answer: RecordEventsResponse = await shop.events.RecordEvents(request, timeout=10)
    return answer


def view(item: int, event_id: str = "", user: str = "new") -> t.Event:
    return t.Event(
        event_id=event_id, user_id=user, item_id=str(item), type=t.EVENT_TYPE_VIEW, market="m"
    )


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.02)


def stored(shop: Shop, user: str = "new") -> list[tuple[Any, ...]]:
    """The events of a shopper in one gateway's file, in the order it took them in."""
    with closing(sqlite3.connect(shop.config.state)) as connection:
        query = (
            "SELECT event_id, item_key, type, time_ms, quantity, price, market, query "
            "FROM events WHERE user_id = ? ORDER BY seq"
        )
        return connection.execute(query, (user,)).fetchall()


async def both_hold(count: int, *shops: Shop, user: str = "new") -> None:
    async def hold() -> bool:
        return all(len(stored(shop, user)) == count for shop in shops)

    await until(hold)


async def healthy(shop: Shop, name: str = "journal") -> bool:
    stub: Any = health_pb2_grpc.HealthStub(shop.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def copy(shop: Shop, token: str) -> None:
    """Ask for a copy of its state, as another gateway does."""
    stub: Any = StateServiceStub(shop.channel)
    async for _ in stub.CopyState(state.CopyStateRequest(token=token)):
        pass


def forget(valkey: Valkey) -> None:
    """Have the journal forget all its entries, as it does with time."""
    with Client.from_url(valkey.url) as client:
        client.xtrim(stream_of(client), maxlen=0, approximate=False)


def items_of(shop: Shop) -> list[str]:
    with closing(sqlite3.connect(shop.config.state)) as connection:
        return [row[0] for row in connection.execute("SELECT item_id FROM items")]


async def whole(opening: AbstractAsyncContextManager[Shop]) -> list[tuple[Any, ...]]:
    async with opening as shop:
        return stored(shop, "ann")


def stream_of(client: Client) -> str:
    """The name of the journal's stream."""
    identity: Any = client.get("plait:journal")
    return f"plait:journal:{identity.decode()}"


def membership(shop: Shop) -> Membership:
    """A gateway's part in the journal."""
    found = shop.application._membership
    assert found is not None
    return found
