"""The client of the serving benchmark, in a process of its own: N callers in a closed loop.

Each caller asks for HOME, waits for the answer and asks again, for one real
household after another. Prints one line when the warm-up is over (CPU is read
from then on) and one JSON line at the end.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import grpc

from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

# How a call ends that brings a ranking; others end in the name of a status.
ANSWERED = ("ok", "partial")


class Load:
    """Counts what happened between the end of the warm-up and the end."""

    def __init__(self, users: list[str], seed: int) -> None:
        self._users = users
        self._chance = random.Random(seed)  # noqa: S311 -- not for secrets
        self.measuring = False
        self.stopping = False
        self.seconds: list[float] = []
        self.outcomes: Counter[str] = Counter()

    def request(self) -> RecommendRequest:
        """Return the next request: HOME for a household, a page of 20."""
        user = self._chance.choice(self._users)
        return RecommendRequest(shopper=Shopper(user_id=user), surface=t.SURFACE_HOME)

    def note(self, seconds: float, outcome: str) -> None:
        """Count a call; the time of one that failed is no ranking's, and may be very short."""
        if self.measuring:
            self.outcomes[outcome] += 1
            if outcome in ANSWERED:
                self.seconds.append(seconds)


async def caller(stub: "RecommendationServiceStub", load: Load) -> None:
    """Ask until told to stop."""
    while not load.stopping:
        began = time.perf_counter()
        try:
            answer = await stub.Recommend(load.request(), timeout=5.0)  # type: ignore[misc]
            outcome = ANSWERED[answer.coverage.partial]
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        load.note(time.perf_counter() - began, outcome)


async def run(arguments: argparse.Namespace, load: Load) -> dict[str, object]:
    """Warm up, measure, and return the counts."""
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(arguments.address, options=options) as channel:
        stub = RecommendationServiceStub(channel)
        tasks = [asyncio.create_task(caller(stub, load)) for _ in range(arguments.callers)]
        await asyncio.sleep(arguments.warm_up)
        load.measuring, began = True, time.perf_counter()
        print("measuring", flush=True)
        await asyncio.sleep(arguments.seconds)
        load.measuring, took = False, time.perf_counter() - began
        print("measured", flush=True)
        load.stopping = True
        await asyncio.gather(*tasks)
    return {"seconds": took, "latencies": load.seconds, "outcomes": dict(load.outcomes)}


def main() -> None:
    """Run as `python -m benchmarks.callers`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--users", required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    load = Load(json.loads(Path(arguments.users).read_text()), arguments.seed)
    json.dump(asyncio.run(run(arguments, load)), sys.stdout)


if __name__ == "__main__":
    main()
