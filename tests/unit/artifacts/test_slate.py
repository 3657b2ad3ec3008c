"""Places: variety, the history's mix and a bound on providers, against their definitions."""

from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.formulas import Floats, Rows
from artifacts.slate import MIXED, Bound, Mix, Variety, choose

seeds = st.integers(0, 2**16)
NO_VECTORS: Floats = np.zeros((0, 0), np.float32)


def candidates(seed: int, size: int) -> tuple[Floats, Floats, Rows]:
    """Scores, unit vectors, and a group of each, sometimes unknown."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = rng.random(size).astype(np.float32)
    return scores, vectors, rng.integers(-1, 4, size).astype(np.int32)


def divergence(likes: npt.NDArray[np.float64], groups: list[int]) -> float:
    """KL(p || (1 - a) q + a p) of a slate, as Steck (2018) writes it."""
    known = [g for g in groups if g >= 0]
    q = np.bincount(known, minlength=len(likes)) / max(len(known), 1)
    mixed = (1 - MIXED) * q + MIXED * likes
    there = likes > 0
    return float((likes[there] * np.log(likes[there] / mixed[there])).sum())


@given(seeds, st.integers(1, 12), st.sampled_from([0.0, 0.2, 1.0]))
def test_each_place_goes_to_what_is_best_beside_those_before(
    seed: int, size: int, diversity: float
) -> None:
    scores, vectors, _ = candidates(seed, size)
    expected: list[int] = []
    for _ in range(size):
        near = [
            max((max(float(v @ vectors[c]), 0) for c in expected), default=0.0) for v in vectors
        ]
        value = (1 - diversity) * scores - diversity * np.array(near)
        value[expected] = -np.inf
        expected.append(int(value.argmax()))
    found = choose(scores, vectors, size, Variety(diversity))
    if diversity < 1:  # with no score at all many are equally far
        assert found.tolist() == expected
    assert sorted(found.tolist()) == list(range(size))


@settings(max_examples=60)
@given(seeds, st.integers(2, 12), st.sampled_from([0.05, 0.5, 0.95]), st.booleans())
def test_the_mix_is_the_greedy_choice_by_steck_s_objective(
    seed: int, size: int, strength: float, pinned: bool
) -> None:
    scores, vectors, _ = candidates(seed, size)
    group = np.random.default_rng(seed + 1).integers(0, 4, size).astype(np.int32)
    likes = np.random.default_rng(seed).dirichlet(np.full(4, 0.5))
    before = [2, 0] if pinned else []
    mix = Mix(strength, likes.astype(np.float32), group, np.array(before, np.int32))
    found = choose(scores, vectors, size, Variety(0.0, mix)).tolist()
    chosen: list[int] = []
    for place in found:
        slate = [*before, *group[chosen].tolist()]
        left = [i for i in range(size) if i not in chosen]
        value = {
            i: (1 - strength) * scores[i] - strength * divergence(likes, [*slate, int(group[i])])
            for i in left
        }
        assert value[place] == pytest.approx(max(value.values()), abs=1e-5)
        chosen.append(place)


def test_a_history_of_two_domains_makes_a_slate_of_two() -> None:
    scores = np.array([0.9, 0.89, 0.88, 0.87, 0.86, 0.5, 0.4], np.float32)
    group = np.array([0, 0, 0, 0, 0, 1, 1], np.int32)
    mix = Mix(0.5, np.array([0.75, 0.25], np.float32), group)
    found = choose(scores, np.zeros((7, 2), np.float32), 4, Variety(0.0, mix))
    assert np.bincount(group[found]).tolist() == [3, 1]


def test_groups_that_nobody_knows_change_nothing() -> None:
    scores, vectors, _ = candidates(3, 9)
    mix = Mix(0.5, np.array([0.5, 0.5], np.float32), np.full(9, -1, np.int32))
    found = choose(scores, vectors, 9, Variety(0.0, mix))
    assert found.tolist() == np.argsort(-scores).tolist()


@given(seeds, st.integers(1, 14), st.sampled_from([0.1, 0.34, 0.5, 1.0]), st.booleans())
def test_of_the_first_places_no_provider_has_more_than_its_share(
    seed: int, size: int, share: float, pinned: bool
) -> None:
    scores, vectors, provider = candidates(seed, size)
    before = [1, 1, -1] if pinned else []
    bound = Bound(share, provider, np.array(before, np.int32))
    found = choose(scores, vectors, size, Variety(0.0, None, bound)).tolist()
    assert sorted(found) == list(range(size))
    shown = list(before)
    for number, place in enumerate(found):
        most = ceil(share * (len(shown) + 1) - 1e-9)
        free = [
            i for i in range(size)
            if i not in found[:number] and (provider[i] < 0 or shown.count(provider[i]) < most)
        ]  # fmt: skip
        # Where none is free the bound gives way, and the best has the place.
        rest = free or [i for i in range(size) if i not in found[:number]]
        assert place == max(rest, key=lambda i: scores[i])
        shown.append(int(provider[place]))


def test_what_is_like_a_pinned_item_waits() -> None:
    vectors = np.eye(3, dtype=np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    found = choose(scores, vectors, 3, Variety(0.5), vectors[:1])
    assert found.tolist() == [1, 2, 0]


def test_no_candidates_get_no_places() -> None:
    nothing, none = np.zeros(0, np.float32), np.zeros(0, np.int32)
    assert choose(nothing, NO_VECTORS, 5, Variety(0.1)).tolist() == []
    both = Variety(0.1, Mix(0.5, nothing, none), Bound(0.5, none))
    bounded = choose(nothing, NO_VECTORS, 5, both)
    assert bounded.tolist() == []
