"""A question that one replica is slow to answer, or fails at, is asked of another."""

import asyncio
from dataclasses import replace

import grpc

from gateway.replicas.breaker import Rules
from tests.integration.gateway.group import (
    ALONE,
    PATIENCE,
    Group,
    count,
    replicas,
    state,
    until,
)


async def warm(group: Group) -> None:
    """Have the source's usual time known."""
    await group.asks(60)


async def test_a_slow_answer_is_asked_of_another_replica_and_the_first_is_cancelled() -> None:
    async with replicas(2) as group:
        await warm(group)
        used = count("plait_second_calls_total", reason="slow", outcome="used")
        slow = group.servers[0]
        slow.silent = True
        while count("plait_second_calls_total", reason="slow", outcome="used") == used:
            assert await group.ask() == "1"
        await until(lambda: slow.cancelled)


async def test_a_replica_that_is_outrun_every_time_is_left_alone() -> None:
    async with replicas(2) as group:
        await warm(group)
        group.servers[0].silent = True
        while state("open") == 0:
            # Several at once, so that some go to either.
            assert await asyncio.gather(*(group.ask() for _ in range(4))) == ["1"] * 4
        group.servers[0].silent = False

        async def well() -> None:
            while state("closed") < 2:
                await group.ask()
                await asyncio.sleep(0.005)

        await asyncio.wait_for(well(), PATIENCE)


async def test_a_call_that_fails_is_repeated_at_another_replica() -> None:
    async with replicas(2) as group:
        failed = count("plait_second_calls_total", reason="failed", outcome="used")
        group.servers[0].status = grpc.StatusCode.UNAVAILABLE
        assert await group.asks(20) == {"1": 20}
        assert count("plait_second_calls_total", reason="failed", outcome="used") > failed


async def test_nothing_is_asked_twice_beyond_the_budget() -> None:
    async with replicas(2, replace(ALONE, rules=Rules(failures=1000, ratio=1.0))) as group:
        denied = count("plait_second_calls_total", reason="failed", outcome="denied")
        group.servers[0].status = grpc.StatusCode.UNAVAILABLE
        answers = await group.asks(20)
        assert answers["UNAVAILABLE"] == len(group.servers[0].asked)
        assert (
            count("plait_second_calls_total", reason="failed", outcome="denied") - denied
            == answers["UNAVAILABLE"]
        )


async def test_when_both_fail_the_first_says_why() -> None:
    async with replicas(2) as group:
        for server, status in zip(
            group.servers, (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL), strict=True
        ):
            server.status = status
        assert await group.asks(2) == {"INTERNAL": 2}
        assert sum(group.asked()) == 4
