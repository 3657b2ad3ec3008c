"""Turns: those at the door come in before the next piece of work."""

import asyncio

from gateway.admission.turns import Turns
from gateway.traffic import Traffic


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


async def test_those_at_the_door_come_in_before_the_next_piece_of_work() -> None:
    traffic = busy()
    turns = Turns(traffic)
    comer = Comer(traffic, times=6)
    coming = asyncio.create_task(comer.come())
    await asyncio.sleep(0)
    await turns.let_in()
    assert comer.left == 0
    await coming


async def test_a_flood_of_calls_cannot_stop_work() -> None:
    traffic = busy()
    turns = Turns(traffic)
    comer = Comer(traffic, times=1_000)
    coming = asyncio.create_task(comer.come())
    for _ in range(5):
        await turns.let_in()
    assert comer.left > 1_000 - 5 * 15
    coming.cancel()


def test_a_ranking_alone_holds_nobody_up() -> None:
    traffic = Traffic()
    assert Turns(traffic).alone
    traffic.enter()
    assert Turns(traffic).alone
    traffic.enter()
    assert not Turns(traffic).alone
