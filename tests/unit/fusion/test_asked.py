"""What rankers are asked of a window: moments, visits under way, searches."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from models.fusion.asked import moments, questions
from models.fusion.config import Config, Window
from models.fusion.surfaces import (
    begun_task,
    shopper_of,
    visits,
)
from tests.unit.fusion.learning import CONFIG, NOW, events

THREE_ITEMS = pl.DataFrame(
    {
        "item_key": [101, 102, 103],
        "item_id": ["101", "102", "103"],
        "title": ["White bread", "Plain yogurt", "Fruit yogurt"],
        "category": ["BREAD", "YOGURT", "YOGURT"],
    }
)


def test_later_moments_know_what_came_before_them() -> None:
    known = events([{"user_id": "a", "item_key": 101}])
    wanted = events(
        [
            {"user_id": "a", "item_key": 102 + day, "time": NOW + timedelta(days=1 + day)}
            for day in range(10)
        ]
    )
    config = Config(moments=2, ranker_users=10)
    first, second = moments(config, Window(known, wanted), exclude_seen=False)
    assert first.history.keys.tolist() == [101]
    assert second.history.keys.tolist() == [101, 102, 103]
    assert second.now[0] > first.now[0]
    assert not set(second.history.keys.tolist()) & set(second.targets.keys.tolist())


def basket(*keys: int, user: str = "a") -> list[dict[str, object]]:
    return [{"user_id": user, "item_key": key, "order": at} for at, key in enumerate(keys)]


def test_a_visit_is_cut_after_one_to_five_events_that_compete_and_are_no_targets() -> None:
    bought = [row for user in range(60) for row in basket(*range(101, 109), user=f"u{user}")]
    asked = begun_task(visits(events(bought), "time", most=60, seed=0), 0)
    assert not asked.exclude_seen
    told = asked.history.lengths
    assert set(told.tolist()) == {1, 2, 3, 4, 5}
    assert (told + asked.targets.lengths == 8).all()
    firsts = asked.history.keys[asked.history.starts[:-1]]
    # The lines of a basket have no order: their number says nothing.
    assert len(set(firsts.tolist())) > 4
    again = begun_task(visits(events(bought), "time", most=60, seed=0), 0)
    np.testing.assert_array_equal(asked.history.keys, again.history.keys)


def test_a_short_visit_keeps_something_to_look_for() -> None:
    bought = [row for user in range(20) for row in basket(101, 102, user=f"u{user}")]
    asked = begun_task(visits(events(bought), "time", most=20, seed=0), 0)
    assert asked.history.lengths.tolist() == asked.targets.lengths.tolist() == [1] * 20


@pytest.mark.parametrize("surface", ["SESSION", "CART", "SEARCH"])
def test_without_visits_there_are_no_questions(surface: str) -> None:
    nothing = events(basket(101)).clear()
    window = Window(events(basket(101)), nothing)
    assert not questions(CONFIG, surface, window, THREE_ITEMS, exclude_seen=False)


def test_searches_are_made_up_for_shoppers_who_are_known_and_for_strangers() -> None:
    known = events([row for user in range(9) for row in basket(101, user=f"a#{user}")])
    wanted = events([row for user in range(9) for row in basket(102, 103, user=f"a#{user}")])
    config = replace(CONFIG, ranker_visits=12)
    mine, strangers = questions(
        config, "SEARCH", Window(known, wanted), THREE_ITEMS, exclude_seen=False
    )
    assert len(mine.texts) == len(mine.task.user_ids) == 12
    assert len(strangers.texts) == len(strangers.task.user_ids) == 4
    assert mine.task.history.lengths.tolist() == [1] * 12
    assert strangers.task.history.lengths.tolist() == [0] * 4
    assert strangers.task.targets.lengths.tolist() == [1] * 4
    # Whose search it was: a shopper judges the ranker or teaches it, never both.
    assert {shopper_of(name) for name in mine.task.user_ids} <= {f"a#{user}" for user in range(9)}
    assert "yogurt" in mine.texts
