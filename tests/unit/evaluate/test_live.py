"""A visit under way: what is known of it, by which way, and nothing of its rest."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.evaluate.fused import Shopper
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists
from models.evaluate.task import Task
from models.fusion.live import Live, Visit, Ways, first_of, live_task, only_visit, rank_live
from tests.unit.evaluate.builders import events

BEFORE = [1, 2, 3]
BASKET = [11, 12, 13, 14, 15, 16, 17, 18]
NOTHING = Ways(sources=False, habits=False, session=False)


def known() -> pl.DataFrame:
    return events(*((user, key, day) for user in "ab" for day, key in enumerate(BEFORE)))


def wanted() -> pl.DataFrame:
    """For each a small visit on day 10, a basket of one moment on day 20, another on day 30."""
    found = [(user, key, 10.0) for user in "ab" for key in (4, 5)]
    found += [(user, key, 20.0) for user in "ab" for key in BASKET]
    found += [(user, key, 30.0) for user in "ab" for key in range(21, 29)]
    # New with the basket: nothing was known of this shopper.
    return events(*found, *(("new", key, 20.0) for key in BASKET))


def live(seed: int = 0) -> Live:
    return live_task(known(), wanted(), live=3, seed=seed)


def task(seed: int = 0) -> Task:
    return live(seed).task


def lists(ragged: object) -> list[list[int]]:
    return [part.tolist() for part in np.split(ragged.keys, ragged.starts[1:-1])]  # type: ignore[attr-defined]


def test_the_history_ends_with_the_first_events_of_the_first_visit_of_enough_items() -> None:
    made = task()
    assert len(made.user_ids) == 2
    for history, targets in zip(lists(made.history), lists(made.targets), strict=True):
        assert history[:5] == [*BEFORE, 4, 5]
        assert len(history) == 8
        assert sorted(history[5:] + targets) == BASKET
    assert set(made.now.tolist()) == {made.history_time[-1]}


def test_what_comes_first_of_one_moment_is_drawn_and_the_same_for_a_seed() -> None:
    firsts = {tuple(lists(task(seed).history)[0][5:]) for seed in range(6)}
    assert len(firsts) > 1
    assert lists(task(4).history) == lists(task(4).history)


def test_events_at_different_times_keep_their_order() -> None:
    found = events(*(("a", key, 20 + place / 1440) for place, key in enumerate(BASKET)))
    made = live_task(known(), found, live=3).task
    assert lists(made.history) == [[*BEFORE, 11, 12, 13]]
    assert lists(made.targets) == [[14, 15, 16, 17, 18]]


def test_nothing_that_comes_later_changes_the_question() -> None:
    later = pl.concat([wanted(), events(("a", 99, 40.0), ("b", 98, 41.0))])
    made, other = task(), live_task(known(), later, live=3).task
    for name in ("user_ids", "market", "now", "history_weight", "history_time"):
        assert np.array_equal(getattr(made, name), getattr(other, name))
    assert lists(made.history) == lists(other.history)


def test_a_visit_can_be_forgotten_event_by_event_and_seen_alone() -> None:
    made = live()
    assert lists(first_of(made, 0).task.history) == [[*BEFORE, 4, 5]] * 2
    whole, two = lists(made.task.history), lists(first_of(made, 2).task.history)
    assert two == [history[:-1] for history in whole]
    assert lists(only_visit(made).task.history) == [history[-3:] for history in whole]


def test_what_a_shopper_comes_back_to_is_told_as_often_as_that_happened() -> None:
    seen = (11, 12, 11, 11, 13, 12, 14, 11, 15)
    found = events(*(("a", key, 20 + place / 1440) for place, key in enumerate(seen)))
    made = live_task(known(), found, live=3)
    assert lists(made.task.history) == [[*BEFORE, 11, 12, 11, 11, 13, 12]]
    assert lists(made.task.targets) == [[14, 15]]
    assert lists(first_of(made, 2).task.history) == [[*BEFORE, 11, 12, 11, 11]]
    assert lists(first_of(made, 0).task.history) == [BEFORE]
    assert lists(only_visit(first_of(made, 1)).task.history) == [[11]]


def test_a_dislike_of_the_visit_repels_and_is_never_shown_and_no_model_is_told() -> None:
    kinds = {11: "dislike", 12: "dislike"}
    found = events(*(("a", key, 20 + place / 1440) for place, key in enumerate(BASKET)))
    kind = pl.col("item_key").replace_strict(kinds, default="purchase")
    made = live_task(known(), found.with_columns(type=kind), live=3)
    assert lists(made.task.history) == [[*BEFORE, 13, 14, 15]]
    two = first_of(made, 2)
    assert lists(two.session) == [[11, 12, 13, 14]]
    assert two.session_weight.tolist() == [-1, -1, 1, 1]
    assert lists(first_of(made, 0).session) == [[]]
    spy, visit = Spy(), Visit.of(made)
    nothing = Lists(np.zeros((1, 1), np.int64), np.full((1, 1), np.nan, np.float32))
    ways = Ways(sources=True, habits=True, session=True)
    ranked = rank_live(spy, visit, ways, {"cf": nothing}, k=8, asking=Asking())
    (shopper,) = spy.told
    assert shopper.history.tolist() == shopper.past.tolist() == [*BEFORE, 13, 14, 15]
    assert shopper.session.tolist() == [11, 12, 13, 14, 15]
    assert np.sign(shopper.session_weight).tolist() == [-1, -1, 1, 1, 1]
    assert not {11, 12} & set(ranked[0].tolist())


class Spy:
    """A fusion that notes what it is told, and shows the basket."""

    def __init__(self) -> None:
        self.told: list[Shopper] = []

    def __call__(self, shopper: Shopper, k: int) -> Keys:
        self.told.append(shopper)
        return np.array(BASKET[:k], np.int64)


def asked(ways: Ways) -> tuple[Shopper, Keys, list[int]]:
    spy, visit = Spy(), Visit.of(live())
    nothing = Lists(np.zeros((2, 1), np.int64), np.full((2, 1), np.nan, np.float32))
    ranked = rank_live(spy, visit, ways, {"cf": nothing}, k=4, asking=Asking())
    return spy.told[0], ranked[0], visit.live.keys[:3].tolist()


@pytest.mark.parametrize("way", ["sources", "habits", "session"])
def test_each_way_is_open_by_itself(way: str) -> None:
    shopper, _, live = asked(replace(NOTHING, **{way: True}))
    told = {
        "sources": shopper.history.tolist(),
        "habits": shopper.past.tolist(),
        "session": shopper.session.tolist(),
    }
    for name, keys in told.items():
        assert keys[len(keys) - 3 :] == live if name == way else not set(live) & set(keys)


def test_a_session_weighs_its_last_step_most() -> None:
    shopper, _, _ = asked(replace(NOTHING, session=True))
    assert shopper.session_weight.tolist() == pytest.approx([0.85**2, 0.85, 1])


def test_what_the_visit_has_is_never_shown_whatever_is_known_of_it() -> None:
    for ways in (NOTHING, Ways(sources=True, habits=True, session=True)):
        _, ranked, live = asked(ways)
        assert ranked.tolist() == [key for key in BASKET if key not in live][:4]
