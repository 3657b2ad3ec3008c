"""The client of the serving benchmarks: one process, the same for every system, and cheap.

It sends bytes that were made beforehand and keeps the bytes that come back; that
each answer is right is checked after the clock has stopped, so that a system is
never credited with a wrong or partial answer, nor slowed by the check. Its own
CPU is not counted, but it shares the machine, so it does as little as it can.

Closed loop: N callers, each asks, waits and asks again. Open loop: arrivals at a
fixed mean rate (Poisson, seeded), whatever the system does; latency counts from
the moment a request was due, so a stall is charged to every request it delayed
(no coordinated omission).

Speaks JSON lines on stdin and stdout: a `Task` in; "measuring" and "measured" out
at the ends of the measured stretch, then a result.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job.merge import Keys
from benchmarks.job.reference import Reference
from benchmarks.job.wire import CODECS, Answer, Codec, WrongReply, differences
from benchmarks.job.world import World, world
from benchmarks.transport import Pipe, open_pipe

# The histories in a run: enough that no cache of a whole answer is warm by accident.
SHOPPERS = 512
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement."""

    kind: str  # "grpc" or "http"
    address: str
    path: str
    codec: str
    seconds: float
    # One of the two: callers in a closed loop, or requests a second in an open one.
    callers: int = 0
    rate: float = 0.0
    warm_up: float = 1.0
    length: int = 50
    seed: int = 0
    # Whether the answers must be the job's; if not, they only have to be whole.
    exact: bool = True


@dataclass(slots=True)
class Seen:
    """What happened within the measured stretch."""

    measuring: bool = False
    stopping: bool = False
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    replies: list[tuple[int, bytes]] = field(default_factory=list)


class Load:
    """Asks one system; see the module."""

    def __init__(self, task: Task, pipe: Pipe, requests: list[bytes]) -> None:
        self._task = task
        self._pipe = pipe
        self._requests = requests
        self._chance = random.Random(task.seed)  # noqa: S311 -- not for secrets
        self.seen = Seen()

    async def run(self) -> float:
        """Warm up, measure; return the seconds measured."""
        work = self._open_loop() if self._task.rate else self._closed_loop()
        running = asyncio.create_task(work)
        await asyncio.sleep(self._task.warm_up)
        self.seen.measuring, began = True, time.perf_counter()
        print("measuring", flush=True)
        await asyncio.sleep(self._task.seconds)
        self.seen.measuring, took = False, time.perf_counter() - began
        print("measured", flush=True)
        self.seen.stopping = True
        await running
        return took

    async def _closed_loop(self) -> None:
        await asyncio.gather(*(self._caller() for _ in range(self._task.callers)))

    async def _caller(self) -> None:
        while not self.seen.stopping:
            await self._ask(time.perf_counter())

    async def _open_loop(self) -> None:
        due, asked = time.perf_counter(), set()
        while not self.seen.stopping:
            due += self._chance.expovariate(self._task.rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            one = asyncio.create_task(self._ask(due))
            asked.add(one)
            one.add_done_callback(asked.discard)
        await asyncio.gather(*asked)

    async def _ask(self, due: float) -> None:
        """Ask for a shopper; latency counts from `due`."""
        number = self._chance.randrange(len(self._requests))
        # A request of an open loop counts where it was due, however late it ends.
        counted = self.seen.measuring
        reply, failure = await self._pipe.ask(self._requests[number], _TIMEOUT)
        if not (counted if self._task.rate else self.seen.measuring):
            return
        self.seen.seconds.append(time.perf_counter() - due)
        if failure:
            self.seen.failures[failure] += 1
        else:
            self.seen.replies.append((number, reply))


def wrong(seen: Seen, codec: Codec, expected: list[Answer] | None) -> Counter[str]:
    """Return what was wrong with replies, by reason; empty if nothing was."""
    found: Counter[str] = Counter()
    for number, reply in seen.replies:
        try:
            answer = codec.reply(reply)
        except WrongReply as error:
            found[str(error)] += 1
            continue
        if expected is not None and (why := differences(answer, expected[number])):
            found[why] += 1
    return found


class Requests:
    """Histories and expected answers by length, made once."""

    def __init__(self, shop: World, reference: Reference) -> None:
        self._shop = shop
        self._reference = reference
        self._histories: dict[int, Keys] = {}
        self._answers: dict[int, list[Answer]] = {}

    def histories(self, length: int) -> Keys:
        """Return the shoppers' histories [SHOPPERS, length]."""
        if length not in self._histories:
            self._histories[length] = self._shop.histories(SHOPPERS, length)
        return self._histories[length]

    def expected(self, length: int) -> list[Answer]:
        """Return the right answers."""
        if length not in self._answers:
            parts = np.split(self.histories(length), SHOPPERS // 16)
            self._answers[length] = [a for part in parts for a in self._reference.answer(part)]
        return self._answers[length]


async def perform(task: Task, requests: Requests) -> dict[str, Any]:
    """Do one measurement and return it, writable as JSON."""
    codec = CODECS[task.codec]
    histories = requests.histories(task.length)
    expected = requests.expected(task.length) if task.exact else None
    bodies = [codec.request(number, history) for number, history in enumerate(histories)]
    async with open_pipe(task.kind, task.address, task.path, codec.content_type) as pipe:
        load = Load(task, pipe, bodies)
        took = await load.run()
    failures = load.seen.failures + wrong(load.seen, codec, expected)
    return {"seconds": took, "latencies": load.seen.seconds, "failures": dict(failures)}


def main() -> None:
    """Run as `python -m benchmarks.load`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    requests = Requests(world(arguments.seed), Reference(arguments.repository))
    for line in sys.stdin:
        result = asyncio.run(perform(Task(**json.loads(line)), requests))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
