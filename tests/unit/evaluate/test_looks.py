"""Beyond accuracy, against the definitions written out pair by pair."""

import json
import math
import tracemalloc
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluate.looks import Looks, beyond, gini, make_looks
from tests.unit.evaluate.builders import events, items, ragged

SHOP = items(
    (1, "deli", "cheese", "a"),
    (2, "deli", "cheese", "a"),
    (3, "deli", "ham", "b"),
    (4, "drug", "soap", "c"),
    (5, "drug", "", ""),
)


def looks() -> Looks:
    return make_looks(SHOP, events(("u", 1, 0), ("u", 1, 1), ("v", 4, 2)))


def pairwise(shown: list[int], found: Looks) -> float:
    """Intra-list diversity by its definition: the mean over pairs of 1 - cosine."""
    assert found.features is not None
    x = found.features.toarray()
    rows = [int(found.rows(np.array([key]))[0]) for key in shown]
    distances = [1 - float(x[i] @ x[j]) for i, j in permutations(rows, 2)]
    return sum(distances) / len(distances) if distances else 0.0


LISTS = st.lists(
    st.lists(st.integers(1, 5), min_size=1, max_size=5, unique=True), min_size=1, max_size=5
)


@settings(max_examples=50)
@given(LISTS)
def test_diversity_without_pairs_is_that_over_all_pairs(lists: list[list[int]]) -> None:
    found = looks()
    ranked = np.zeros((len(lists), 5), np.int64)
    for row, shown in enumerate(lists):
        ranked[row, : len(shown)] = shown
    each, _ = beyond(ranked, found, ragged(*([1] for _ in lists)), [5])
    expected = [pairwise(shown, found) for shown in lists]
    assert each["diversity@5"] == pytest.approx(expected, abs=1e-6)


def test_items_alike_in_everything_are_no_variety() -> None:
    each, _ = beyond(np.array([[1, 2], [1, 4]]), looks(), ragged([1], [1]), [2])
    assert each["diversity@2"].tolist() == [pytest.approx(0, abs=1e-6), pytest.approx(1)]


def test_novelty_is_the_surprise_of_what_is_shown() -> None:
    # Of 3 events and 5 items, add one: item 1 has 3 of 8, item 4 two, the others one.
    each, _ = beyond(np.array([[1, 4], [5, 0]]), looks(), ragged([1], [1]), [1, 2])
    assert each["novelty@1"].tolist() == pytest.approx([-math.log2(3 / 8), 3.0])
    assert each["novelty@2"].tolist() == pytest.approx([(-math.log2(3 / 8) + 2) / 2, 3.0])


def test_a_slate_of_the_historys_domains_is_calibrated_and_another_is_not() -> None:
    history = ragged([1, 4], [1, 4])
    each, _ = beyond(np.array([[2, 5], [2, 3]]), looks(), history, [2])
    fair, one_sided = each["miscalibration@2"]
    assert fair == pytest.approx(0)
    # p = (1/2, 1/2); q = (1, 0) mixed with a hundredth of p.
    expected = 0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005)
    assert one_sided == pytest.approx(expected)


def test_coverage_and_provider_exposure_are_of_all_rankings_together() -> None:
    _, total = beyond(np.array([[1, 2], [1, 3]]), looks(), ragged([1], [1]), [1, 2])
    assert total["coverage@2"] == 3 / 5
    assert total["coverage@1"] == 1 / 5
    # a has everything at one place: of three providers the greatest there is, 2/3.
    assert total["gini@1"] == pytest.approx(2 / 3)
    assert total["gini@2"] < total["gini@1"]


def test_the_catalogue_that_counts_is_what_may_be_shown() -> None:
    found = make_looks(SHOP, events(("u", 1, 0)), np.array([1, 2]))
    _, total = beyond(np.array([[1]]), found, ragged([1]), [1])
    assert total["coverage@1"] == 1 / 2


def test_what_a_catalogue_cannot_tell_is_left_out() -> None:
    bare = items((1, "shop", "", ""), (2, "shop", "", ""))
    found = make_looks(bare, events(("u", 1, 0)))
    each, total = beyond(np.array([[1, 2]]), found, ragged([1]), [2])
    assert set(each) == {"novelty@2"}
    assert set(total) == {"coverage@2"}


@settings(max_examples=50)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_gini_is_half_the_relative_mean_difference(amounts: list[int]) -> None:
    values = np.array(amounts, np.float64)
    if not values.sum():
        assert gini(values) == 0
        return
    gaps = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(gaps / (2 * values.mean()))


def test_what_all_that_may_be_shown_has_in_common_tells_nothing() -> None:
    # Of the deli alone: its domain is no variety, its categories are the groups, and the
    # providers of the drugstore have no part in the exposure.
    found = make_looks(SHOP, events(("u", 1, 0)), np.array([1, 2, 3]))
    each, total = beyond(np.array([[1, 3], [1, 2]]), found, ragged([1], [3]), [2])
    assert each["diversity@2"].tolist() == [pytest.approx(1), pytest.approx(0, abs=1e-6)]
    assert each["miscalibration@2"][0] < each["miscalibration@2"][1]
    assert found.competing == 3
    assert total["coverage@2"] == 1
    assert total["gini@2"] == pytest.approx(
        gini(np.array([2 + 1 / math.log2(3), 1 / math.log2(3)]))
    )


def test_where_nothing_tells_what_may_be_shown_apart_no_variety_is_measured() -> None:
    bare = items((1, "deli", "", "a"), (2, "deli", "", "a"), (3, "drug", "", "b"))
    found = make_looks(bare, events(("u", 1, 0)), np.array([1, 2]))
    each, total = beyond(np.array([[1, 2]]), found, ragged([3]), [2])
    assert list(each) == ["novelty@2"]
    assert list(total) == ["coverage@2"]


def test_one_long_description_does_not_widen_all_others() -> None:
    size = 2_000
    long = json.dumps({"html": "y" * 50_000, "k": "1"})
    attributes = [long, *(json.dumps({"html": str(n % 9), "k": "1"}) for n in range(1, size))]
    catalogue = items(*((n + 1, "", "", "") for n in range(size)))
    catalogue = catalogue.with_columns(attributes=pl.Series(attributes))
    tracemalloc.start()
    found = make_looks(catalogue, events(("u", 1, 0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.features is not None
    assert (found.features.sum(axis=1) == 1).all()
    assert peak < 50e6
