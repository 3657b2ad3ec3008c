"""A price has one place in its category, whoever asks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.formulas import Floats, Rows
from artifacts.price_places import PricePlaces, cost_sensitivity, places

NAN = float("nan")


@dataclass(frozen=True)
class Goods:
    category: Rows
    price: Floats


def goods(*items: tuple[int, float]) -> Goods:
    return Goods(
        np.array([kind for kind, _ in items], np.int32),
        np.array([price for _, price in items], np.float32),
    )


def placed(shelf: Goods, *asked: tuple[int, float]) -> list[float]:
    wanted = goods(*asked)
    return PricePlaces(shelf).of(wanted.price, wanted.category).tolist()


def test_prices_are_compared_within_the_category() -> None:
    shelf = goods((0, 1), (0, 2), (0, 3), (1, 100), (1, 200), (1, 300))
    found = PricePlaces(shelf).of(shelf.price, shelf.category)
    assert found.tolist() == [0, 0.5, 1, 0, 0.5, 1]


def test_equal_prices_share_the_middle_of_their_places() -> None:
    assert placed(goods((0, 2), (0, 2), (0, 5)), (0, 2), (0, 5)) == [0.25, 1]


def test_nothing_is_said_where_there_is_nothing_to_compare_with() -> None:
    shelf = goods((0, 1), (0, 2), (0, 3), (1, 5), (1, 6), (-1, 4), (0, NAN))
    asked = [(1, 5), (-1, 4), (0, NAN), (9, 1)]
    assert np.isnan(placed(shelf, *asked)).all()
    assert np.isnan(placed(goods(), (0, 1))).all()


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.sampled_from([NAN, 1.0, 2.0, 2.5, 7.0])), max_size=25)
)
@settings(max_examples=80, deadline=None)
def test_places_are_the_mid_ranks_counted_by_hand(items: list[Any]) -> None:
    shelf = goods(*items)
    found = PricePlaces(shelf).of(shelf.price, shelf.category)
    few = places(shelf.price, shelf.category, shelf)
    np.testing.assert_array_equal(found, few)
    for (kind, price), place in zip(items, found.tolist(), strict=True):
        others = [p for k, p in items if k == kind and p == p]
        if kind < 0 or price != price or len(others) < 3:
            assert np.isnan(place)
            continue
        below = sum(p < price for p in others) + (sum(p == price for p in others) - 1) / 2
        assert place == pytest.approx(below / (len(others) - 1))


def test_who_buys_cheap_minds_the_price_and_who_buys_dear_the_lack_of_it() -> None:
    cheap, dear = np.full(60, 0.1, np.float32), np.full(60, 0.9, np.float32)
    assert cost_sensitivity(cheap) == pytest.approx(0.8 * 60 / 80)
    assert cost_sensitivity(dear) == pytest.approx(-0.8 * 60 / 80)


def test_few_purchases_say_little_and_none_nothing() -> None:
    each = [cost_sensitivity(np.zeros(n, np.float32)) for n in (0, 1, 5, 50, 500)]
    assert each[0] == 0
    assert each == sorted(each)
    assert each[1] < 0.05
    assert each[-1] > 0.95
    assert cost_sensitivity(np.full(3, NAN, np.float32)) == 0
