"""The client of the overload benchmark, in a process of its own.

It measures the capacity, overloads, calms down and measures the capacity again. What
overload is compared with is the mean of both: a machine that others use has another
speed a minute later, and one capacity, before, would take that for the overload's doing.

Asks for rankings on all surfaces, as a shop would. Prints "phase NAME" when a
phase begins (CPU is read from then on) and one JSON line at the end. It speaks to the
gateway through grpc_pipe: three times what a machine can carry, asked by grpc.aio, is an
eighth of that machine.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.grpc_pipe import Http2
from benchmarks.open_loop import Call, Shot, closed_loop, open_loop, poisson, quantile
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import (
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
    Shopper,
)

# Of a hundred rankings.
MIX = {"HOME": 50, "ITEM": 20, "SESSION": 10, "CART": 10, "SEARCH": 10}
_QUERIES = ("milk", "fresh bread", "yogurt", "chicken soup", "orange juice", "shampoo", "cheese")
_SURFACES = {name: t.Surface.Value(f"SURFACE_{name}") for name in MIX}
_DRAWN = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; rates are multiples of the capacity that was found."""

    callers: int
    warm_up: float
    capacity: float
    overload: float
    times: float
    after: float
    calm: float
    # Offered instead of a multiple of the capacity, to compare two versions; 0: not.
    rate: float = 0.0


_SERVICE = "/plait.v1.RecommendationService/"
# As grpc_pipe says how a call failed.
_SAID = {f"status {code.value[0]}": code.name for code in grpc.StatusCode}
_REFUSED, _LATE = grpc.StatusCode.RESOURCE_EXHAUSTED.name, grpc.StatusCode.DEADLINE_EXCEEDED.name


@dataclass(frozen=True, slots=True)
class Ways:
    """Connections, one a method."""

    recommend: Http2
    search: Http2


class Asker:
    """Asks for one ranking after another, drawn once and for all from a seed."""

    def __init__(self, ways: Ways, users: Sequence[str], histories: Sequence[Sequence[int]],
                 *, timeout: float, seed: int) -> None:  # fmt: skip
        chance = random.Random(seed)  # noqa: S311 -- not for secrets
        self._timeout = timeout
        self.surfaces = chance.choices(tuple(MIX), tuple(MIX.values()), k=_DRAWN)
        self._calls: list[tuple[Http2, bytes, Any]] = []
        for surface in self.surfaces:
            at = chance.randrange(len(users))
            shopper = Shopper(user_id=users[at])
            if surface == "SEARCH":
                search = SearchRequest(shopper=shopper, query=chance.choice(_QUERIES))
                self._calls.append((ways.search, search.SerializeToString(), SearchResponse))
                continue
            request = RecommendRequest(shopper=shopper, surface=_SURFACES[surface])
            about = {"ITEM": 1, "CART": 3}.get(surface, 0)
            request.item_ids.extend(str(key) for key in dict.fromkeys(histories[at][-about:])
                                    if about)  # fmt: skip
            self._calls.append((ways.recommend, request.SerializeToString(), RecommendResponse))

    async def ask(self, number: int) -> str:
        """Ask; return ok, partial, fallback, refused, or another status.

        An answer after its time is none: its caller is gone.
        """
        way, request, kind = self._calls[number % _DRAWN]
        clock = asyncio.get_running_loop().time
        began = clock()
        reply, said = await way.ask(request)
        failure = _SAID.get(said, said)
        if failure == _REFUSED:
            return "refused"
        if clock() - began >= self._timeout:
            return _LATE
        if failure:
            return failure
        answer = kind.FromString(reply)
        if not answer.coverage.partial:
            return "ok"
        return "fallback" if answer.coverage.fallback else "partial"

    def surface(self, number: int) -> str:
        """Which surface a call is for."""
        return self.surfaces[number % _DRAWN]


ANSWERED = ("ok", "partial", "fallback")


def answered(shots: Sequence[Shot]) -> list[Shot]:
    """Return the calls that got a ranking with every source in it."""
    return [shot for shot in shots if shot.outcome == "ok"]


def figures(shots: Sequence[Shot], seconds: float, surface: Any) -> dict[str, Any]:
    """Summarise a phase; latencies in milliseconds."""
    good = answered(shots)
    refused = [shot for shot in shots if shot.outcome == "refused"]
    offered = Counter(surface(shot.number) for shot in shots)
    served = Counter(surface(shot.number) for shot in good)
    return {
        "seconds": seconds,
        "offered_per_second": len(shots) / seconds,
        "goodput_per_second": len(good) / seconds,
        "outcomes": dict(ended := Counter(shot.outcome for shot in shots)),
        "died_percent": 100 * ended["DEADLINE_EXCEEDED"] / max(1, len(shots)),
        "p50_ms": 1000 * quantile(good, 0.5),
        "p99_ms": 1000 * quantile(good, 0.99),
        "refused_p50_ms": 1000 * quantile(refused, 0.5),
        "refused_p99_ms": 1000 * quantile(refused, 0.99),
        "driver_late_p99_ms": 1000 * quantile(
            [Shot(s.number, s.due, 0, s.late, "") for s in shots], 0.99
        ),
        "served_share": {name: served[name] / n for name, n in sorted(offered.items())},
    }  # fmt: skip


def recovered_after(shots: Sequence[Shot]) -> float:
    """Return when, after the overload, the last call was due that got no ranking; 0 for none."""
    return max((s.due for s in shots if s.outcome not in ANSWERED), default=0.0)


async def measure(ask: Call, surface: Any, plan: Plan, seed: int) -> dict[str, Any]:
    """Run the phases and return their figures."""
    await closed_loop(ask, plan.callers, plan.warm_up)
    print("phase capacity", flush=True)
    shots = await closed_loop(ask, plan.callers, plan.capacity)
    found = {"capacity": figures(shots, plan.capacity, surface)}
    rate = found["capacity"]["goodput_per_second"]
    print("phase overload", flush=True)
    offered = plan.rate or plan.times * rate
    shots = await open_loop(ask, poisson(offered, plan.overload, seed))
    found["overload"] = figures(shots, plan.overload, surface)
    print("phase after", flush=True)
    shots = await open_loop(ask, poisson(plan.calm * rate, plan.after, seed + 1), len(shots))
    found["after"] = figures(shots, plan.after, surface)
    found["after"]["recovered_after_s"] = recovered_after(shots)
    print("phase again", flush=True)
    shots = await closed_loop(ask, plan.callers, plan.capacity, len(shots))
    found["again"] = figures(shots, plan.capacity, surface)
    print("phase end", flush=True)
    carried = (rate + found["again"]["goodput_per_second"]) / 2
    found["overload"]["capacity_per_second"] = carried
    found["overload"]["share_of_capacity"] = found["overload"]["goodput_per_second"] / max(
        carried, 1e-9
    )
    return found


@asynccontextmanager
async def asking(address: str, work: Path, *, patience: float, seed: int) -> AsyncIterator[Asker]:
    """Connect for as long as the block lasts.

    `work` has what `serving.prepare` wrote; callers wait `patience` seconds.
    """
    users = json.loads((work / "users.json").read_text())
    histories = json.loads((work / "histories.json").read_text())
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()

    async def way(method: str) -> Http2:
        _, made = await loop.create_connection(
            lambda: Http2(address, _SERVICE + method, patience), host, int(port)
        )
        return made

    ways = Ways(await way("Recommend"), await way("Search"))
    try:
        yield Asker(ways, users, histories, timeout=patience, seed=seed)
    finally:
        ways.recommend.close()
        ways.search.close()


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Connect, measure, disconnect."""
    plan = Plan(**json.loads(arguments.plan))
    async with asking(
        arguments.address, arguments.work, patience=arguments.timeout, seed=arguments.seed
    ) as asker:
        return await measure(asker.ask, asker.surface, plan, arguments.seed)


def main() -> None:
    """Run as `python -m benchmarks.overload_load`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    json.dump(asyncio.run(run(arguments)), sys.stdout)


if __name__ == "__main__":
    main()
