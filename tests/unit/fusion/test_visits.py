"""Visits, sessions and carts as the tuning asks about them, which is as the gateway is told."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from gateway.history import HistorySettings, about, history_for
from gateway.trails import EMPTY
from gateway.types import Ask, EventType, Trail
from models.evaluate.fused import disliked_by, past_of
from models.evaluate.ranking import Asking, padded_history
from models.evaluate.task import by_strangers, make_task
from models.fusion.catalogue import MarketTrends
from models.fusion.surfaces import cart_task, session_task, visit_task, visits
from tests.unit.fusion.learning import NOW, catalogue, events, trips


def test_a_break_ends_a_visit_and_single_items_are_none() -> None:
    found = visits(trips(), "time", most=10, seed=0)
    assert found.group_by("user_id").len()["len"].sort().to_list() == [2, 8]


def test_a_session_asks_with_its_first_events_for_the_rest() -> None:
    task = session_task(visits(trips(), "time", most=10, seed=0), 10, 0)
    assert task.history.keys.tolist() == [100, 101, 102, 103, 104]
    assert task.targets.keys.tolist() == [105, 106, 107]


def test_a_session_is_told_as_the_gateway_tells_it() -> None:
    """Shoppers come back to what they saw, look before they buy, and dislike."""
    did = [
        *((key, "view") for key in (101, 102, 103, 102, 104, 101)), (101, "purchase"),
        (105, "click"), (108, "dislike"), (103, "cart"), (106, "purchase"), (107, "view"),
    ]  # fmt: skip
    rows = [
        {"item_key": key, "type": kind, "time": NOW + timedelta(minutes=2 * at), "order": at}
        for at, (key, kind) in enumerate(did)
    ]
    task = session_task(visits(events(rows), "time", most=10, seed=0), 10, 0)
    assert task.targets.keys.tolist() == [106, 107]
    told = events(rows[:10])
    trail: Trail = replace(
        EMPTY,
        keys=told["item_key"].to_numpy(),
        types=np.array([EventType[str(kind).upper()] for kind in told["type"]], np.int8),
        times=told["time"].dt.epoch("ms").to_numpy(),
        ids=np.zeros(told.height, np.int64),
    )
    settings = HistorySettings(200, 60.0, 0.2, 30.0)
    served = history_for(Ask("SESSION"), trail, round(1000 * task.now[0]), settings)
    keys, weight = padded_history(task, np.array([0]), Asking())
    assert keys[0].tolist() == served.keys.tolist()
    np.testing.assert_allclose(weight[0], served.weights, rtol=1e-5)
    past, age, worth = past_of(task, 0)
    assert past.tolist() == served.past_keys.tolist()
    np.testing.assert_allclose(age, served.past_age, rtol=1e-5)
    np.testing.assert_allclose(worth, served.past_worth)
    assert task.session is not None
    assert task.session.keys.tolist() == served.session_keys.tolist()
    assert task.session_weight is not None
    np.testing.assert_allclose(task.session_weight, served.session_weights, rtol=1e-6)
    assert disliked_by(task, 0).tolist() == [108]


def test_what_is_long_ago_is_no_session() -> None:
    """A visit that takes an hour: serving remembers half of it."""
    rows = [
        {"item_key": 100 + at, "time": NOW + timedelta(minutes=12 * at), "order": at}
        for at in range(7)
    ]
    task = session_task(visits(events(rows), "time", most=10, seed=0), 10, 0)
    assert task.history.keys.tolist() == [103, 104]
    assert task.targets.keys.tolist() == [105, 106]


def test_of_likes_and_dislikes_the_newest_hides_an_item_or_not() -> None:
    said = [(101, "dislike"), (102, "dislike"), (103, "like"), (102, "like"), (103, "dislike")]
    said.append((101, "view"))
    known = [{"item_key": key, "type": kind, "order": at} for at, (key, kind) in enumerate(said)]
    later = events([{"item_key": 105, "time": NOW + timedelta(days=1)}])
    task = make_task(events(known), later)
    assert disliked_by(task, 0).tolist() == [101, 103]
    assert not len(disliked_by(by_strangers(task), 0))


@pytest.mark.parametrize("given", [0, 5])
def test_a_visit_is_asked_about_with_all_that_came_before_it(given: int) -> None:
    everything = trips()
    found = visits(everything.filter(pl.col("item_key") < 120), "time", most=10, seed=0)
    task = visit_task(everything, found, given=given, exclude_seen=False, seed=0)
    first = list(range(100, 108))
    if given:
        assert task.history.keys.tolist() == first[:given]
        assert task.targets.keys.tolist() == first[given:]
    else:
        assert task.history.keys.tolist() == first
        assert task.targets.keys.tolist() == [110, 111]
        assert task.now.tolist() == [(NOW + timedelta(days=1)).timestamp()]


def test_a_cart_asks_for_the_one_item_left_out() -> None:
    task = cart_task(visits(trips(), "time", most=10, seed=0), 10, 0)
    assert (len(task.history.keys), len(task.targets.keys)) == (7, 1)


def test_a_cart_is_asked_about_before_what_was_left_out_has_sold() -> None:
    rows = [
        {"item_key": 100 + at, "time": NOW + timedelta(minutes=at), "order": at} for at in range(9)
    ]
    found = events(rows)
    task = cart_task(visits(found, "time", most=10, seed=0), 10, 0)
    trend = MarketTrends(catalogue(), found, 3.0)("north", float(task.now[0]))
    assert trend is not None
    assert not trend.any()


def test_a_cart_is_told_as_the_gateway_tells_it() -> None:
    """However the visit came to an item: looked at, put in the cart, bought."""
    kinds = ("view", "click", "cart", "purchase")
    looked = [
        {"item_key": 101 + at, "type": kind, "time": NOW + timedelta(minutes=at), "order": at}
        for at, kind in enumerate(kinds)
    ]
    task = cart_task(visits(events(looked), "time", most=10, seed=0), 10, 0)
    settings = HistorySettings(length=200, half_life_days=0, floor=0.2, session_minutes=30)
    served = history_for(Ask("CART"), EMPTY, 0, settings)
    served = about(served, task.history.keys)
    keys, age, worth = past_of(task, 0)
    assert keys.tolist() == served.past_keys.tolist()
    assert age.tolist() == served.past_age.tolist()
    assert worth.tolist() == served.past_worth.tolist()
    assert task.history_type is not None
    assert task.history_type.tolist() == served.types.tolist()
