"""What a shopper did, weighted by what it was and how long ago."""

import numpy as np

from gateway.extending import extended
from gateway.history import History, HistorySettings, about, history_for
from gateway.trails import EMPTY
from gateway.types import Ask, Event, EventType, Trail, columns_of

NOW = 1_800_000_000_000
DAY = 86_400_000
MINUTE = 60_000
SETTINGS = HistorySettings(length=4, half_life_days=10, floor=0.2, session_minutes=30)


def event(key: int, kind: EventType = EventType.PURCHASE, age_ms: int = 0, id_: str = "") -> Event:
    return Event("u", key, kind, NOW - age_ms, event_id=id_)


def trail(*events: Event) -> Trail:
    return extended(EMPTY, columns_of(events), 100)


def read(known: Trail, *inline: Event, surface: str = "HOME") -> History:
    return history_for(Ask(surface, events=columns_of(inline)), known, NOW, SETTINGS)


def test_a_purchase_says_more_than_a_click_and_a_click_more_than_a_view() -> None:
    kinds = (EventType.VIEW, EventType.CLICK, EventType.CART, EventType.PURCHASE)
    found = read(trail(*(event(n + 1, kind) for n, kind in enumerate(kinds))))
    assert (np.diff(found.weights) > 0).all()
    assert found.bought.tolist() == [False, False, False, True]


def test_age_halves_a_weight_down_to_the_floor() -> None:
    found = read(trail(event(1, age_ms=1000 * DAY), event(2, age_ms=10 * DAY), event(3)))
    np.testing.assert_allclose(found.weights, [0.2, 0.5, 1.0], rtol=1e-6)


def test_what_each_event_was_and_how_long_ago_is_known_for_models_that_ask() -> None:
    known = trail(event(1, EventType.VIEW, age_ms=DAY), event(2, age_ms=500))
    found = read(known, event(3, EventType.CART, age_ms=-MINUTE))  # a clock that is ahead
    assert found.types.tolist() == [EventType.VIEW, EventType.PURCHASE, EventType.CART]
    assert found.ages.tolist() == [86_400.0, 0.5, 0.0]
    looked_at = about(found, np.array([7, 8]))
    assert looked_at.types.tolist() == [EventType.VIEW] * 2
    assert looked_at.ages.tolist() == [0.0, 0.0]


def test_without_a_half_life_nothing_fades() -> None:
    still = HistorySettings(length=4, half_life_days=0, floor=0.2, session_minutes=30)
    found = history_for(Ask("HOME"), trail(event(1, age_ms=1000 * DAY)), NOW, still)
    assert found.weights.tolist() == [1.0]


def test_only_the_newest_events_are_told() -> None:
    found = read(trail(*(event(n, age_ms=(10 - n) * MINUTE) for n in range(1, 9))))
    assert found.keys.tolist() == [5, 6, 7, 8]


def test_events_of_the_request_follow_those_of_the_store_and_count_once() -> None:
    known = trail(event(1, age_ms=DAY, id_="a"), event(2, age_ms=DAY))
    found = read(
        known,
        event(1, age_ms=DAY, id_="a"),  # held, by its id
        event(2, age_ms=DAY),  # held, by item, type and time
        event(3, id_="b"),
        event(3, id_="b"),
    )
    assert found.keys.tolist() == [1, 2, 3]


def test_a_session_is_the_last_half_hour_and_what_came_with_the_request() -> None:
    known = trail(event(1, age_ms=DAY), event(2, age_ms=10 * MINUTE))
    found = read(known, event(3, EventType.CLICK, age_ms=3 * DAY), surface="SESSION")
    assert found.session_keys.tolist() == [3, 2]
    assert sorted(found.keys.tolist()) == [2, 3]


def test_what_a_clock_that_was_ahead_has_stamped_is_not_the_session_until_then() -> None:
    known = trail(event(2, age_ms=MINUTE), event(3, age_ms=-5 * MINUTE), event(1, age_ms=-30 * DAY))
    found = read(known, surface="SESSION")
    assert found.session_keys.tolist() == [2, 3]
    assert read(known).keys.tolist() == [2, 3, 1], "it happened all the same"


def test_a_ranker_reads_of_a_surface_what_it_is_about() -> None:
    known = trail(event(1, age_ms=DAY), event(2, EventType.VIEW, age_ms=10 * MINUTE))
    everything = read(known)
    assert everything.past_keys.tolist() == [1, 2]
    assert everything.past_age.tolist() == np.array([1, 10 / 1440], np.float32).tolist()
    assert everything.past_worth.tolist() == [1.0, 0.25]
    session = read(known, surface="SESSION")
    assert session.past_keys.tolist() == [2]
    cart = about(everything, np.array([7, 8]))
    assert cart.past_keys.tolist() == [7, 8]
    assert cart.past_age.tolist() == [0, 0]
    assert cart.past_worth.tolist() == [1, 1]


def test_later_steps_of_a_session_weigh_more() -> None:
    known = trail(*(event(n, EventType.CLICK, (9 - n) * MINUTE) for n in range(1, 4)))
    found = read(known)
    assert (np.diff(found.session_weights) > 0).all()


def test_a_dislike_is_kept_from_models_hides_the_item_and_repels() -> None:
    found = read(trail(event(1), event(2, EventType.DISLIKE)))
    assert found.keys.tolist() == [1]
    assert found.disliked.tolist() == [2]
    assert found.session_weights[-1] < 0


def test_the_newest_opinion_of_an_item_decides_in_whatever_order_they_come() -> None:
    like, dislike = event(2, EventType.LIKE, age_ms=1), event(2, EventType.DISLIKE)
    for told in ([like, dislike], [dislike, like]):
        assert trail(*told).disliked.tolist() == [2]
        assert extended(trail(told[0]), columns_of(told[1:]), 100).disliked.tolist() == [2]
        assert read(EMPTY, *told).disliked.tolist() == [2]
    # Of one moment the one that came last.
    assert trail(event(2, EventType.LIKE), dislike).disliked.tolist() == [2]
    assert trail(dislike, event(2, EventType.LIKE)).disliked.tolist() == []


def test_a_like_takes_a_dislike_back() -> None:
    known = trail(event(2, EventType.DISLIKE, DAY))
    assert extended(known, columns_of([event(2, EventType.LIKE)]), 100).disliked.tolist() == []


def test_an_opinion_of_the_request_that_is_older_than_all_that_is_remembered_changes_nothing() -> (
    None
):
    views = [event(n, EventType.VIEW, age_ms=100 - n) for n in range(10, 20)]
    for newest, older in (
        (EventType.DISLIKE, EventType.LIKE),
        (EventType.LIKE, EventType.DISLIKE),
    ):
        known = extended(EMPTY, columns_of([event(2, newest, DAY), *views]), 5)
        before = known.disliked.tolist()
        assert read(known, event(2, older, 2 * DAY, "late")).disliked.tolist() == before
        changed = read(known, event(2, older, DAY - 1, "late")).disliked.tolist()
        assert changed == ([] if before else [2])


def test_purchases_are_remembered_beyond_the_newest_events() -> None:
    events = [event(n, age_ms=DAY) for n in range(1, 50)]
    assert set(extended(EMPTY, columns_of(events), 5).purchased.tolist()) == set(range(1, 50))
