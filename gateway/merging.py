"""Merging answers into rankings: all requests that are ready, one stage after the other.

The code and the tables of a stage are in the processor's caches once it has run; when
another hundred microseconds of other code have passed, they are not. So requests that
are ready at the same time are merged together, each stage for all of them before the
next (cohort scheduling: Larus and Parkes, USENIX 2002). Nothing is shared between them:
each has its own pool, and one that fails fails alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from gateway.admission.turns import Turns
from gateway.fusion.pipeline import STAGES, run
from gateway.fusion.types import Pool, Query
from services.runtime.errors import DeadlineExceeded

# Merged together at most.
MOST = 8
# Seconds of work after which those at the door are let in, between two stages: a loop that
# merges hears nobody else.
_BREATH = 0.002


class Merge:
    """One request's answers on their way to a ranking."""

    __slots__ = ("_build", "_expires", "_query", "_since", "error", "pool", "stages", "told")

    def __init__(self, query: Query, build: Callable[[], Pool], expires: float) -> None:
        """`build` makes the pool; after `expires` (time.perf_counter()) nobody wants it."""
        self._query = query
        self._build = build
        self._since = perf_counter()
        self._expires = expires
        self.pool: Pool | None = None
        self.error: Exception | None = None
        self.stages: list[tuple[str, float]] = []
        self.told: asyncio.Future[None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return self.told is None or not self.told.done()

    def step(self, number: int) -> None:
        """Build the pool (0), or run stage `number`; a failure is kept for `result`."""
        if self.error is not None:
            return
        try:
            if self.pool is None:
                self.pool = self._begin()
            else:
                self.pool = run(self._query, self.pool, self._note, STAGES[number - 1 : number])
        except Exception as error:  # the others in the cohort are none the worse
            self.error = error

    def _begin(self) -> Pool:
        start = perf_counter()
        if start >= self._expires:
            raise DeadlineExceeded("the answers of the models came too late to merge")
        self._note("turn", start - self._since)
        pool = self._build()
        self._note("pool", perf_counter() - start)
        return pool

    def _note(self, name: str, seconds: float) -> None:
        self.stages.append((name, seconds))

    def result(self) -> Pool:
        """Return the finished pool; raises what a stage raised."""
        if self.error is not None or self.pool is None:
            raise self.error or RuntimeError("the pool has not been built")
        return self.pool


def together(merges: Sequence[Merge]) -> Iterator[None]:
    """Build all pools, then run every stage on all of them; yields before each step."""
    for number in range(len(STAGES) + 1):
        yield
        for merge in merges:
            merge.step(number)


def run_together(merges: Sequence[Merge]) -> None:
    """Run all steps without a pause."""
    for _ in together(merges):
        pass


class Merger:
    """Merges what is ready, and lets in who stands at the door in between.

    Belongs to the event loop.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: deque[Merge] = deque()
        self._work: asyncio.Task[None] | None = None

    async def merge(self, merge: Merge) -> Pool:
        """Return the finished pool; raises DeadlineExceeded, and what a stage raises."""
        if self._work is None and self._turns.alone:  # it has held nobody up
            run_together([merge])
            return merge.result()
        merge.told = asyncio.get_running_loop().create_future()
        self._waiting.append(merge)
        if self._work is None:
            self._work = asyncio.create_task(self._merge_all())
        await merge.told
        return merge.result()

    async def _merge_all(self) -> None:
        try:
            while self._waiting:
                await self._turns.let_in()
                cohort = self._next()
                await self._run_together(cohort)
                for merge in cohort:
                    # Callers may have gone while others were let in.
                    if merge.told is not None and merge.wanted:
                        merge.told.set_result(None)
        finally:
            self._work = None
            for merge in self._waiting:  # this task was cancelled: they are as well
                if merge.told is not None:
                    merge.told.cancel()
            self._waiting.clear()

    async def _run_together(self, cohort: Sequence[Merge]) -> None:
        """Run all steps, and let in who stands at the door where they take long."""
        began = perf_counter()
        for _ in together(cohort):
            if perf_counter() - began > _BREATH:
                await self._turns.let_in()
                began = perf_counter()

    def _next(self) -> list[Merge]:
        """Take the oldest whose callers are still there."""
        cohort: list[Merge] = []
        while self._waiting and len(cohort) < MOST:
            merge = self._waiting.popleft()
            if merge.wanted:
                cohort.append(merge)
        return cohort
