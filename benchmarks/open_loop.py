"""Open-loop load: calls leave by the clock, never by the answer to another call.

A closed loop of callers slows down with the server, so it cannot overload it and
hides every stall from its latencies (coordinated omission: G. Tene, "How NOT to
Measure Latency", 2013). Here each call has a time at which it is due; its latency
counts from then, also where the driver itself was late to send it. Time
is the event loop's, so virtual time works too.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

# Does one call, named by its number, and says in a word how it ended. Must not raise.
Call = Callable[[int], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Shot:
    """One call; all times in seconds."""

    number: int
    due: float  # after the start of the loop
    late: float  # from due to sent: the driver's own delay
    took: float  # from due to the answer
    outcome: str


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the times of a Poisson process: how independent shoppers arrive."""
    chance = random.Random(seed)  # noqa: S311 -- not for secrets
    times: list[float] = []
    now = chance.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += chance.expovariate(rate)
    return times


async def open_loop(call: Call, due: Sequence[float], first: int = 0) -> list[Shot]:
    """Make a call at each of the times `due` (ascending, seconds from now); wait for all.

    Calls are numbered from `first`. Returns them in the order in which they were due.
    """
    clock = asyncio.get_running_loop().time
    start = clock()

    async def shoot(number: int, at: float) -> Shot:
        late = clock() - start - at
        outcome = await call(number)
        return Shot(number, at, late, clock() - start - at, outcome)

    tasks: list[asyncio.Task[Shot]] = []
    for number, at in enumerate(due, first):
        pause = at - (clock() - start)
        if pause > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(shoot(number, at)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(call: Call, callers: int, seconds: float, first: int = 0) -> list[Shot]:
    """Have so many callers ask, wait for the answer and ask again: what a server can do at most."""
    clock = asyncio.get_running_loop().time
    start = clock()
    shots: list[Shot] = []

    async def caller(number: int) -> None:
        while (at := clock() - start) < seconds:
            outcome = await call(number)
            shots.append(Shot(number, at, 0.0, clock() - start - at, outcome))
            number += callers

    await asyncio.gather(*(caller(first + n) for n in range(callers)))
    return shots


def quantile(shots: Sequence[Shot], q: float) -> float:
    """Return a quantile of the latencies, in seconds; 0 of none."""
    ordered = sorted(shot.took for shot in shots)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
