"""A profile says what was done, in shares and counts, and nothing else."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.price_level import Basis
from artifacts.price_places import places
from artifacts.profiles import DAY_MS, Deeds, Interests, Profile, profile

NOW = 1_800_000_000_000
KINDS = 6


@dataclass(frozen=True)
class Goods:
    """Thirty items: category r % 6, domain half as many, brand r % 4, price r + 1."""

    domain: Any
    category: Any
    brand: Any
    price: Any


def goods() -> Goods:
    every = np.arange(30, dtype=np.int32)
    return Goods(every % KINDS // 2, every % KINDS, every % 4, (every + 1).astype(np.float32))


def deeds(rows: list[int], **given: Any) -> Deeds:
    """Purchases of rows, a day apart, the last now; `given` replaces columns."""
    size = len(rows)
    times = NOW - DAY_MS * np.arange(size - 1, -1, -1, dtype=np.int64)
    fields: dict[str, Any] = {
        "keys": [row + 100 for row in rows],
        "rows": rows,
        "times": times,
        "weights": np.ones(size),
        "bought": np.ones(size),
        "paid": np.full(size, np.nan),
        "recent": times > NOW - 1_800_000,
        "step_weights": (times > NOW - 1_800_000).astype(np.float32),
    }
    kinds = {
        "keys": np.int64, "rows": np.int32, "times": np.int64, "weights": np.float32,
        "bought": np.bool_, "paid": np.float32, "recent": np.bool_, "step_weights": np.float32,
    }  # fmt: skip
    return Deeds(**{name: np.array((fields | given)[name], kinds[name]) for name in kinds})


def of(rows: list[int], **given: Any) -> Profile:
    return profile(deeds(rows, **given), goods(), NOW)


def tastes(found: Profile) -> list[Interests]:
    return [found.tastes.domains, found.tastes.categories, found.tastes.brands]


event = st.tuples(
    st.integers(-1, 29),
    st.floats(0, 1, width=32),
    st.booleans(),
    st.one_of(st.just(float("nan")), st.floats(0, 100, width=32)),
)


@given(st.lists(event, max_size=30))
@settings(max_examples=60, deadline=None)
def test_shares_sum_to_one_or_there_is_nothing_to_share(events: list[Any]) -> None:
    rows, weights, bought, paid = map(list, zip(*events, strict=True)) if events else ([],) * 4
    found = of(rows, weights=weights, bought=bought, paid=paid)
    for interests in tastes(found):
        assert len(interests.shares) == 0 or abs(interests.shares.sum() - 1) < 1e-9
        assert (np.diff(interests.shares) <= 0).all()
        assert len(set(interests.values.tolist())) == len(interests.values)
    level = found.price_level
    if level is not None:
        assert level.low <= level.usual <= level.high
        assert level.level is None or 0 <= level.level <= 1
    assert found.activity.repeat_share is None or 0 <= found.activity.repeat_share <= 1


@given(st.lists(st.integers(0, 29), max_size=20), st.integers(0, 29))
@settings(max_examples=60, deadline=None)
def test_one_more_event_moves_the_profile_towards_its_item(rows: list[int], row: int) -> None:
    before, after = of(rows), of([*rows, row])
    category = int(goods().category[row])
    assert after.activity.events == before.activity.events + 1
    assert after.activity.last_ms == NOW
    assert share(after, category) >= share(before, category)
    assert share(after, category) > 0


def share(found: Profile, category: int) -> float:
    interests = found.tastes.categories
    return float(interests.shares[interests.values == category].sum())


def test_nobody_knows_anything_of_a_shopper_without_events() -> None:
    found = of([])
    assert (found.activity.events, found.activity.last_ms, found.session) == (0, None, None)
    assert found.price_level is None
    assert not any(len(interests.values) for interests in tastes(found))


def test_the_heavier_events_decide_and_the_newest_dates_them() -> None:
    found = of([0, 6, 1], weights=[0.25, 0.25, 1.0])
    categories = found.tastes.categories
    assert categories.values.tolist() == [1, 0]
    np.testing.assert_allclose(categories.shares, [2 / 3, 1 / 3])
    assert categories.counts.tolist() == [1, 2]
    assert categories.last_ms.tolist() == [NOW, NOW - DAY_MS]


def test_what_says_nothing_of_taste_counts_in_activity_alone() -> None:
    found = of([0, 1, -1], weights=[1, 0, 1], bought=[1, 0, 0], keys=[100, 101, 7])
    assert found.activity.events == 3
    assert found.unknown_items == 1
    assert found.tastes.categories.values.tolist() == [0]


def test_activity_counts_windows_days_and_the_usual_pause() -> None:
    ages = [40, 20, 20, 6, 0]
    found = of([0, 1, 2, 3, 4], times=[NOW - DAY_MS * a for a in ages], bought=[1, 1, 1, 1, 0])
    activity = found.activity
    assert (activity.events, activity.events_30_days, activity.events_7_days) == (5, 4, 2)
    assert (activity.purchases, activity.purchases_30_days) == (4, 3)
    assert activity.last_purchase_ms == NOW - 6 * DAY_MS
    assert (activity.active_days, activity.days_between) == (4, 14.0)


def test_repeats_are_purchases_of_what_was_bought_before() -> None:
    assert of([0, 1, 0, 0]).activity.repeat_share == 0.5
    # Two lines of one basket are one purchase.
    assert of([0, 0], times=[NOW, NOW]).activity.repeat_share == 0.0
    assert of([0], bought=[0]).activity.repeat_share is None


def test_the_cheapest_of_each_category_is_0_and_the_dearest_is_1() -> None:
    shelf = goods()
    placed = places(shelf.price, shelf.category, shelf)
    assert placed.reshape(5, KINDS).tolist() == [[n / 4] * KINDS for n in range(5)]
    # Prices that no item has: below all, between two, above all.
    asked = np.array([0, 4, 99], np.float32)
    assert places(asked, np.zeros(3, np.int32), shelf).tolist() == [0, 0.125, 1]


def test_a_price_level_needs_prices_to_compare_with() -> None:
    shelf = goods()
    few = Goods(shelf.domain, np.arange(30, dtype=np.int32), shelf.brand, shelf.price)
    level = profile(deeds([1, 2]), few, NOW).price_level
    assert level is not None
    assert (level.level, level.usual) == (None, 2.5)


def test_what_was_paid_counts_before_the_price_of_today() -> None:
    level = of([24, 24], paid=[1, np.nan]).price_level
    assert level is not None
    assert (level.basis, level.events) == (Basis.PURCHASES, 2)
    assert (level.level, level.usual) == (0.5, 13.0)


def test_without_a_purchase_the_prices_of_what_was_looked_at_are_read() -> None:
    level = of([24, 0], bought=[0, 0]).price_level
    assert level is not None
    assert level.basis is Basis.INTEREST
    assert of([24, 0], bought=[0, 1]).price_level.usual == 1.0  # type: ignore[union-attr]


def test_the_session_is_about_what_is_happening_now() -> None:
    found = of([0, 0, 0, 1])
    assert found.session is not None
    assert (found.session.events, found.session.start_ms) == (1, NOW)
    assert found.session.tastes.categories.values.tolist() == [1]
