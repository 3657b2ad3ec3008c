"""Asking a second replica where the first is slower than usual, or has failed.

The first answer wins and the other call is cancelled (hedged requests: Dean and
Barroso, The tail at scale, CACM 2013). gRPC's own hedgingPolicy does nothing in
Python.
"""

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from gateway.replicas.attempt import Attempt
from gateway.replicas.verdict import worth_another

T = TypeVar("T")


class Reason(Enum):
    """Why a second replica is asked."""

    SLOW = "slow"
    FAILED = "failed"


async def race(
    first: Attempt[T],
    seconds: float,
    patience: float | None,
    another: Callable[[Reason], Attempt[T] | None],
    told: Callable[[Reason, bool], None],
) -> T:
    """Return the first good answer within `seconds`, else raise what the first call said.

    After `patience` seconds (None: never), or when the first has failed in a way that
    is its own, `another` may give a second attempt; `told` hears whether that was used.
    """
    end = time.perf_counter() + seconds
    tasks = [_start(first, seconds)]
    try:
        await asyncio.wait(tasks, timeout=patience)
        reason = _reason(tasks[0])
        second = another(reason) if reason is not None else None
        if reason is None or second is None:
            return await tasks[0]
        tasks.append(_start(second, max(0.0, end - time.perf_counter())))
        winner = await _first_good(tasks)
        if winner is tasks[1] and not tasks[0].done():
            first.outrun()
        told(reason, winner is tasks[1])
        return winner.result()
    finally:
        for task in tasks:
            task.cancel()


def _start(attempt: Attempt[T], seconds: float) -> asyncio.Task[T]:
    task = asyncio.create_task(attempt.run(seconds))
    # Nobody may be waiting any more when it fails.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _reason(task: asyncio.Task[T]) -> Reason | None:
    if not task.done():
        return Reason.SLOW
    error = None if task.cancelled() else task.exception()
    return Reason.FAILED if error is not None and worth_another(error) else None


async def _first_good(tasks: list[asyncio.Task[T]]) -> asyncio.Task[T]:
    """Return the first task that succeeds; the first of all if none does."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and not task.cancelled() and task.exception() is None:
                return task
    return tasks[0]
