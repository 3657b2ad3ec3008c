from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.dataset import Dataset
from models.data.errors import SplitError
from models.data.splits import Split, given_split, leave_one_out, make_split, time_split
from tests.unit.data.builders import dataset

PARTS = ("train", "valid", "test")


def same_events(split: Split, whole: Dataset) -> bool:
    """Nothing lost, nothing twice."""
    joined = pl.concat([split.train, split.valid, split.test])
    by = ["user_id", "order"]
    return joined.sort(by).equals(whole.events.sort(by))


histories = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 9), st.integers(0, 500)),
    min_size=30,
    max_size=80,
    unique_by=lambda event: event[2],
)


def timed(events: Sequence[tuple[str, int, int]]) -> Dataset:
    ordered = sorted(events, key=lambda event: event[0])
    return dataset([(u, str(i)) for u, i, _ in ordered], hours=[h for _, _, h in ordered])


@given(histories, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_a_time_split_never_lets_the_future_into_the_past(
    events: list[tuple[str, int, int]], valid: float, test: float
) -> None:
    whole = timed(events)
    split = time_split(whole, valid_fraction=valid, test_fraction=test)
    assert same_events(split, whole)
    assert split.t1 is not None and split.t2 is not None
    assert split.train["time"].to_list() < [split.t1]
    for later, earlier in (("valid", "train"), ("test", "valid"), ("test", "train")):
        assert getattr(split, later)["time"].min() > getattr(split, earlier)["time"].max()


@given(histories)
def test_leaving_one_out_keeps_every_target_after_its_training(
    events: list[tuple[str, int, int]],
) -> None:
    whole = timed(events)
    split = leave_one_out(whole)
    assert same_events(split, whole)
    last = {user: {} for user in "abcd"}  # type: dict[str, dict[str, list[int]]]
    for name in PARTS:
        for user, order in getattr(split, name).select("user_id", "order").iter_rows():
            last[user].setdefault(name, []).append(order)
    for user, parts in last.items():
        if sum(map(len, parts.values())) < 3:
            assert set(parts) <= {"train"}, user
            continue
        assert len(parts["test"]) == len(parts["valid"]) == 1
        assert max(parts["train"]) < parts["valid"][0] < parts["test"][0]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 3))
def test_carving_validation_leaves_every_user_something_to_train_on(
    sizes: list[int], seed: int
) -> None:
    rows = [(f"u{u}", str(i + 1)) for u, size in enumerate(sizes) for i in range(size)]
    rows += [(f"u{u}", "99") for u in range(len(sizes))]
    splits = ["train"] * sum(sizes) + ["test"] * len(sizes)
    whole = dataset(rows, splits=splits, times="none")
    split = given_split(whole, seed=seed)
    assert same_events(split, whole)
    assert split.test.height == len(sizes)
    for u, size in enumerate(sizes):
        carved = split.valid.filter(pl.col("user_id") == f"u{u}").height
        assert carved == min(int(size * 0.1 + 0.5), size - 1)


def test_carving_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    rows = [("a", str(i)) for i in range(1, 101)] + [("a", "500")]
    whole = dataset(rows, splits=["train"] * 100 + ["test"], times="none")
    assert given_split(whole, seed=1).valid.equals(given_split(whole, seed=1).valid)
    assert not given_split(whole, seed=1).valid.equals(given_split(whole, seed=2).valid)


def test_a_given_validation_split_is_used_as_it_is() -> None:
    whole = dataset(
        [("a", "1"), ("a", "2"), ("a", "3")], splits=["train", "valid", "test"], times="none"
    )
    assert given_split(whole).valid["item_key"].to_list() == [2]


def test_events_at_one_moment_are_never_separated() -> None:
    whole = dataset([("a", str(i)) for i in range(1, 11)], hours=[0, 1, 2, 3, 4, 5, 6, 9, 9, 9])
    split = time_split(whole, valid_fraction=0.3, test_fraction=0.2)
    assert split.valid["item_key"].to_list() == [6, 7]
    assert split.test["item_key"].to_list() == [8, 9, 10]


def test_days_count_back_from_the_last_event() -> None:
    whole = dataset([("a", str(i)) for i in range(1, 11)], hours=[24 * i for i in range(10)])
    split = time_split(whole, valid_days=2, test_days=3)
    assert [getattr(split, p).height for p in PARTS] == [4, 2, 4]
    assert "train < 2024-01-05" in split.note


def test_a_dislike_is_no_target_and_stays_on_its_side_of_the_target() -> None:
    whole = dataset(
        [("a", str(i)) for i in range(1, 7)],
        types=["view", "dislike", "view", "dislike", "view", "dislike"],
    )
    split = leave_one_out(whole)
    assert split.train["item_key"].to_list() == [1, 2]
    assert split.valid["item_key"].to_list() == [3, 4]
    assert split.test["item_key"].to_list() == [5, 6]


def test_users_with_fewer_than_three_events_are_trained_on_only() -> None:
    whole = dataset([("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("b", "3")])
    split = leave_one_out(whole)
    assert split.test["user_id"].to_list() == ["b"]
    assert split.train["user_id"].to_list() == ["a", "a", "b"]
    assert "1 users with fewer than three" in split.note


@pytest.mark.parametrize(
    ("protocol", "kind", "message"),
    [
        ("time-split", "order", "have no time.*use the protocol leave-one-out"),
        ("time-split", "none", "have no time.*use the protocol given-split"),
        ("leave-one-out", "none", "have no order.*use the protocol given-split"),
        ("given-split", "order", "came without a split.*use the protocol leave-one-out"),
        ("given-split", "time", "came without a split.*use the protocol time-split or leave-one"),
        ("by-hand", "time", "'by-hand' is no protocol; there are: time-split, leave-one-out"),
    ],
)
def test_a_protocol_that_does_not_fit_names_one_that_does(
    protocol: str, kind: str, message: str
) -> None:
    rows = [("a", "1"), ("a", "2"), ("a", "3")]
    made = {
        "time": dataset(rows, hours=[1, 2, 3]),
        "order": dataset(rows),
        "none": dataset(rows, splits=["train", "train", "test"], times="none"),
    }[kind]
    with pytest.raises(SplitError, match=message):
        make_split(made, protocol)


@pytest.mark.parametrize(("hours", "said"), [([1, 1, 1], "1 moment,"), ([1, 2, 2], "2 moments,")])
def test_fewer_than_three_moments_cannot_be_split_by_time(hours: list[float], said: str) -> None:
    whole = dataset([("a", "1"), ("a", "2"), ("a", "3")], hours=hours)
    with pytest.raises(SplitError, match=f"all events are of {said}.*protocol leave-one-out"):
        time_split(whole)


@pytest.mark.parametrize(
    ("hours", "sizes"),
    [
        ([1] * 18 + [2, 3], (18, 1, 1)),  # the first moment holds both cuts
        ([1, 2] + [3] * 18, (1, 1, 18)),  # the last one does
        ([1] * 6 + [2] * 4 + [3] * 8 + [4] * 2, (10, 8, 2)),  # one in between, T2 is nearer
        ([1] * 6 + [2] * 9 + [3] * 5, (6, 9, 5)),  # T1 alone can move
    ],
)
def test_coarse_times_are_cut_at_the_nearest_moments_that_leave_no_part_empty(
    hours: list[float], sizes: tuple[int, int, int]
) -> None:
    whole = dataset([("a", str(i)) for i in range(1, len(hours) + 1)], hours=hours)
    split = time_split(whole)
    assert tuple(getattr(split, part).height for part in PARTS) == sizes


def test_days_without_events_are_told() -> None:
    whole = dataset([("a", "1"), ("a", "2"), ("b", "3")], hours=[0, 240, 480])
    with pytest.raises(SplitError, match=r"no event falls into valid .*; choose other days"):
        time_split(whole, valid_days=1, test_days=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_days": 1.0}, "give both"),
        ({"valid_days": 0.0, "test_days": 1.0}, "valid_days is 0.0, must be positive"),
        ({"valid_fraction": 0.5, "test_fraction": 0.5}, "leave something to train on"),
        ({"test_fraction": float("nan")}, "test_fraction is nan, must be positive"),
    ],
)
def test_cutoffs_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    whole = dataset([("a", "1"), ("a", "2"), ("b", "3")], hours=[1, 2, 3])
    with pytest.raises(SplitError, match=message):
        time_split(whole, **options)


def test_what_no_protocol_can_split_says_what_to_import() -> None:
    bare = dataset([("a", "1"), ("a", "2")], times="none")
    for protocol in ("time-split", "leave-one-out", "given-split"):
        with pytest.raises(SplitError, match=r"from csv or parquet, .*--map time=.*--map split="):
            make_split(bare, protocol)
    empty = replace(bare, events=bare.events.clear())
    with pytest.raises(SplitError, match="no events to hold out"):
        make_split(empty, "time-split")


def test_no_protocol_sends_shoppers_of_one_event_to_another() -> None:
    rows = [(user, "1") for user in "abcdefghij"]
    disliked = dataset([*rows, ("a", "2")], types=["view"] * 10 + ["dislike"])
    alone = dataset(rows, hours=list(range(10)), splits=["train"] * 9 + ["test"])
    for protocol in ("time-split", "leave-one-out", "given-split"):
        for data in (alone, disliked):
            with pytest.raises(SplitError, match=r"no user has two .*import more") as refused:
                make_split(data, protocol)
            assert "use the protocol" not in str(refused.value)


def test_no_protocol_is_advised_that_would_refuse_too() -> None:
    # Two events each, none on both sides of a cutoff, and nobody with three.
    pairs = [(user, item) for user in "abcdefghij" for item in "12"]
    apart = dataset(pairs, hours=list(range(20)))
    alike = dataset(pairs, hours=[1] * 20)
    for data, protocol in ((apart, "leave-one-out"), (apart, "given-split"), (alike, "time-split")):
        with pytest.raises(SplitError, match="no protocol fits, import more events of each user"):
            make_split(data, protocol)
    again = dataset([*pairs, ("a", "3")], hours=list(range(21)))
    with pytest.raises(SplitError, match="use the protocol time-split or leave-one-out"):
        make_split(again, "given-split")


def test_every_protocol_splits_what_fits_it() -> None:
    rows = [("a", str(i)) for i in range(1, 12)]
    assert make_split(dataset(rows, hours=list(range(11))), "time-split").test.height
    assert make_split(dataset(rows), "leave-one-out").test.height
    splits = ["train"] * 10 + ["test"]
    assert make_split(dataset(rows, splits=splits, times="none"), "given-split").valid.height == 1
