"""The next call goes where it should be answered first."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.balance import Pace, soonest
from tests.unit.gateway.replicas.clock import Clock


@dataclass
class Server:
    name: str
    rows: int
    pace: Pace


def server(
    name: str, rows: int = 0, seconds: float | None = None, clock: Clock | None = None
) -> Server:
    pace = Pace(clock or Clock())
    if seconds is not None:
        pace.observe(seconds)
    return Server(name, rows, pace)


def chosen(*servers: Server, times: int = 1) -> Counter[str]:
    draw = random.Random(1)
    return Counter(soonest(servers, draw).name for _ in range(times))


def test_the_one_with_fewer_rows_under_way_is_asked() -> None:
    assert chosen(server("a", 3, 0.01), server("b", 2, 0.01)) == {"b": 1}


def test_a_slow_one_is_asked_only_when_the_fast_ones_are_busier_than_it_is_slow() -> None:
    slow = server("slow", 0, 0.1)
    assert chosen(slow, server("fast", 8, 0.01)) == {"fast": 1}
    assert chosen(slow, server("fast", 11, 0.01)) == {"slow": 1}


def test_equals_share() -> None:
    shares = chosen(server("a"), server("b"), server("c"), times=3000)
    assert all(900 < n < 1100 for n in shares.values())


def test_one_never_seen_is_taken_to_be_as_fast_as_the_fastest() -> None:
    assert chosen(server("new"), server("old", 1, 0.01)) == {"new": 1}
    assert chosen(server("new", 5), server("old", 1, 0.01)) == {"old": 1}


def test_one_that_was_slow_is_tried_again_after_a_while() -> None:
    clock = Clock()
    servers = server("slow", 0, 0.1, clock), server("fast", 0, 0.01, clock)
    assert chosen(*servers) == {"fast": 1}
    for _ in range(30):
        clock.wait(1.0)
        servers[1].pace.observe(0.01)
    assert chosen(*servers) == {"slow": 1}


def test_a_pace_moves_towards_what_is_seen() -> None:
    pace = Pace(Clock())
    assert pace.expected is None
    pace.observe(0.01)
    for _ in range(40):
        pace.observe(0.1)
    assert pace.expected == pytest.approx(0.1, rel=0.01)


@given(st.lists(st.tuples(st.integers(0, 64), st.none() | st.floats(1e-4, 1.0)), min_size=1))
def test_no_other_would_be_sooner(loads: list[tuple[int, float | None]]) -> None:
    servers = [server(str(n), rows, seconds) for n, (rows, seconds) in enumerate(loads)]
    best = soonest(servers, random.Random(0))
    known = [s.pace.expected for s in servers if s.pace.expected is not None]

    def wait(s: Server) -> float:
        pace = s.pace.expected
        return (s.rows + 1) * (min(known, default=1.0) if pace is None else pace)

    assert wait(best) == min(wait(s) for s in servers)
