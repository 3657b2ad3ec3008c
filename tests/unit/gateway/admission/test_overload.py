"""A gate before a machine that works in batches, under more than the machine can do."""

import asyncio
from collections import Counter

import pytest

from benchmarks.limits import ALLOWED, Machine, adaptive, capacity, fixed, load
from benchmarks.open_loop import Shot, open_loop, poisson
from benchmarks.virtual_time import run
from gateway.admission.gate import Gate
from gateway.admission.lanes import RANKINGS_WAITING
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from gateway.quality import Quality
from services.runtime.errors import PlaitError


def machine() -> Machine:
    return Machine(fixed=0.006, per_row=0.006)


@pytest.fixture(scope="module")
def most() -> float:
    """What the machine can do with the best constant limit."""
    return capacity(machine)


def test_at_three_times_the_capacity_most_of_it_is_still_answered_in_time(most: float) -> None:
    seen = load(machine(), adaptive(Limit)(), 3 * most, 20)
    assert seen.goodput > 0.8 * most
    outcomes = Counter(shot.outcome for shot in seen.shots)
    assert outcomes["RESOURCE_EXHAUSTED"] > outcomes["late"] + outcomes["DEADLINE_EXCEEDED"]


def test_without_a_limit_hardly_anything_is(most: float) -> None:
    assert load(machine(), fixed(1000)(), 3 * most, 20).goodput < 0.2 * most


def test_a_machine_at_half_its_speed_is_given_half_the_load(most: float) -> None:
    slow = machine()
    slow.speed = 0.5
    assert load(slow, adaptive(Limit)(), 3 * most, 20).goodput > 0.6 * most / 2


def test_on_a_slow_machine_those_who_come_too_late_take_no_place_of_others() -> None:
    def slow() -> Machine:
        return Machine(fixed=0.006, per_row=0.012)

    most = capacity(slow)
    assert load(slow(), adaptive(Limit)(), 3 * most, 20, late=0.1).goodput > 0.65 * most


def test_refusals_come_at_once_and_end_soon_after_the_overload(most: float) -> None:
    shots = run(overload_then_calm(most))
    refused = [s for s in shots if s.outcome == "RESOURCE_EXHAUSTED"]
    assert max(s.took for s in refused) < 0.005
    assert max(s.due for s in shots if s.outcome != "ok") < 10 + 1


def test_quality_falls_under_load_before_anybody_is_refused_and_comes_back(most: float) -> None:
    changes: list[tuple[float, float]] = []
    shots = run(overload_then_calm(most, changes))
    first_refusal = min(s.due for s in shots if s.outcome != "ok")
    falls = [at for at, factor in changes if factor < 1]
    assert falls[0] < first_refusal
    assert min(factor for _, factor in changes) == 0.3
    assert changes[-1][1] == 1.0
    assert changes[-1][0] < 10 + 5


async def overload_then_calm(
    most: float, changes: list[tuple[float, float]] | None = None
) -> list[Shot]:
    """Rise to three times the capacity over some seconds, end at 10 s; a third of it until 16 s."""
    clock = asyncio.get_running_loop().time
    quality = Quality(clock=clock)

    def moved(load: float, now: float) -> None:
        before = quality.factor
        quality.note(load, now)
        if changes is not None and quality.factor != before:
            changes.append((now, quality.factor))

    works = machine()
    gate = Gate(
        {"HOME": 0}, adaptive(Limit)(), Notes("rankings", ("HOME",)),
        queue_share=RANKINGS_WAITING, moved=moved, clock=clock,
    )  # fmt: skip

    async def call(_: int) -> str:
        try:
            async with gate.admitted("HOME", clock() + ALLOWED):
                await works.work()
        except PlaitError as error:
            return error.status.name
        return "ok"

    times: list[float] = []
    for start, seconds, rate in ((0, 2, 0.3), (2, 3, 0.8), (5, 5, 3.0), (10, 6, 0.3)):
        times += [start + t for t in poisson(rate * most, seconds, seed=start)]
    return await open_loop(call, times)
