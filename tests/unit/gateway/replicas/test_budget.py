"""Never is more asked twice than a share of what was asked once, and what was saved."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.replicas.budget import Budget


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64)), max_size=300))
def test_what_is_spent_is_at_most_what_was_earned_and_saved(
    calls: list[tuple[bool, int]],
) -> None:
    budget = Budget(0.05, most=64)
    first = second = 0
    for earns, rows in calls:
        if earns:
            budget.earn(rows)
            first += rows
        elif budget.spend(rows):
            second += rows
    assert second <= 64 + 0.05 * first + 1e-6


def test_a_share_of_none_buys_nothing() -> None:
    budget = Budget(0.0)
    budget.earn(10_000)
    assert not budget.spend(1)


def test_what_cannot_be_paid_costs_nothing() -> None:
    budget = Budget(0.5, most=10)
    assert not budget.spend(11)
    assert budget.spend(10)
    assert not budget.spend(1)
    budget.earn(2)
    assert budget.spend(1)
