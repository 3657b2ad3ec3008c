"""Calls that meet while a batch runs ride together; nobody pays for somebody else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.runtime.batching import Batcher
from services.runtime.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from services.runtime.model import Outputs
from tests.support.servers import PATIENCE, eventually


@dataclass(frozen=True)
class Number:
    """A question that is a number; its answer is the number again."""

    value: int
    rows: int = 1
    kind: str = "retrieve"
    answers: tuple[str, ...] = ("value",)


class GatedModel:
    """Notes every batch; computes only while its gate is open."""

    version = 1
    inputs = ()
    outputs = ()

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.bad: set[int] = set()

    def read(self, inputs: Any, parameters: Any) -> Number:
        raise NotImplementedError

    def merge(self, questions: Sequence[Number]) -> list[int]:
        return [q.value for q in questions]

    def infer(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        self.threads.add(threading.get_ident())
        assert self.gate.wait(PATIENCE)
        if self.bad & set(batch):
            raise ValueError(f"cannot compute {batch}")
        return batch

    def split(self, result: list[int], questions: Sequence[Number]) -> list[Outputs]:
        return [{"value": np.array([v])} for v in result[: len(questions)]]

    def warm_up(self, rows: Sequence[int]) -> None:
        raise NotImplementedError


@asynccontextmanager
async def _batcher(
    model: GatedModel, *, max_rows: int = 8, max_queue: int = 16, name: str = "gated"
) -> AsyncIterator[Batcher[Number]]:
    batcher = Batcher(name, model, max_rows=max_rows, max_queue=max_queue)
    batcher.start()
    try:
        yield batcher
    finally:
        model.gate.set()
        await batcher.close(PATIENCE)


async def _running(model: GatedModel) -> None:
    await eventually(lambda: model.batches, "the first batch")


def _ask(batcher: Batcher[Number], *questions: Number) -> list[asyncio.Task[Outputs]]:
    return [asyncio.create_task(batcher.submit(q)) for q in questions]


async def _values(tasks: Sequence[asyncio.Task[Outputs]]) -> list[int]:
    return [int(o["value"][0]) for o in await asyncio.gather(*tasks)]


async def test_calls_that_arrive_while_a_batch_runs_ride_in_the_next() -> None:
    model = GatedModel()
    async with _batcher(model) as batcher:
        first = _ask(batcher, Number(1))
        await _running(model)
        later = _ask(batcher, Number(2), Number(3), Number(4))
        await asyncio.sleep(0)
        model.gate.set()
        assert await _values(first + later) == [1, 2, 3, 4]
    assert model.batches == [[1], [2, 3, 4]]
    assert len(model.threads) == 1


async def test_an_idle_model_starts_at_once() -> None:
    model = GatedModel()
    model.gate.set()
    async with _batcher(model) as batcher:
        for value in (1, 2):
            assert await _values(_ask(batcher, Number(value))) == [value]
    assert model.batches == [[1], [2]]


async def test_a_batch_is_bounded_by_rows_and_keeps_the_order_of_arrival() -> None:
    model = GatedModel()
    async with _batcher(model, max_rows=8) as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        tasks += _ask(batcher, Number(1, rows=5), Number(2, rows=4), Number(3, rows=3))
        await asyncio.sleep(0)
        model.gate.set()
        await _values(tasks)
    assert model.batches == [[0], [1, 3], [2]]


async def test_a_call_larger_than_a_batch_runs_alone_rather_than_never() -> None:
    model = GatedModel()
    model.gate.set()
    async with _batcher(model, max_rows=8) as batcher:
        assert await _values(_ask(batcher, Number(1, rows=9), Number(2))) == [1, 2]
    assert model.batches == [[1], [2]]


async def test_questions_of_two_kinds_never_share_a_batch() -> None:
    model = GatedModel()
    async with _batcher(model) as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        tasks += _ask(batcher, Number(1), Number(2, kind="score"), Number(3))
        await asyncio.sleep(0)
        model.gate.set()
        await _values(tasks)
    assert model.batches == [[0], [1, 3], [2]]


async def test_one_bad_call_does_not_fail_its_batch() -> None:
    model = GatedModel()
    model.bad = {2}
    async with _batcher(model) as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        tasks += _ask(batcher, Number(1), Number(2), Number(3))
        await asyncio.sleep(0)
        model.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], ValueError)
    assert [r for r in results if isinstance(r, BaseException)] == [results[2]]
    assert model.batches == [[0], [1, 2, 3], [1], [2], [3]]


async def test_an_engine_that_loses_an_answer_fails_the_call_and_lives_on() -> None:
    class Forgetful(GatedModel):
        def split(self, result: list[int], questions: Sequence[Number]) -> list[Outputs]:
            return [] if 1 in result else super().split(result, questions)

    model = Forgetful()
    model.gate.set()
    async with _batcher(model) as batcher:
        with pytest.raises(RuntimeError, match="0 answers to 1 questions"):
            await batcher.submit(Number(1))
        assert await _values(_ask(batcher, Number(2))) == [2]


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    model = GatedModel()
    async with _batcher(model, max_queue=2) as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        tasks += _ask(batcher, Number(1), Number(2))
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted, match="gated: 2 calls are waiting") as refused:
            await batcher.submit(Number(3))
        assert refused.value.retry_after_ms > 0
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.gate.set()
        # A place that nobody waits in any more is free.
        assert await _values([tasks[0], tasks[2], *_ask(batcher, Number(4))]) == [0, 2, 4]


def _expired(source: str) -> float:
    return REGISTRY.get_sample_value("plait_expired_calls_total", {"source": source}) or 0.0


async def test_expired_and_cancelled_calls_never_reach_the_model_and_are_counted() -> None:
    model = GatedModel()
    async with _batcher(model, name="expiring") as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        now = asyncio.get_running_loop().time()
        late = asyncio.create_task(batcher.submit(Number(1), deadline=now))
        gone, live = _ask(batcher, Number(2), Number(3))
        await asyncio.sleep(0)
        gone.cancel()
        model.gate.set()
        with pytest.raises(DeadlineExceeded):
            await late
        assert await _values([*tasks, live]) == [0, 3]
    assert model.batches == [[0], [3]]
    assert _expired("expiring") == 2


async def test_a_call_cancelled_while_it_runs_leaves_its_neighbours_alone() -> None:
    model = GatedModel()
    async with _batcher(model) as batcher:
        gone, live = _ask(batcher, Number(1), Number(2))
        await _running(model)
        gone.cancel()
        model.gate.set()
        assert await _values([live]) == [2]
    assert model.batches == [[1, 2]]


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    model = GatedModel()
    async with _batcher(model) as batcher:
        tasks = _ask(batcher, Number(0))
        await _running(model)
        tasks += _ask(batcher, Number(1))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close(PATIENCE))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await batcher.submit(Number(2))
        model.gate.set()
        assert await _values(tasks) == [0, 1]
        await closing


async def test_a_thread_that_was_not_waited_for_ends_with_its_batch() -> None:
    model = GatedModel()
    batcher = Batcher("slow", model, max_rows=1, max_queue=16)
    batcher.start()
    first, *others = _ask(batcher, Number(0), Number(1), Number(2))
    await _running(model)
    await batcher.close(0.01)
    for waiting in others:
        with pytest.raises(Unavailable):
            await waiting
    model.gate.set()
    assert await _values([first]) == [0]
    await eventually(
        lambda: "engine-slow" not in [t.name for t in threading.enumerate()], "the thread's end"
    )
    assert model.batches == [[0]]


async def test_whatever_a_model_raises_its_caller_hears_and_the_next_is_answered() -> None:
    model = GatedModel()
    model.gate.set()
    async with _batcher(model) as batcher, asyncio.timeout(PATIENCE):
        split, model.split = model.split, lambda *_: [next(iter(()))]  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="StopIteration"):
            await batcher.submit(Number(1))
        model.split = split  # type: ignore[method-assign]
        assert (await batcher.submit(Number(2)))["value"] == 2


async def test_waiting_rows_and_outcomes_are_measured_by_source_and_version() -> None:
    model = GatedModel()
    model.gate.set()
    model.bad = {9}
    async with _batcher(model, name="measured") as batcher:
        await batcher.submit(Number(1, rows=3))
        with pytest.raises(ValueError, match="cannot compute"):
            await batcher.submit(Number(9))

    def value(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"source": "measured", "version": "1", **labels})

    assert value("plait_queue_seconds_count") == 2
    assert value("plait_batch_rows_sum") == 4
    assert value("plait_batch_seconds_count") == 1
    assert value("plait_inference_seconds_count", outcome="ok") == 1
    assert value("plait_inference_seconds_count", outcome="error") == 1
