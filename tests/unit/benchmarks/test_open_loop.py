"""Arrivals follow the clock, and a stall shows in the latencies of all who came meanwhile."""

import asyncio

import pytest

from benchmarks.open_loop import closed_loop, open_loop, poisson, quantile
from benchmarks.virtual_time import run


def test_calls_leave_when_they_are_due_however_long_the_others_take() -> None:
    async def call(number: int) -> str:
        await asyncio.sleep(10.0 if number == 0 else 0.5)
        return "ok"

    shots = run(open_loop(call, [1.0, 2.0, 3.0]))
    assert [shot.took for shot in shots] == pytest.approx([10.0, 0.5, 0.5])
    assert [shot.late for shot in shots] == pytest.approx([0.0, 0.0, 0.0])


def test_a_server_that_stalls_is_slow_for_everybody_who_came_meanwhile() -> None:
    async def call(_: int) -> str:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, 5.0 - now))
        return "ok"

    shots = run(open_loop(call, [1.0, 2.0, 3.0, 6.0]))
    assert [shot.took for shot in shots] == pytest.approx([4.0, 3.0, 2.0, 0.0])


def test_arrivals_are_those_of_a_poisson_process_and_the_same_for_a_seed() -> None:
    times = poisson(100.0, 50.0, seed=3)
    assert times == poisson(100.0, 50.0, seed=3)
    assert times != poisson(100.0, 50.0, seed=4)
    assert times == sorted(times)
    assert 4700 < len(times) < 5300


def test_a_closed_loop_waits_for_each_answer() -> None:
    async def call(_: int) -> str:
        await asyncio.sleep(0.5)
        return "ok"

    shots = run(closed_loop(call, callers=3, seconds=2.0))
    assert len(shots) == 12
    assert len({shot.number for shot in shots}) == 12


def test_quantiles_of_nothing_are_nothing() -> None:
    assert quantile([], 0.5) == 0.0
