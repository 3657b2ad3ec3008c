"""The client of the serving benchmarks: one process, the same for every system, and cheap.

It sends bytes that were made beforehand and keeps the bytes that come back; that
each answer is right is checked after the clock has stopped, so that a system is
never credited with a wrong or partial answer, nor slowed by the check. Its own
CPU is not counted, but it shares the machine, so it does as little as it can.

Closed loop: N callers, each asks, waits and asks again. Open loop: arrivals at a
fixed mean rate, whatever the system does (benchmarks/open_loop.py).

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job.merge import Keys
from benchmarks.job.reference import Reference
from benchmarks.job.wire import CODECS, Answer, Codec, WrongReply, differences
from benchmarks.job.world import World, world
from benchmarks.open_loop import Shot, closed_loop, open_loop, poisson
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened within the measured stretch."""

    seconds: float
    client_cpu: float  # seconds of this process
    shots: list[Shot]
    replies: list[tuple[int, bytes]]  # shopper's number and what came back


class Load:
    """Asks one system; see the module."""

    def __init__(self, task: Task, pipe: Pipe, requests: list[bytes]) -> None:
        self._task = task
        self._pipe = pipe
        self._requests = requests
        self._chance = random.Random(task.seed)  # noqa: S311 -- not for secrets
        self._replies: dict[int, tuple[int, bytes]] = {}

    async def run(self) -> Seen:
        """Warm up, measure, and return what was seen in between."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        running = asyncio.create_task(self._shoot(self._task.warm_up + self._task.seconds))
        await asyncio.sleep(self._task.warm_up)
        cpu, began = time.process_time(), loop.time()
        print("measuring", flush=True)
        await asyncio.sleep(self._task.seconds)
        cpu, ended = time.process_time() - cpu, loop.time()
        print("measured", flush=True)
        shots = [s for s in await running if began <= start + self._when(s) < ended]
        replies = [self._replies[s.number] for s in shots if s.outcome == ""]
        return Seen(ended - began, cpu, shots, replies)

    async def _shoot(self, seconds: float) -> list[Shot]:
        if self._task.rate:
            return await open_loop(self._ask, poisson(self._task.rate, seconds, self._task.seed))
        return await closed_loop(self._ask, self._task.callers, seconds)

    def _when(self, shot: Shot) -> float:
        """Say when a call counts: by the clock when it was due, else when it was answered."""
        return shot.due if self._task.rate else shot.due + shot.took

    async def _ask(self, number: int) -> str:
        """Ask for some shopper; return "", or what went wrong."""
        shopper = self._chance.randrange(len(self._requests))
        reply, failure = await self._pipe.ask(self._requests[shopper], _TIMEOUT)
        if not failure:
            self._replies[number] = shopper, reply
        return failure


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
        seen = await Load(task, pipe, bodies).run()
    failures = Counter(s.outcome for s in seen.shots if s.outcome) + wrong(seen, codec, expected)
    return {
        "seconds": seen.seconds,
        "client_cpu": seen.client_cpu,
        "latencies": [shot.took for shot in seen.shots],
        "failures": dict(failures),
    }


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
