"""Which rule should share calls among replicas: `python -m benchmarks.balancing`.

A simulation, as what it compares are decisions: calls arrive at random (Poisson),
each replica works through its queue one call at a time, service times are
log-normal. Every rule meets the same arrivals and the same work. It answers in
simulated time and says nothing about this machine.
"""

import argparse
import heapq
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.command import above_0, count_or_0, output, write
from gateway.replicas.balance import Pace, soonest

SERVICE_SECONDS = 0.004
_SPREAD = 0.4  # of the logarithm of a service time
_REPLICAS = 4


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """One replica; `slowness` at a time of the run multiplies its service times."""

    slowness: Callable[[float], float]
    pace: Pace
    rows: int = 0
    free_at: float = 0.0


Rule = Callable[[Sequence[Server], random.Random], Server]


def at_random(servers: Sequence[Server], draw: random.Random) -> Server:
    return draw.choice(servers)


def in_turn() -> Rule:
    turn = iter(range(sys.maxsize))
    return lambda servers, _: servers[next(turn) % len(servers)]


def fewest_rows(servers: Sequence[Server], draw: random.Random) -> Server:
    return min(servers, key=lambda s: (s.rows, draw.random()))


def two_choices(servers: Sequence[Server], draw: random.Random) -> Server:
    """The less busy of two drawn at random (Mitzenmacher, IEEE TPDS 2001)."""
    return fewest_rows(draw.sample(servers, 2), draw)


RULES: dict[str, Callable[[], Rule]] = {
    "at random": lambda: at_random,
    "in turn (round_robin)": in_turn,
    "two choices, fewest rows": lambda: two_choices,
    "fewest rows": lambda: fewest_rows,
    "soonest (ours)": lambda: soonest,
}
# What each replica's service times are multiplied by, at a time of the run.
CASES: dict[str, list[Callable[[float], float]]] = {
    "all equal": [lambda _: 1.0] * _REPLICAS,
    "one 3 times slower": [lambda _: 3.0] + [lambda _: 1.0] * (_REPLICAS - 1),
    "one 10 times slower": [lambda _: 10.0] + [lambda _: 1.0] * (_REPLICAS - 1),
    "one slow for a third of the time": [lambda t: 8.0 if 10 < t < 20 else 1.0]
    + [lambda _: 1.0] * (_REPLICAS - 1),
}


def simulate(
    rule: Rule,
    slownesses: Sequence[Callable[[float], float]],
    load: float,
    *,
    seconds: float,
    seed: int,
) -> list[float]:
    """Return the time of every call, in seconds; `load` 1: all that healthy replicas can do."""
    clock = Clock()
    work, draw = random.Random(seed), random.Random(seed + 1)  # noqa: S311 -- a simulation
    servers = [Server(slowness, Pace(clock)) for slowness in slownesses]
    mean = SERVICE_SECONDS
    rate = load * len(servers) / mean
    ends: list[tuple[float, int, Server, float]] = []
    times: list[float] = []
    number, arrives = 0, 0.0
    while (arrives := arrives + work.expovariate(rate)) < seconds:
        number += 1
        took = mean * math.exp(work.gauss(0, _SPREAD) - _SPREAD**2 / 2)
        while ends and ends[0][0] <= arrives:
            clock.now, _, server, began = heapq.heappop(ends)
            server.rows -= 1
            server.pace.observe(clock.now - began)
        clock.now = arrives
        server = rule(servers, draw)
        server.rows += 1
        server.free_at = max(server.free_at, arrives) + took * server.slowness(arrives)
        heapq.heappush(ends, (server.free_at, number, server, arrives))
        times.append(server.free_at - arrives)
    return times


def compare(load: float, seconds: float, seed: int) -> list[dict[str, str | float]]:
    """Return one line for each case and rule; times in milliseconds."""
    lines: list[dict[str, str | float]] = []
    for case, slownesses in CASES.items():
        for name, made in RULES.items():
            times = 1000 * np.array(simulate(made(), slownesses, load, seconds=seconds, seed=seed))
            p50, p95, p99 = (float(q) for q in np.quantile(times, [0.5, 0.95, 0.99]))
            lines.append({"case": case, "rule": name, "p50": p50, "p95": p95, "p99": p99})
    return lines


def main() -> None:
    """Print a table and, with --json, write what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=above_0, default=30.0, help="simulated")
    parser.add_argument("--load", type=above_0, default=0.5, help="1: all that healthy replicas do")
    parser.add_argument("--seed", type=count_or_0, default=0)
    parser.add_argument("--json", type=output, help="file to write")
    wishes = parser.parse_args()
    lines = compare(wishes.load, wishes.seconds, wishes.seed)
    print(f"{_REPLICAS} replicas at load {wishes.load}, milliseconds")
    print(f"{'':34}{'':26}{'p50':>10}{'p95':>10}{'p99':>10}")
    for line in lines:
        times = "".join(f"{line[q]:10.1f}" for q in ("p50", "p95", "p99"))
        print(f"{line['case']:34}{line['rule']:26}{times}")
    settings = {"load": wishes.load, "seconds": wishes.seconds, "seed": wishes.seed}
    write(wishes.json, settings | {"lines": lines})


if __name__ == "__main__":
    main()
