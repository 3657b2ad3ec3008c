"""What is kept for shoppers who did nothing is bounded, and nothing of it outlives its time."""

from gateway.idle import IdleRankings, Moment
from gateway.types import Ask
from tests.unit.gateway.test_paging import ranking


class Kept:
    """Idle rankings with a clock that is set by hand."""

    def __init__(self, capacity: int) -> None:
        self.now = 0.0
        self.rankings = IdleRankings(
            self.moment, capacity=capacity, seconds=30.0, clock=lambda: self.now
        )

    async def moment(self, _user: str, _until: float) -> Moment:
        return Moment((), ())

    async def ask(self, user: str) -> bool:
        """Have a ranking made and kept, unless one is; return whether one was."""
        ask = Ask("HOME", user)
        found, moment = await self.rankings.find(ask, until=0.0)
        if found is None:
            self.rankings.keep(ask, moment, ranking(5))
        return found is not None


async def test_rankings_whose_time_is_over_are_let_go_of_by_the_next_that_is_kept() -> None:
    kept = Kept(capacity=1_000)
    for number in range(50):
        assert not await kept.ask(f"u{number}")
        kept.now += 10.0
    assert len(kept.rankings) == 4, "those of the last 30 s"
    assert await kept.ask("u49")
    assert not await kept.ask("u0")


async def test_the_oldest_goes_where_there_are_too_many() -> None:
    kept = Kept(capacity=2)
    for user in ("a", "b", "c"):
        await kept.ask(user)
    assert [await kept.ask(user) for user in ("c", "b")] == [True, True]
    assert not await kept.ask("a")


async def test_rankings_of_who_is_forgotten_are_let_go_of() -> None:
    kept = Kept(capacity=10)
    for user in ("a", "b"):
        await kept.ask(user)
    kept.rankings.forget("a")
    assert [await kept.ask(user) for user in ("a", "b")] == [False, True]
