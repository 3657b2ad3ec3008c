"""Intervals, differences and slices: what a number is worth, and for whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluate.bootstrap import Resampling, interval, resampled_means
from models.evaluate.judge import Entry, Measure, judge, reliability
from models.evaluate.looks import make_looks
from models.evaluate.metrics import per_user
from models.evaluate.ranking import Lists
from models.evaluate.slices import Slice, make_slices
from tests.unit.evaluate.builders import events, items, ragged, task_of

SHOP = items(*((key, "deli" if key % 2 else "drug", "", "") for key in range(1, 13)))
KNOWN = events(*((f"u{i}", key, 0) for i in range(6) for key in (1, 2)))


def test_an_interval_of_means_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, (400, 1))
    low, high = interval(resampled_means(values, Resampling(2000)), Resampling(2000))
    half = 1.96 * values.std() / np.sqrt(400)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.06)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.06)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)
    how = Resampling(draws=300)
    held = 0
    for trial in range(100):
        values = random.binomial(1, 0.3, (80, 1)).astype(np.float64)
        low, high = interval(resampled_means(values, Resampling(300, seed=trial)), how)
        held += bool(low[0] <= 0.3 <= high[0])
    assert 87 <= held <= 100


def test_resamples_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(0).random((50, 3))
    one, same, other = (resampled_means(values, Resampling(150, seed=s)) for s in (4, 4, 5))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (150, 3)


def test_a_constant_has_no_width_and_one_user_no_other_mean() -> None:
    low, high = interval(resampled_means(np.ones((30, 1)), Resampling(50)), Resampling(50))
    assert low[0] == high[0] == 1
    assert (resampled_means(np.array([[7.0]]), Resampling(10)) == 7).all()
    # Nor has one that no sum holds.
    tenth = np.full((30, 1), 0.1)
    assert (resampled_means(tenth, Resampling(50)) == tenth.mean()).all()


@pytest.mark.parametrize("users", range(60, 360, 12))
def test_where_only_two_users_differ_no_difference_is_sure(users: int) -> None:
    random = np.random.default_rng(users)
    ours = random.choice([0, 0, 0.2, 0.431, 0.631, 1], users)
    theirs = ours + np.where(np.arange(users) < 2, 0.3 * random.random(users), 0)
    means = resampled_means(np.stack([ours, theirs, ours * 0], axis=1), Resampling())
    # One resample in seven has neither of the two.
    low, _ = interval(means[:, [1]] - means[:, [0]], Resampling())
    assert low[0] == 0
    assert means.min() >= 0


def judged(rankings: dict[str, list[list[int]]], targets: list[list[int]], slices=()):
    users = [f"u{i}" for i in range(len(targets))]
    task = task_of({user: [1, 2] for user in users}, dict(zip(users, targets, strict=True)))
    entries = [Entry(name, "model", np.array(keys)) for name, keys in rankings.items()]
    made = [part(task) for part in slices]
    return judge(entries, task, make_looks(SHOP, KNOWN), made, Measure((2, 3), "ndcg@2"))


def test_a_small_but_steady_lead_is_told_from_chance_because_users_are_paired() -> None:
    # Users differ widely, the two rows hardly: b is a little better for every fifth user.
    targets = [[5] if i % 2 else [9] for i in range(60)]
    worse = [[5, 4, 3]] * 60
    better = [[5, 9, 3] if i % 10 == 0 else [5, 4, 3] for i in range(60)]
    found = judged({"a": worse, "b": better}, targets)
    a, b = found.rows
    gap = next(d for d in found.differences if (d.row, d.against) == ("b", "a"))
    assert 0 < gap.low < gap.difference < gap.high
    assert gap.difference == pytest.approx(b.metrics["ndcg@2"] - a.metrics["ndcg@2"])
    assert gap.relative == pytest.approx(gap.difference / a.metrics["ndcg@2"])
    # The rows' own intervals overlap: unpaired, nothing could be said.
    assert a.intervals["ndcg@2"][1] > b.intervals["ndcg@2"][0]


def test_a_difference_to_nothing_has_no_relative_size() -> None:
    found = judged({"a": [[3, 4, 6]], "b": [[5, 4, 6]]}, [[5]])
    assert next(d for d in found.differences if d.row == "b").relative is None


def test_a_row_holds_the_means_of_its_users() -> None:
    ranked = [[5, 9, 3], [4, 6, 8]]
    row = judged({"a": ranked}, [[5, 9], [8]]).rows[0]
    values = per_user(np.array(ranked), ragged([5, 9], [8]), (2, 3))
    for name, expected in values.items():
        assert row.metrics[name] == pytest.approx(expected.mean())
        assert row.intervals[name][0] <= row.metrics[name] <= row.intervals[name][1]


@settings(max_examples=30)
@given(st.lists(st.permutations(range(3, 13)), min_size=1, max_size=5), st.integers(3, 12))
def test_a_slice_is_the_ranking_judged_by_its_targets_alone(
    orders: list[list[int]], least: int
) -> None:
    targets = [sorted(order[:3]) for order in orders]
    chosen = [[key for key in own if key >= least] for own in targets]
    if not any(chosen):
        return

    def part(task):
        return Slice("items", "some", "", task.targets.keys >= least)

    found = judged({"a": [list(o[::-1]) for o in orders]}, targets, [part]).slices[0]
    users = [i for i, own in enumerate(chosen) if own]
    ranked = np.array([orders[i][::-1][:3] for i in users])
    expected = per_user(ranked, ragged(*(chosen[i] for i in users)), (2, 3))
    assert found.users == len(users)
    assert found.targets == sum(map(len, chosen))
    for name, values in expected.items():
        assert found.metrics["a"][name] == pytest.approx(values.mean())


def test_slices_part_users_histories_items_domains_and_markets() -> None:
    histories = {"new": [1], "b": [1, 3, 5], "c": [1, 2, 3, 4, 5, 6, 7]}
    task = task_of(histories, {"new": [3], "b": [2, 12], "c": [8, 12]})
    trained = events(*((u, k, 0) for u, ks in histories.items() if u != "new" for k in ks))
    known = events(*((u, k, 0) for u, ks in histories.items() for k in ks), ("z", 8, 1))
    found = {s.name: s for s in make_slices(task, SHOP, trained, known)}

    def targets(name: str) -> list[tuple[str, int]]:
        chosen = found[name].targets
        users = task.targets.users[chosen]
        keys = task.targets.keys[chosen].tolist()
        return [(task.user_ids[u], key) for u, key in zip(users, keys, strict=True)]

    assert targets("new users") == [("new", 3)]
    assert targets("short histories") == [("new", 3)]
    assert targets("long histories") == [("c", 8), ("c", 12)]
    # 8 was sold, but not in training; 12 was never heard of.
    assert targets("new items") == [("b", 12), ("c", 8), ("c", 12)]
    assert targets("unheard-of items") == [("b", 12), ("c", 12)]
    # b only ever bought from the deli (odd keys); drug items are even.
    assert targets("domain never visited") == [("b", 2), ("b", 12)]
    # All in one market: no slice tells anything.
    assert not any(name.startswith("market") for name in found)
    parts = found["known users"].targets | found["new users"].targets
    assert parts.all()


def test_head_and_tail_divide_what_was_sold_in_training() -> None:
    sold = [("u", 1, 0)] * 6 + [("u", 2, 0)] * 2 + [("u", 3, 0)] * 2 + [("u", 4, 0)]
    task = task_of({"u": [1]}, {"u": [1, 2, 4, 9]})
    found = {s.name: s for s in make_slices(task, SHOP, events(*sold), events(*sold))}
    assert task.targets.keys[found["head items"].targets].tolist() == [1]
    assert task.targets.keys[found["tail items"].targets].tolist() == [2, 4]
    assert task.targets.keys[found["new items"].targets].tolist() == [9]


def test_calibration_says_how_often_a_score_came_true() -> None:
    task = task_of({"u": [1], "v": [1]}, {"u": [5], "v": [6]})
    lists = Lists(
        np.array([[5, 6, 0], [5, 6, 7]]), np.array([[1, 0.2, np.nan], [1, 0.9, 0.2]], np.float32)
    )
    quantiles = (np.linspace(0, 1, 3, dtype=np.float32), np.array([0, 0.5, 1], np.float32))
    bins = reliability(lists, task, quantiles)
    assert sum(b.count for b in bins) == 5
    assert bins[-1].count == 2  # both at the top, one of them right
    assert bins[-1].rate == 0.5
    assert bins[-1].score == pytest.approx(1)
    assert [b.score for b in bins] == sorted(b.score for b in bins)
