"""A catalogue that takes another fusion artifact is as though it had begun with it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.fusion import FusionArtifact
from gateway.catalogue import Catalogue
from gateway.fusion.types import Floats, Ints
from gateway.learned import learn
from gateway.new_items import NewItems
from gateway.trends import Trends
from gateway.types import EventType, Item
from tests.unit.gateway.test_catalogue import FUSION, item

DAY = 86_400_000
keys = st.lists(st.integers(1, 12), unique=True, max_size=8)


def fusion(known: list[int], width: int = 3, seed: int = 0) -> FusionArtifact:
    drawn = np.random.default_rng(seed)
    return FusionArtifact(
        item_keys=np.array(known, np.int64),
        vectors=drawn.random((len(known), width), np.float32),
        popularity=drawn.random(len(known), np.float32),
        domain_names=("B", "D"),
        domain_transition=drawn.random((2, 2), np.float32),
        domain_prior=np.array([0.3, 0.7], np.float32),
        weights={},
        quantiles={},
        tuned_on={"content": 4},
    )


def made_of(artifact: FusionArtifact, items: list[int]) -> Catalogue:
    return Catalogue(artifact, [item(str(n), domain="ABCD"[n % 4]) for n in items])


@given(before=keys, known=keys, meanwhile=keys, grown=st.booleans())
def test_every_column_is_that_of_a_fresh_start(
    before: list[int], known: list[int], meanwhile: list[int], grown: bool
) -> None:
    new = fusion(known)
    changed, fresh = made_of(FUSION, before), made_of(new, before)
    capacity = len(before) if grown else changed.capacity
    learned = learn(new, changed.columns.keys, capacity)
    old = changed.columns.popularity.copy()
    snapshot = changed.columns
    late = [item(str(n), domain="ABCD"[n % 4]) for n in meanwhile if n not in before]
    changed.upsert(late)
    changed.learn(learned)
    fresh.upsert(late)
    np.testing.assert_array_equal(changed.columns.keys, fresh.columns.keys)
    np.testing.assert_array_equal(changed.columns.popularity, fresh.columns.popularity)
    np.testing.assert_array_equal(changed.columns.vectors, fresh.columns.vectors)
    np.testing.assert_array_equal(snapshot.popularity, old)
    assert relations(changed) == relations(fresh)
    assert changed.are_new(np.arange(1, 13)).tolist() == fresh.are_new(np.arange(1, 13)).tolist()


def relations(catalogue: Catalogue) -> dict[tuple[str, str], float]:
    """The log-odds by name; those that say nothing are left out."""
    names, table = catalogue.columns.domain_names, catalogue.transition
    pairs = ((a, b) for a in range(len(names)) for b in range(len(names)) if table[a, b])
    return {(names[a], names[b]): float(table[a, b]) for a, b in pairs}


def test_items_that_were_trained_on_meanwhile_are_new_no_more_and_others_are_placed_again() -> None:
    told: list[tuple[str, list[int]]] = []

    def placed(source: str, version: str, keys: Ints, vectors: Floats) -> None:
        told.append((version, keys.tolist()))

    new_items = NewItems(("content",), 10, placed)
    items = [Item("a", 7, "a"), Item("b", 8, "b"), Item("c", 9, "c")]
    for one in items:
        new_items.put(one)
    new_items.put_vectors("content", "4", items, np.eye(3, dtype=np.float32))
    told.clear()
    new_items.keep(lambda keys: keys != 8)
    assert told == [("4", [7, 9])]
    assert [i.key for i in new_items.missing("content", "5")] == [9, 7]


def test_items_that_are_new_again_are_older_than_those_that_are_new_still() -> None:
    new_items = NewItems(("content",), 3)
    for key in (8, 9):
        new_items.put(Item(str(key), key, "a"))
    new_items.put_back([Item(str(key), key, "a") for key in (5, 6, 9)])
    assert [i.key for i in new_items.missing("content", "")] == [9, 8, 6]


def test_another_half_life_counts_from_now_on() -> None:
    def bought(half_life: float) -> Trends:
        made = Trends(half_life, 8, 0)
        for row, day, times in ((0, 0, 40), (1, 2, 9)):
            for _ in range(times):
                made.add("m", row, EventType.PURCHASE, 1.0, day * DAY)
        return made

    changed, kept = bought(1.0), bought(1.0)
    changed.set_half_life(4.0, 2 * DAY)
    now = kept.now("m", 2, 2 * DAY)[:]
    np.testing.assert_allclose(changed.now("m", 2, 2 * DAY)[:], now, rtol=1e-5)
    for made in (changed, kept):
        made.add("m", 1, EventType.PURCHASE, 1.0, 6 * DAY)
    slow, fast = (made.now("m", 2, 6 * DAY)[:] for made in (changed, kept))
    # What was counted has halved once instead of four times.
    assert slow[0] / slow[1] > fast[0] / fast[1]
    snapshot = changed.snapshots(np.array([1, 2], np.int64), 6 * DAY)["m"]
    assert snapshot.weights[0] == pytest.approx(5.0)


def test_the_same_half_life_changes_nothing() -> None:
    made = Trends(1.0, 8, 0)
    made.add("m", 0, EventType.PURCHASE, 1.0, DAY)
    before = made.now("m", 1, DAY)[0]
    made.set_half_life(1.0, DAY)
    assert made.now("m", 1, DAY)[0] == before


def test_vectors_of_new_items_belong_to_the_version_the_new_artifact_names() -> None:
    made = made_of(FUSION, [1, 2, 9])
    nine = np.array([9], np.int64)
    made.learn(learn(replace(fusion([1, 2]), tuned_on={"content": 4}), made.columns.keys, 8))
    made.place("content", "3", nine, np.ones((1, 3), np.float32))
    assert not made.columns.vectors[2].any()
    made.place("content", "4", nine, np.ones((1, 3), np.float32))
    assert made.columns.vectors[2].any()
