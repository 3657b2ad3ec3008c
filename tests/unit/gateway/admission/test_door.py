"""The door: how long calls wait unseen, told by knocking at a real server."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2_grpc

from gateway.admission.door import Door
from gateway.admission.turns import Turns
from services.runtime.health import Health

PATIENCE = 20.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- the door has nobody to tell
            await asyncio.sleep(0.005)


async def at_a_door(play: Callable[[Door], Awaitable[None]]) -> None:
    """Play a scene with a door that knocks at a real server in this loop."""
    server, health = grpc.aio.server(), Health()
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await health.start()
    await server.start()
    door = Door(lambda: True)
    door.start(f"127.0.0.1:{port}")
    try:
        await until(lambda: door.delay > 0)
        await play(door)
    finally:
        await door.stop()
        await server.stop(None)


async def test_a_loop_that_is_held_shows_as_a_delay_and_is_forgotten_soon_after() -> None:
    async def play(door: Door) -> None:
        await until(lambda: door.age > 0)
        time.sleep(0.3)  # noqa: ASYNC251 -- the work that holds the loop
        assert door.delay >= 0.3
        await until(lambda: door.delay < 0.1)

    await at_a_door(play)


async def test_work_lets_those_at_the_door_in_first() -> None:
    async def play(door: Door) -> None:
        await until(lambda: door.age > 0)
        time.sleep(0.05)  # noqa: ASYNC251
        before = door.age
        async with Turns(door.let_in).turn():
            assert door.age < before

    await at_a_door(play)


async def test_work_waits_for_nobody_where_nobody_is_at_the_door() -> None:
    door = Door(lambda: False)
    assert door.age == door.delay == 0.0
    async with asyncio.timeout(PATIENCE):
        await door.let_in()
    await door.stop()


async def test_one_piece_of_work_is_done_at_a_time() -> None:
    inside = 0

    async def nobody() -> None:
        await asyncio.sleep(0)

    turns = Turns(nobody)

    async def work() -> None:
        nonlocal inside
        async with turns.turn():
            inside += 1
            assert inside == 1
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))


async def test_a_door_that_nobody_opens_still_lets_work_go_on() -> None:
    door = Door(lambda: True)
    door.start("127.0.0.1:9")  # the discard port: nothing listens there
    await until(lambda: door.age > 0 or door.delay > 0)
    async with asyncio.timeout(PATIENCE):
        for _ in range(10):
            await door.let_in()
    await door.stop()
