"""Merging: what is ready together is merged together, and nobody pays for another's mistake."""

import asyncio
import math
from collections.abc import Callable
from time import perf_counter, sleep

import numpy as np
import pytest

from gateway.admission.turns import Turns
from gateway.fusion.pipeline import STAGES, build_pool, run
from gateway.fusion.types import Pool, Query
from gateway.merging import MOST, Merge, Merger, run_together
from gateway.traffic import Traffic
from services.runtime.errors import DeadlineExceeded
from tests.unit.fusion.builders import query, scored


class Mistake(Exception):
    """Something that no stage should raise."""


def merge(
    asked: Query, expires: float = math.inf, build: Callable[[], Pool] | None = None
) -> Merge:
    candidates = scored(cf={0: 0.9, 3: 0.4}, text={3: 0.8, 5: 0.1})
    return Merge(asked, build or (lambda: build_pool(asked, candidates)), expires)


def broken() -> Pool:
    raise Mistake


def busy() -> Traffic:
    traffic = Traffic()
    traffic.enter()
    traffic.enter()
    return traffic


def order_of(pool: Pool) -> list[int]:
    return pool.rows[pool.order].tolist()


def expected(asked: Query) -> Pool:
    return run(asked, merge(asked)._build())


def test_together_each_gets_what_it_would_get_alone() -> None:
    asked = [query(), query(diversity=0.5), query(limit=1)]
    merges = [merge(a) for a in asked]
    run_together(merges)
    for one, by_itself in zip(merges, map(expected, asked), strict=True):
        assert order_of(one.result()) == order_of(by_itself)
        np.testing.assert_array_equal(one.result().total, by_itself.total)
        assert [name for name, _ in one.stages] == ["turn", "pool", *(s.__name__ for s in STAGES)]


def test_one_that_fails_fails_alone() -> None:
    merges = [merge(query()), merge(query(), build=broken), merge(query())]
    run_together(merges)
    with pytest.raises(Mistake):
        merges[1].result()
    for fine in (merges[0], merges[2]):
        assert order_of(fine.result()) == order_of(expected(query()))


def test_what_nobody_waits_for_any_more_is_not_merged() -> None:
    late = merge(query(), expires=perf_counter() - 1, build=broken)
    run_together([late])
    with pytest.raises(DeadlineExceeded):
        late.result()


async def test_a_lone_ranking_is_merged_at_once() -> None:
    merger = Merger(Turns(Traffic()))
    alone = merge(query())
    asyncio.get_running_loop().call_soon(lambda: pytest.fail("the loop has turned"))
    assert order_of(await merger.merge(alone)) == order_of(expected(query()))
    assert alone.told is None


async def test_those_that_are_ready_are_merged_together_and_the_rest_after_them() -> None:
    merger = Merger(Turns(busy()))
    built: list[int] = []
    # How many pools had been built when each was merged: those of its cohort and before it.
    found: dict[int, int] = {}

    async def one(number: int) -> None:
        def build() -> Pool:
            built.append(number)
            return merge(query())._build()

        await merger.merge(merge(query(), build=build))
        found[number] = len(built)

    await asyncio.gather(*(one(n) for n in range(MOST + 1)))
    assert built == list(range(MOST + 1))
    assert [found[n] for n in range(MOST + 1)] == [MOST] * MOST + [MOST + 1]


async def test_one_whose_caller_has_gone_is_left_out_and_the_others_are_served() -> None:
    merger = Merger(Turns(busy()))
    gone = asyncio.create_task(merger.merge(merge(query(), build=broken)))
    stays = asyncio.create_task(merger.merge(merge(query())))
    await asyncio.sleep(0)
    gone.cancel()
    assert order_of(await stays) == order_of(expected(query()))
    assert gone.cancelled()


async def test_a_caller_who_goes_during_the_merge_takes_nobody_along() -> None:
    merger = Merger(Turns(busy()))
    begun = asyncio.Event()

    def build() -> Pool:
        sleep(0.003)  # so long that a pause follows
        begun.set()
        return merge(query())._build()

    goes = asyncio.create_task(merger.merge(merge(query(), build=build)))
    stays = asyncio.create_task(merger.merge(merge(query())))
    await begun.wait()
    goes.cancel()
    assert order_of(await asyncio.wait_for(stays, 5)) == order_of(expected(query()))
    assert goes.cancelled()
    assert order_of(await merger.merge(merge(query()))) == order_of(expected(query()))


async def test_the_next_burst_is_merged_as_the_first() -> None:
    merger = Merger(Turns(busy()))
    for _ in range(3):
        pools = await asyncio.gather(*(merger.merge(merge(query())) for _ in range(3)))
        assert {tuple(order_of(pool)) for pool in pools} == {tuple(order_of(expected(query())))}
