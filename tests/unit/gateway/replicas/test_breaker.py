"""A breaker opens on failures, lets one trial through after its rest, and closes again."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.breaker import Breaker, Rules, State, Verdict
from tests.unit.gateway.replicas.clock import Clock

GOOD, BAD, UNTOLD = Verdict.GOOD, Verdict.BAD, Verdict.UNTOLD
RULES = Rules(failures=3, ratio=0.5, least_calls=10, window=10.0, rest=1.0, longest_rest=4.0)


class Watched:
    """A breaker, its clock, and every state it became."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.clock = Clock()
        self.became: list[State] = []
        self.breaker = Breaker(rules, self.clock, self.became.append)

    def call(self, *verdicts: Verdict) -> State:
        for verdict in verdicts:
            self.breaker.enter().settle(verdict)
        return self.breaker.state

    @property
    def state(self) -> State:
        return self.breaker.state

    def opened(self) -> "Watched":
        self.call(BAD, BAD, BAD)
        return self

    def half_opened(self) -> "Watched":
        self.opened().clock.wait(RULES.rest)
        self.breaker.try_again()
        return self


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    watched = Watched()
    assert watched.call(BAD, BAD, GOOD, BAD, BAD) is State.CLOSED
    assert watched.call(BAD) is State.OPEN
    assert not watched.breaker.admits
    assert watched.became == [State.OPEN]


def test_it_opens_when_half_of_many_calls_fail_though_never_in_a_row() -> None:
    watched = Watched()
    assert watched.call(*[BAD, GOOD] * 4) is State.CLOSED
    assert watched.call(GOOD, BAD) is State.OPEN


def test_few_calls_or_few_failures_do_not_open_it() -> None:
    assert Watched().call(BAD, GOOD, BAD, GOOD, BAD) is State.CLOSED
    assert Watched().call(*[BAD, GOOD, GOOD] * 50) is State.CLOSED


def test_old_failures_are_forgotten() -> None:
    watched = Watched()
    watched.call(*[BAD, BAD, GOOD] * 3)
    watched.clock.wait(10 * RULES.window)
    assert watched.call(*[GOOD] * 6, BAD, GOOD, BAD) is State.CLOSED


def test_calls_that_tell_nothing_change_nothing() -> None:
    watched = Watched()
    assert watched.call(BAD, BAD, *[UNTOLD] * 50) is State.CLOSED
    assert watched.call(BAD) is State.OPEN


def test_a_sign_of_life_before_the_rest_is_over_is_too_early() -> None:
    watched = Watched().opened()
    watched.clock.wait(0.9)
    watched.breaker.try_again()
    assert watched.breaker.rest_left == pytest.approx(0.1)
    watched.clock.wait(0.11)
    assert watched.became == [State.OPEN], "time alone is no sign of life"
    watched.breaker.try_again()
    assert watched.became == [State.OPEN, State.HALF_OPEN]


def test_half_open_it_admits_one_call_at_a_time() -> None:
    watched = Watched().half_opened()
    trial = watched.breaker.enter()
    admitted = [watched.breaker.admits]
    trial.settle(UNTOLD)
    admitted.append(watched.breaker.admits)
    assert admitted == [False, True], "a cancelled trial makes room for the next"
    watched.breaker.enter().settle(GOOD)
    assert watched.became == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_a_call_that_tells_nothing_takes_no_place_and_changes_nothing() -> None:
    watched = Watched().half_opened()
    other = watched.breaker.enter(tells=False)
    assert watched.breaker.admits
    other.settle(BAD)
    assert watched.became == [State.OPEN, State.HALF_OPEN]
    closed = Watched()
    for _ in range(RULES.failures):
        closed.breaker.enter(tells=False).settle(BAD)
    assert closed.became == []


def test_each_trial_that_fails_doubles_the_rest_up_to_a_limit() -> None:
    watched = Watched().half_opened()
    rests = []
    for _ in range(4):
        watched.call(BAD)
        rests.append(watched.breaker.rest_left)
        watched.clock.wait(rests[-1])
        watched.breaker.try_again()
    assert rests == [2.0, 4.0, 4.0, 4.0]
    watched.call(GOOD)
    assert watched.opened().breaker.rest_left == RULES.rest


def test_a_call_from_before_the_change_has_no_say() -> None:
    watched = Watched()
    slow = [watched.breaker.enter() for _ in range(2)]
    watched.half_opened()
    slow[0].settle(GOOD)
    slow[1].settle(BAD)
    assert watched.became == [State.OPEN, State.HALF_OPEN]
    assert watched.breaker.admits


def test_only_the_first_verdict_on_a_call_counts() -> None:
    watched = Watched()
    entry = watched.breaker.enter()
    for _ in range(5):
        entry.settle(BAD)
    assert watched.state is State.CLOSED


actions = st.lists(
    st.one_of(
        st.sampled_from([GOOD, BAD, UNTOLD]),
        st.just("enter"),
        st.just("sign of life"),
        st.floats(0.0, 20.0),
    ),
    max_size=200,
)


@given(actions)
def test_whatever_happens_it_is_never_stuck_and_never_floods(
    steps: Iterable[Verdict | str | float],
) -> None:
    watched = Watched()
    under_way = []
    for step in steps:
        if isinstance(step, float):
            watched.clock.wait(step)
        elif step == "sign of life":
            watched.breaker.try_again()
        elif step == "enter" and watched.breaker.admits:
            half_open = watched.state is State.HALF_OPEN
            under_way.append(watched.breaker.enter())
            assert not (half_open and watched.breaker.admits)
        elif isinstance(step, Verdict) and under_way:
            under_way.pop().settle(step)
        assert 0 <= watched.breaker.rest_left <= RULES.longest_rest
    for entry in under_way:
        entry.settle(UNTOLD)
    watched.clock.wait(RULES.longest_rest)
    watched.breaker.try_again()
    assert watched.breaker.admits
    assert watched.call(GOOD) is State.CLOSED
