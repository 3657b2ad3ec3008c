"""Who goes in, who waits, who is refused; in virtual time, so every second is exact."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import pytest
from prometheus_client import REGISTRY

from benchmarks.virtual_time import run
from gateway.admission.gate import Gate
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from services.runtime.errors import DeadlineExceeded, PlaitError, ResourceExhausted

RANKS = {"SEARCH": 0, "HOME": 1, "RANK": 2}


class Scene:
    """A gate of a fixed width, and a log of what happened when."""

    def __init__(self, width: int = 4, took: float = 1.0) -> None:
        self._clock = asyncio.get_running_loop().time
        self.limit = Limit(target=10.0, floor=width, ceiling=width, start=width)
        for _ in range(10):  # what a call takes is known from before
            self.limit.note(took, 1, 0.0)
        self.gate = Gate(RANKS, self.limit, Notes("rankings", tuple(RANKS)), clock=self._clock)
        self.log: list[tuple[float, str, str]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(
        self, kind: str = "HOME", seconds: float = 1.0, allowed: float = math.inf
    ) -> asyncio.Task[None]:
        """A call comes now, works for `seconds`, and has `allowed` seconds in all."""
        task = asyncio.create_task(self._call(kind, seconds, self._clock() + allowed))
        self.tasks.append(task)
        return task

    async def _call(self, kind: str, seconds: float, until: float) -> None:
        try:
            async with self.gate.admitted(kind, until):
                self.log.append((self._clock(), kind, "in"))
                await asyncio.sleep(seconds)
        except PlaitError as error:
            self.log.append((self._clock(), kind, type(error).__name__))

    async def end(self) -> list[tuple[float, str, str]]:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.log


def played(scene: Coroutine[Any, Any, list[tuple[float, str, str]]]) -> list[tuple[str, str]]:
    return [(kind, what) for _, kind, what in run(scene)]


def test_as_many_as_the_limit_are_inside_and_half_as_many_wait() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=4)
        for _ in range(10):
            scene.come("SEARCH")
        return await scene.end()

    log = run(play())
    assert [at for at, _, what in log if what == "in"] == [0, 0, 0, 0, 1, 1]
    assert [at for at, _, what in log if what == "ResourceExhausted"] == [0, 0, 0, 0]


def test_a_refusal_names_a_pause_and_no_two_pauses_are_alike() -> None:
    async def play() -> list[int]:
        gate = Scene(width=1).gate
        pauses = []
        async with gate.admitted("HOME", math.inf):
            waiting = asyncio.ensure_future(gate.enter("SEARCH", math.inf))
            await asyncio.sleep(0)
            for _ in range(5):
                with pytest.raises(ResourceExhausted) as refused:
                    await gate.enter("SEARCH", math.inf)
                pauses.append(refused.value.retry_after_ms)
                assert refused.value.trailing_metadata[0][0] == "grpc-retry-pushback-ms"
        await waiting
        return pauses

    pauses = run(play())
    assert len(set(pauses)) == 5
    assert all(1000 <= pause <= 3000 for pause in pauses)


def test_the_end_of_the_queue_is_kept_for_higher_ranks() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=8)  # four may wait; of the last rank two, of the middle one three
        for kind in ["HOME"] * 8 + ["RANK"] * 3 + ["HOME"] * 2 + ["SEARCH"] * 2:
            scene.come(kind)
        return await scene.end()

    log = played(play())
    assert log.count(("RANK", "ResourceExhausted")) == 1
    assert log.count(("HOME", "ResourceExhausted")) == 1
    assert log.count(("SEARCH", "ResourceExhausted")) == 1


def test_who_waits_goes_in_by_rank_and_then_by_arrival() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=8)
        for _ in range(8):
            scene.come("SEARCH")
        for kind in ("RANK", "HOME", "SEARCH"):
            scene.come(kind)
        return await scene.end()

    assert [kind for kind, _ in played(play())][8:] == ["SEARCH", "HOME", "RANK"]


def test_who_could_not_be_in_time_is_refused_on_arrival() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=2, took=1.0)
        for _ in range(2):
            scene.come()
        scene.come("SEARCH", allowed=1.4)  # half a second of waiting and one of work
        return await scene.end()

    assert run(play())[2] == (0.0, "SEARCH", "ResourceExhausted")


def test_an_idle_gate_lets_everybody_try_whatever_time_they_have() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=2, took=1.0)
        scene.come(allowed=0.01)
        return await scene.end()

    assert played(play()) == [("HOME", "in")]


def test_in_a_crowded_gate_who_has_too_little_time_is_refused_though_there_is_room() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=4, took=1.0)
        scene.come(allowed=0.5)
        scene.come()
        scene.come(allowed=0.5)
        return await scene.end()

    assert played(play()) == [("HOME", "in"), ("HOME", "in"), ("HOME", "ResourceExhausted")]


def test_who_ran_out_of_time_while_waiting_goes_out_before_any_work() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=2, took=1.0)
        for _ in range(2):
            scene.come(seconds=5.0)  # slower than calls were
        scene.come("SEARCH", allowed=2.0)
        return await scene.end()

    assert run(play())[2:] == [(5.0, "SEARCH", "DeadlineExceeded")]


def test_a_caller_that_goes_while_it_waits_leaves_its_place_to_the_next() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=2)
        for _ in range(2):
            scene.come()
        going = scene.come("SEARCH")
        await asyncio.sleep(0.5)
        going.cancel()
        await asyncio.sleep(0)
        scene.come("SEARCH")
        return await scene.end()

    assert run(play())[2:] == [(1.0, "SEARCH", "in")]


def test_who_comes_when_all_have_just_gone_does_not_wait_for_one_that_gave_up() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=4)
        visits = [await scene.gate.enter("SEARCH", math.inf) for _ in range(4)]
        going = scene.come("SEARCH")
        await asyncio.sleep(0)
        # All in one turn of the loop: the last ones leave, and the next one comes.
        going.cancel()
        for visit in visits:
            scene.gate.leave(visit, None)
        async with asyncio.timeout(5), scene.gate.admitted("SEARCH", math.inf):
            scene.come("HOME")
            return await scene.end()

    assert played(play()) == [("HOME", "in")]


def test_a_caller_that_goes_in_the_moment_it_is_let_in_gives_its_place_back() -> None:
    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=1)
        async with scene.gate.admitted("HOME", math.inf):
            going = scene.come("SEARCH")
            await asyncio.sleep(0)
        going.cancel()
        await asyncio.wait({going})
        scene.come("HOME")
        return await scene.end()

    assert played(play()) == [("HOME", "in")]


def test_work_that_fails_gives_its_place_back_and_teaches_nothing() -> None:
    async def play() -> int:
        scene = Scene(width=1)
        scene.limit.typical = 0.5
        for _ in range(30):
            with pytest.raises(DeadlineExceeded):
                async with scene.gate.admitted("HOME", math.inf):
                    raise DeadlineExceeded("too late")
        assert scene.limit.typical == 0.5
        async with scene.gate.admitted("HOME", math.inf):
            return scene.limit.value

    assert run(play()) == 1


def test_admitted_refused_and_waiting_are_counted_by_kind_and_reason() -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    def counts() -> tuple[float, ...]:
        return (
            value("plait_admitted_total", kind="SEARCH"),
            value("plait_admission_wait_seconds_count", kind="SEARCH"),
            value("plait_refused_total", kind="SEARCH", reason="full"),
            value("plait_refused_total", kind="SEARCH", reason="cancelled"),
        )

    async def play() -> list[tuple[float, str, str]]:
        scene = Scene(width=4)
        for _ in range(5):
            scene.come("SEARCH")
        going = scene.come("SEARCH")
        scene.come("SEARCH")
        await asyncio.sleep(0.5)
        going.cancel()
        return await scene.end()

    before = counts()
    run(play())
    assert tuple(b - a for a, b in zip(before, counts(), strict=True)) == (5, 5, 1, 1)
    assert value("plait_admission_limit", lane="rankings") == 4
