"""However calls come, end and give up, no place in the gate is lost and none is given twice."""

import asyncio
import random

import pytest

from gateway.admission.gate import Gate
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from services.runtime.errors import PlaitError

RANKS = {"STORM-A": 0, "STORM-B": 1, "STORM-C": 2}
KINDS = tuple(RANKS)


class Storm:
    """Callers of a gate who do as chance says."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.now = 0.0
        self.limit = Limit(
            target=1.0, floor=self.draw.randint(1, 3), ceiling=8, start=self.draw.randint(1, 5)
        )
        self.gate = Gate(
            RANKS, self.limit, Notes("storm", KINDS),
            queue_share=self.draw.choice([0.125, 0.5, 2, 4]), clock=lambda: self.now,
        )  # fmt: skip
        self.inside = 0
        self.leaving: list[asyncio.Event] = []
        self.callers: list[asyncio.Task[None]] = []

    async def call(self) -> None:
        until = self.now + self.draw.choice([0.01, 0.5, 2.0, 1e9])
        try:
            async with self.gate.admitted(self.draw.choice(KINDS), until) as visit:
                self.inside += 1
                try:
                    may_leave = asyncio.Event()
                    self.leaving.append(may_leave)
                    await may_leave.wait()
                    if self.draw.random() < 0.2:
                        raise ValueError("it went wrong")
                    visit.note(self.draw.choice([None, 0.1, 3.0]))
                finally:
                    self.inside -= 1
        except (PlaitError, ValueError):
            pass

    def happen(self) -> None:
        """Have one or two things happen in the same moment."""
        for _ in range(self.draw.choice([1, 1, 2, 3])):
            what = self.draw.random()
            if what < 0.45:
                self.callers.append(asyncio.create_task(self.call()))
            elif what < 0.65 and self.leaving:
                self.leaving.pop(self.draw.randrange(len(self.leaving))).set()
            elif what < 0.85 and self.callers:
                self.draw.choice(self.callers).cancel()
            else:
                self.now += self.draw.choice([0.01, 0.3, 1.0])

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        self.callers = [task for task in self.callers if not task.done()]

    def check(self) -> None:
        """Whoever is there is inside or waits, and nobody waits beside a free place."""
        waiting = sum(not w.place.done() for queue in self.gate._queues for w in queue)
        assert (self.gate._inside, self.gate._waiting) == (self.inside, waiting)
        assert len(self.callers) == self.inside + waiting
        assert not waiting or self.inside >= self.limit.value


@pytest.mark.parametrize("seed", range(60))
async def test_every_place_is_given_back_once(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(80):
        storm.happen()
        if storm.draw.random() < 0.4:
            await storm.settle()
            storm.check()
    for caller in storm.callers:
        caller.cancel()
    await asyncio.gather(*storm.callers, return_exceptions=True)
    assert (storm.gate._inside, storm.gate._waiting, storm.inside) == (0, 0, 0)
