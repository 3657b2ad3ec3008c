"""Every place of a ranking is on exactly one page."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fusion.pipeline import build_pool
from gateway.paging import Rankings
from gateway.types import Ask, Event, EventType, Facts, Ranking, RuleSpec, Timings, columns_of
from services.runtime.errors import FailedPrecondition, InvalidArgument
from tests.unit.fusion.builders import query

VIEWED = columns_of([Event("ann", 1, EventType.VIEW, 1)])


def ranking(size: int, ranking_id: str = "00" * 8) -> Ranking:
    rows = np.arange(size, dtype=np.int32)[::-1].copy()
    return Ranking(
        ranking_id=ranking_id, ask=Ask("HOME", "ann"), rows=rows,
        scores=np.zeros(size, np.float32), positions=rows, answers=(), candidate_counts=(),
        fallback=False, unknown_items=0, unknown_candidates=0,
        timings=Timings(0.0, 0.0, ()),
    )  # fmt: skip


@given(
    size=st.integers(0, 60),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    deleted=st.sets(st.integers(0, 59)),
    after=st.integers(0, 4),
)
def test_nothing_twice_and_nothing_lost_whatever_the_page_sizes_and_deletions(
    size: int, sizes: list[int], deleted: set[int], after: int
) -> None:
    gone: set[int] = set()
    rankings = Rankings(lambda row: row not in gone, capacity=10, seconds=60)
    whole = ranking(size)
    page = rankings.first_page(whole, sizes[0])
    shown = page.places.tolist()
    turns = 1
    while page.next_token:
        if turns == after:
            gone |= deleted
        page = rankings.next_page(
            Ask("HOME", "ann", page_size=sizes[turns % len(sizes)], page_token=page.next_token)
        )
        fresh = page.places.tolist()
        assert not gone & {int(whole.rows[place]) for place in fresh}
        shown += fresh
        turns += 1
    assert shown == sorted(set(shown))
    expected = {place for place in range(size) if int(whole.rows[place]) not in gone}
    assert expected <= set(shown)


def test_a_ranking_is_forgotten_after_its_time() -> None:
    now = [0.0]
    rankings = Rankings(lambda _: True, capacity=10, seconds=60, clock=lambda: now[0])
    token = rankings.first_page(ranking(5), 2).next_token
    now[0] = 61
    with pytest.raises(FailedPrecondition, match="no longer kept"):
        rankings.next_page(Ask("HOME", "ann", page_size=2, page_token=token))


OTHERS = (
    Ask("HOME", "bob"), Ask("CART", "ann", item_ids=("1",)), Ask("HOME", "ann", "m"),
    Ask("HOME", "ann", rules=RuleSpec(exclude=("2",))), Ask("HOME", "ann", diversity=0.5),
    Ask("HOME", "ann", explain=True), Ask("SEARCH", "ann", text="soap"),
)  # fmt: skip


@pytest.mark.parametrize("mine", [Ask("HOME", "ann"), *OTHERS])
def test_a_token_turns_the_pages_of_its_own_request_whatever_was_in_it(mine: Ask) -> None:
    rankings = Rankings(lambda _: True, capacity=10, seconds=60)
    token = rankings.first_page(replace(ranking(5), ask=mine), 2).next_token
    for ask in (Ask("HOME", "ann"), *OTHERS):
        if ask == mine:
            continue
        with pytest.raises(InvalidArgument, match="another request"):
            rankings.next_page(replace(ask, page_token=token))
    again = replace(mine, page_size=3, page_token=token, events=VIEWED)
    assert rankings.next_page(again).places.tolist() == [2, 3, 4]


def test_a_ranking_is_kept_without_what_only_made_it() -> None:
    rankings = Rankings(lambda _: True, capacity=10, seconds=60)
    large = Ask(
        "CART", "ann", events=VIEWED, item_ids=("1",), rules=RuleSpec(exclude=("2",)), text="t"
    )
    token = rankings.first_page(replace(ranking(5), ask=large), 2).next_token
    kept = rankings.next_page(replace(large, page_token=token)).ranking.ask
    assert kept == Ask("CART", "ann", text="t")


def test_a_token_from_before_a_restart_is_said_to_be_of_a_ranking_that_is_gone() -> None:
    token = Rankings(lambda _: True, capacity=9, seconds=9).first_page(ranking(5), 2).next_token
    with pytest.raises(FailedPrecondition, match="ask again without a token"):
        Rankings(lambda _: True, capacity=9, seconds=9).next_page(Ask("HOME", page_token=token))


def test_an_explained_ranking_is_kept_though_it_counts_for_more_than_there_is_room() -> None:
    rankings = Rankings(lambda _: True, capacity=2, seconds=60)
    explained = replace(ranking(5), facts=Facts(query(), build_pool(query(), {})))
    token = rankings.first_page(explained, 2).next_token
    page = rankings.next_page(Ask("HOME", "ann", page_size=3, page_token=token))
    assert page.places.tolist() == [2, 3, 4]
    # The next one takes its room.
    rankings.first_page(ranking(5, "11" * 8), 2)
    with pytest.raises(FailedPrecondition, match="no longer kept"):
        rankings.next_page(Ask("HOME", "ann", page_size=3, page_token=token))


def test_a_ranking_that_fits_one_page_is_not_kept() -> None:
    rankings = Rankings(lambda _: True, capacity=1, seconds=60)
    token = rankings.first_page(ranking(5, "11" * 8), 2).next_token
    assert not rankings.first_page(ranking(5, "22" * 8), 5).next_token
    assert rankings.next_page(Ask("HOME", "ann", page_size=9, page_token=token)).places.tolist()
