"""How people buy an item, as rankers are told."""

import math
from datetime import timedelta

import numpy as np
import pytest

from artifacts.ranker.features import HABITS
from models.fusion.habits import item_habits
from tests.unit.fusion.learning import NOW, catalogue, events


def test_habits_say_who_comes_back_and_after_how_long() -> None:
    sold = [
        {"user_id": f"u{user}", "item_key": 101, "time": NOW + timedelta(days=7 * week)}
        for user in range(40) for week in range(5)
    ] + [{"user_id": f"u{user}", "item_key": 102, "time": NOW} for user in range(40)]  # fmt: skip
    habits = item_habits(catalogue(), events(sold))
    assert habits.shape == (40, len(HABITS))
    assert habits[1, 0] > 0.8 > 0.3 > habits[2, 0]
    assert np.exp(habits[1, 1]) == pytest.approx(7, rel=0.1)


def test_habits_say_what_sells_now() -> None:
    sold = [{"item_key": 101, "time": NOW + timedelta(days=day)} for day in range(0, 112, 4)]
    sold += [{"item_key": 102, "time": NOW + timedelta(days=100 + day)} for day in range(10)]
    found = dict(zip(HABITS, item_habits(catalogue(), events(sold)).T, strict=True))
    # Item 101: 28 purchases in 112 days, 7 of them in the last 28; item 102: 10 and 10.
    assert found["recent"][1:4] == pytest.approx([math.log1p(7), math.log1p(10), 0])
    season = [math.log(12 / 12), math.log(15 / 7.5), 0]
    assert found["season"][1:4] == pytest.approx(season, abs=1e-6)
    ages = [math.log1p(109), math.log1p(9), 0]
    assert found["first_sold"][1:4] == pytest.approx(ages, rel=1e-5)
    assert found["per_buyer"][1] > found["per_buyer"][2] > 0


def test_what_was_disliked_was_not_sold() -> None:
    sold = [{"user_id": f"u{user}", "item_key": 101, "time": NOW} for user in range(20)]
    disliked = [
        {"user_id": f"u{user}", "item_key": key, "type": "dislike", "time": NOW + timedelta(day)}
        for user in range(20) for key in (101, 102) for day in (1, 8)
    ]  # fmt: skip
    without = item_habits(catalogue(), events(sold))
    np.testing.assert_array_equal(item_habits(catalogue(), events(sold + disliked)), without)


def test_nothing_sold_has_usual_habits() -> None:
    habits = item_habits(catalogue(), events([]))
    assert np.isfinite(habits).all()
    assert np.exp(habits[:, 1]) == pytest.approx(np.full(40, 30.0))
