"""Turns: one piece of work at a time, and those at the door come in before the next."""

import asyncio

from gateway.admission.turns import Turns
from gateway.coalesce import Traffic


def busy() -> Traffic:
    """Traffic with some rankings inside."""
    traffic = Traffic()
    for _ in range(5):
        traffic.enter()
    return traffic


class Comer:
    """Comes in again and again, each time after three turns of the loop, as grpc.aio lets in."""

    def __init__(self, traffic: Traffic, times: int) -> None:
        self.traffic = traffic
        self.left = times

    async def come(self) -> None:
        while self.left:
            for _ in range(3):
                await asyncio.sleep(0)
            self.left -= 1
            self.traffic.arrive()


async def test_one_piece_of_work_is_done_at_a_time() -> None:
    inside = 0
    turns = Turns(busy())

    async def work() -> None:
        nonlocal inside
        async with turns.turn():
            inside += 1
            await asyncio.sleep(0)
            assert inside == 1
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))


async def test_those_at_the_door_come_in_before_the_next_piece_of_work() -> None:
    traffic = busy()
    turns = Turns(traffic)
    comer = Comer(traffic, times=6)
    coming = asyncio.create_task(comer.come())
    await asyncio.sleep(0)
    async with turns.turn():
        assert comer.left == 0
    await coming


async def test_a_flood_of_calls_cannot_stop_work() -> None:
    traffic = busy()
    turns = Turns(traffic)
    comer = Comer(traffic, times=1_000)
    coming = asyncio.create_task(comer.come())
    for _ in range(5):
        async with turns.turn():
            pass
    assert comer.left > 1_000 - 5 * 15
    coming.cancel()


async def test_work_that_is_alone_waits_for_nobody() -> None:
    traffic = Traffic()
    traffic.enter()
    turns = Turns(traffic)
    comer = Comer(traffic, times=1)
    coming = asyncio.create_task(comer.come())
    async with turns.turn():
        assert comer.left == 1
    await coming


async def test_work_that_fails_or_is_cancelled_gives_its_turn_back() -> None:
    turns = Turns(busy())

    async def work() -> None:
        async with turns.turn():
            await asyncio.sleep(60)

    going = asyncio.create_task(work())
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait({going})
    async with turns.turn():
        pass
