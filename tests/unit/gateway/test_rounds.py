"""Sources are asked at the same moment, and one that is stuck holds the others up only so long."""

import asyncio
from dataclasses import dataclass, field

import pytest

from benchmarks.virtual_time import run
from gateway.rounds import Round, Rounds
from gateway.traffic import Traffic


@dataclass
class Member:
    """A source with some servers; each call takes all rows, and lasts until it is ended."""

    servers: int = 1
    rows: int = 0
    complete: bool = True
    plenty: bool = False
    sent: list[int] = field(default_factory=list)
    flying: list[Round] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return self.rows > 0 and len(self.flying) < self.servers

    @property
    def free(self) -> bool:
        return sum(not made_in.over for made_in in self.flying) < self.servers

    @property
    def spare(self) -> bool:
        late = any(made_in.over for made_in in self.flying)
        return not late and len(self.flying) < 2 * self.servers

    def send(self, made_in: Round, *, ahead: bool) -> None:
        if self.ready or (ahead and self.rows and self.spare):
            self.sent.append(self.rows)
            self.rows = 0
            self.flying.append(made_in)
            made_in.add()

    def end(self) -> None:
        self.flying.pop(0).end()


def rounds_of(*members: Member) -> Rounds:
    rounds = Rounds(Traffic(), asyncio.get_running_loop().time)
    for member in members:
        rounds.join(member)
    return rounds


async def add(rounds: Rounds, *members: Member) -> None:
    for member in members:
        member.rows += 1
    rounds.soon()
    for _ in range(10):
        await asyncio.sleep(0)


def test_all_that_wait_are_asked_at_once_when_every_source_is_free() -> None:
    async def story() -> None:
        quick, slow = Member(), Member()
        rounds = rounds_of(quick, slow)
        await add(rounds, quick, slow)
        quick.end()
        await add(rounds, quick, slow)
        await add(rounds, quick, slow)
        assert (quick.sent, slow.sent) == ([1], [1])
        slow.end()
        await add(rounds)
        assert (quick.sent, slow.sent) == ([1, 2], [1, 2])

    run(story())


def test_a_source_that_is_stuck_holds_the_others_up_for_a_moment_only() -> None:
    async def story() -> None:
        well, stuck = Member(), Member()
        rounds = rounds_of(well, stuck)
        await add(rounds, well, stuck)
        well.end()
        await add(rounds, well, stuck)
        assert well.sent == [1]
        await asyncio.sleep(0.051)
        assert well.sent == [1, 1]
        # Those that are well go on among themselves; the stuck one is asked nothing more.
        for _ in range(3):
            well.end()
            await add(rounds, well, stuck)
        assert (well.sent, stuck.sent) == ([1] * 5, [1])
        # And joins them again when it answers.
        stuck.end()
        await add(rounds)
        assert (well.sent, stuck.sent) == ([1] * 5, [1])
        well.end()
        await add(rounds, well)
        assert (well.sent, stuck.sent) == ([1] * 6, [1, 4])

    run(story())


def test_how_long_is_learnt_from_all_but_the_slowest() -> None:
    async def story() -> None:
        a, b, slow = Member(), Member(), Member()
        rounds = rounds_of(a, b, slow)
        for _ in range(40):  # a and b take 2 ms, the slow one 30
            await add(rounds, a, b, slow)
            await asyncio.sleep(0.002)
            a.end()
            b.end()
            await asyncio.sleep(0.028)
            slow.end()
        await add(rounds, a, b, slow)
        a.end()
        b.end()
        await add(rounds, a, b)
        sent = len(a.sent)
        await asyncio.sleep(0.005)
        assert len(a.sent) == sent + 1

    run(story())


def test_where_enough_wait_a_second_round_is_sent_ahead_but_not_to_one_that_is_late() -> None:
    async def story() -> None:
        quick, slow = Member(), Member()
        rounds = rounds_of(quick, slow)
        await add(rounds, quick, slow)
        quick.end()
        slow.plenty = True
        await add(rounds, quick, slow)
        assert (quick.sent, slow.sent) == ([1, 1], [1, 1])
        await add(rounds, quick, slow)
        assert (quick.sent, slow.sent) == ([1, 1], [1, 1])
        await asyncio.sleep(0.051)  # now both are late: those that are free go on
        quick.end()
        await add(rounds, quick)
        assert (quick.sent, slow.sent) == ([1, 1, 2], [1, 1])

    run(story())


def test_with_several_servers_each_has_as_many_rounds_in_flight() -> None:
    async def story() -> None:
        wide, wider = Member(servers=2), Member(servers=3)
        rounds = rounds_of(wide, wider)
        for _ in range(3):
            await add(rounds, wide, wider)
        assert (wide.sent, wider.sent) == ([1, 1], [1, 1])
        wide.end()
        await add(rounds)
        assert (wide.sent, wider.sent) == ([1, 1, 1], [1, 1, 1])

    run(story())


@pytest.mark.parametrize("waits", [True, False])
def test_a_round_waits_for_company_only_while_the_loop_is_at_work(waits: bool) -> None:
    async def story() -> None:
        member = Member(complete=False)
        rounds = rounds_of(member)
        member.rows += 1
        rounds.soon()
        for _ in range(50):
            rounds.traffic.moves += waits
            await asyncio.sleep(0)
        assert member.sent == ([] if waits else [1])
        member.complete = True
        await add(rounds)
        assert member.sent == [1]

    run(story())
