"""A busy machine gets fewer rounds, not a longer run."""

from benchmarks.budget import Budget


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_all_rounds_are_made_where_there_is_time() -> None:
    clock = Clock()
    for _ in (budget := Budget(60.0, clock)).rounds(3, 0.9):
        clock.now += 10.0
    assert budget.spent == 30.0


def test_a_round_that_would_end_too_late_is_not_begun() -> None:
    clock = Clock()
    made = []
    for number in Budget(60.0, clock).rounds(5, 0.9):
        made.append(number)
        clock.now += 25.0
    assert made == [0, 1]


def test_the_first_round_is_made_even_if_there_is_no_time_left() -> None:
    clock = Clock()
    budget = Budget(10.0, clock)
    clock.now += 100.0
    assert list(budget.rounds(3, 0.5)) == [0]
