"""New items take their place in a source's answer as though it knew them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.new_items import NewItems, _Vectors
from gateway.types import Item, Outcome, Question, SourceAnswer

NONE = np.zeros(0, np.float32)


def question(text: str = "", k: int = 3, candidates: list[int] | None = None) -> Question:
    asked = None if candidates is None else np.array(candidates, np.int64)
    return Question(np.zeros(0, np.int64), NONE, text=text, k=k, candidates=asked, embedding=True)


def answer(
    keys: list[int], scores: list[float], vector: tuple[float, ...] = (1, 0), version: str = "1"
) -> SourceAnswer:
    return SourceAnswer(
        "text", Outcome.OK, np.array(keys, np.int64), np.array(scores, np.float32), version,
        np.array(vector, np.float32),
    )  # fmt: skip


def placed(*items: tuple[Item, tuple[float, float]], limit: int = 10) -> NewItems:
    made = NewItems(("text",), limit)
    for item, vector in items:
        made.put(item)
        made.put_vectors("text", "1", [item], np.array([vector], np.float32))
    return made


GOOD = (Item("good", 100, "yogurt"), (0.8, 0.6))
BAD = (Item("bad", 101, "soap"), (0.1, 0.9))


def test_the_best_k_of_both_are_the_answer_and_new_items_behind_them() -> None:
    found = placed(GOOD, BAD).extend(answer([1, 2, 3], [0.9, 0.5, 0.3]), question())
    assert found.keys.tolist() == [1, 100, 2, 101]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.5, 0.1])


def test_a_flood_of_new_items_does_not_drown_the_others() -> None:
    many = [(Item(f"n{n}", 200 + n), (0.1, 0.1)) for n in range(100)]
    found = placed(*many, limit=200).extend(answer([1, 2, 3], [0.9, 0.5, 0.3]), question())
    assert found.keys.tolist()[:3] == [1, 2, 3]
    assert len(found.keys) < 20


def test_what_a_request_leaves_out_takes_no_place_of_what_it_lets_through() -> None:
    many = [(Item(f"n{n}", 200 + n), (0.9, 0.1)) for n in range(100)]
    found = placed(*many, GOOD, limit=200).extend(
        answer([1, 2], [0.9, 0.5]), question(), lambda keys: keys >= 200
    )
    assert found.keys.tolist() == [1, 100, 2]


def test_candidates_without_an_opinion_get_one() -> None:
    given = answer([1, 100, 7], [0.4, float("nan"), float("nan")])
    found = placed(GOOD, BAD).extend(given, question(candidates=[1, 100, 7]))
    np.testing.assert_allclose(found.scores, [0.4, 0.8, np.nan], rtol=1e-6)


def test_words_of_a_query_lift_the_item_that_holds_them() -> None:
    same = (Item("other", 102, "olives"), (0.8, 0.6))
    found = placed(GOOD, same).extend(answer([1], [0.2]), question("yogurt"))
    assert found.keys.tolist() == [100, 102, 1]
    assert found.scores[0] > found.scores[1]


def test_a_score_that_is_no_number_takes_no_new_item_s_away() -> None:
    given = answer([1, 2, 3], [0.2, float("inf"), float("nan")])
    found = placed(GOOD, BAD).extend(given, question("yogurt"))
    new = dict(zip(found.keys.tolist(), found.scores.tolist(), strict=True))
    plain = placed(GOOD, BAD).extend(answer([1], [0.2]), question("yogurt"))
    for key, score in zip(plain.keys.tolist(), plain.scores.tolist(), strict=True):
        assert new[key] == pytest.approx(score)


@pytest.mark.parametrize(
    "given",
    [
        answer([1], [0.2], version="2"),
        answer([1], [0.2], vector=(0, 0)),
        answer([1], [0.2], vector=(1, 0, 0)),
    ],
    ids=["other version", "no opinion", "other width"],
)
def test_vectors_that_cannot_be_compared_are_not(given: SourceAnswer) -> None:
    assert placed(GOOD).extend(given, question()) is given


def test_a_zero_vector_says_nothing() -> None:
    given = answer([1], [-0.5])
    assert placed((Item("blank", 103), (0.0, 0.0))).extend(given, question()) is given


def test_what_was_removed_is_gone_and_its_place_is_used_again() -> None:
    made = placed(GOOD, BAD)
    made.remove(100)
    made.remove(100)
    found = made.extend(answer([1], [0.2]), question())
    assert found.keys.tolist() == [1, 101]
    again = Item("again", 104, "again")
    made.put(again)
    assert [i.key for i in made.missing("text", "1")] == [104]
    assert made.extend(answer([1], [0.2]), question()).keys.tolist() == [1, 101]


def test_vectors_made_of_other_text_do_not_count() -> None:
    made = placed(GOOD)
    reworded = Item("good", 100, "quark")
    assert made.must_place(reworded)
    made.put(reworded)
    made.put_vectors("text", "1", [GOOD[0]], np.array([[1, 0]], np.float32))
    assert [i.key for i in made.missing("text", "1")] == [100]
    restocked = Item("good", 100, "quark", available=False)
    assert not made.must_place(restocked)
    assert made.must_place(Item("good", 100, "quark", provider="another dairy"))


def test_another_version_misses_everything_and_any_version_nothing() -> None:
    made = placed(GOOD)
    assert made.missing("text", "1") == made.missing("text", "") == []
    assert len(made.missing("text", "2")) == 1


def test_beyond_the_limit_the_oldest_wait_for_training() -> None:
    made = placed(GOOD, BAD, (Item("third", 105), (0.3, 0.3)), limit=2)
    assert len(made) == 2
    assert made.embedded([100, 101, 105]) == 2
    found = made.extend(answer([], []), question())
    assert found.keys.tolist() == [105, 101]


LIMIT = 3
changes = st.tuples(
    st.sampled_from(("put", "remove", "a", "b")), st.integers(1, 5), st.sampled_from(("x", "y"))
)


@settings(max_examples=150, derandomize=True)
@given(st.lists(changes, max_size=40))
def test_who_is_placed_is_known_after_any_sequence_of_changes(
    steps: list[tuple[str, int, str]],
) -> None:
    made, items, have = (
        NewItems(("a", "b"), LIMIT),
        dict[int, Item](),
        dict[int, set[tuple[str, str]]](),
    )
    for what, key, word in steps:
        if what == "put":
            item = Item(str(key), key, word)
            if items.get(key) != item:
                items.pop(key, None)
                items[key], have[key] = item, set()
            while len(items) > LIMIT:
                del items[next(iter(items))]
            made.put(item)
        elif what == "remove":
            items.pop(key, None)
            made.remove(key)
        elif key in items:
            # Versions of two widths: the others' vectors of this source are lost.
            width = 2 if word == "x" else 3
            (current,) = (i for i in made._items.values() if i.key == key)
            made.put_vectors(what, word, [current], np.ones((1, width), np.float32))
            for other in items:
                if other != key and (what, word) not in have[other]:
                    have[other] -= {(what, "x"), (what, "y")}
            have[key] = have[key] - {(what, "x"), (what, "y")} | {(what, word)}
        assert made.placed() == sum(bool(have[k]) for k in items)
        assert made.embedded(range(9)) == made.placed()
        for source in ("a", "b"):
            without = {k for k in items if source not in {s for s, _ in have[k]}}
            assert {i.key for i in made.missing(source, "")} == without
            assert made.lacks(source, range(9)) == bool(without)


def test_slots_are_found_once_though_answers_of_two_versions_come_in_turn() -> None:
    vectors, keys = _Vectors(), np.array([9, 8, 7], np.int64)
    for slot, version in enumerate(("1", "2", "1")):
        vectors.put(slot, version, np.ones(2, np.float32))
    first = vectors.usable("1", keys)
    assert (first.tolist(), vectors.usable("2", keys).tolist()) == ([2, 0], [1])
    assert not len(vectors.usable("3", keys))
    assert vectors.usable("1", keys) is first
    vectors.drop(2)
    assert vectors.usable("1", keys).tolist() == [0]
