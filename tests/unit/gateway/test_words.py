"""Items are found by the words they hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.words import Words, terms


def index(*texts: str) -> Words:
    words = Words()
    for row, text in enumerate(texts):
        words.add(row, [text])
    return words


def found(words: Words, query: str) -> dict[int, float]:
    rows, coverage = words.find(query)
    return dict(zip(rows.tolist(), coverage.tolist(), strict=True))


def test_all_words_count_more_than_some_and_rare_ones_more_than_common_ones() -> None:
    words = index("greek yogurt", "yogurt", "yogurt drink", "greek olives")
    scores = found(words, "greek yogurt")
    assert scores[0] == 1.0
    assert scores[3] > scores[1] == scores[2] > 0


def test_case_accents_and_plurals_do_not_matter() -> None:
    assert terms("Crème BERRIES") == {"creme", "berry"}
    assert found(index("crème brûlée"), "CREME brulees") == {0: 1.0}


def test_letters_that_a_keyboard_lacks_are_found_as_they_are_typed() -> None:
    assert terms("Łosoś RØD đak Straße Ægir œuf Þór ılık ǿ") == {
        "loso", "rod", "dak", "strasse", "aegir", "oeuf", "thor", "ilik", "o",
    }  # fmt: skip
    assert found(index("wędzony łosoś"), "losos") == found(index("wędzony łosoś"), "łosoś")


def test_signs_behind_a_word_are_no_part_of_it() -> None:
    assert terms("Intel® Core™ i5 Care℠ 20℃") == {"intel", "core", "i5", "care", "20", "c"}
    assert found(index("Core™ i5"), "core") == {0: 1.0}


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("wifi", ["Wi-Fi router", "wifi repeater"]),
        ("wi-fi", ["Wi-Fi router", "wifi repeater", "Wi Fi antenna"]),
        ("wi fi", ["Wi-Fi router", "wifi repeater", "Wi Fi antenna"]),
        ("tshirts", ["T-Shirt blue", "tshirt red"]),
        ("T-Shirts", ["T-Shirt blue", "tshirt red"]),
        ("red t shirt", ["tshirt red"]),
        ("iphone15", ["iPhone 15 case"]),
        ("iphone 14", ["iPhone14 cover"]),
        ("usb-c 16gb", ["USB C stick 16 GB"]),
        ("35", ["35 mm film"]),
        ("3.5", ["3.5 inch disk"]),
        ("5g", []),
    ],
)
def test_a_word_is_found_as_one_and_as_two(query: str, titles: list[str]) -> None:
    shop = [
        "Wi-Fi router", "wifi repeater", "Wi Fi antenna", "T-Shirt blue", "tshirt red",
        "iPhone 15 case", "iPhone14 cover", "USB C stick 16 GB", "35 mm film", "3.5 inch disk",
        "flour 5 kg, 10 g salt",
    ]  # fmt: skip
    scores = found(index(*shop), query)
    assert [shop[row] for row, coverage in scores.items() if coverage == 1] == titles


@pytest.mark.parametrize(
    ("query", "held"),
    [
        ("oat drink vanilla", [0]),
        ("Vanilla OAT-drinks", [0]),
        ("oat drink", []),
        ("oat oat drink", []),
        ("oat drink for cats", []),
        ("drink of oat", [1]),
        ("", []),
    ],
)
def test_several_words_single_out_what_holds_all_of_them(query: str, held: list[int]) -> None:
    words = index("Oat drink, vanilla 1 l", "Drink of oat", "Vanilla drink", "Cat food")
    assert words.holding(query).tolist() == held


def test_what_no_item_holds_is_not_found() -> None:
    assert found(index("yogurt"), "soap") == {}
    assert found(index("yogurt"), "") == {}
    assert found(index(), "yogurt") == {}


def test_a_word_nobody_holds_lowers_the_coverage_of_the_rest() -> None:
    assert 0 < found(index("yogurt", "soap"), "elderflower yogurt")[0] < 1


def test_a_removed_item_is_found_no_more() -> None:
    words = index("yogurt", "soap")
    words.remove(0, ["yogurt"])
    assert found(words, "yogurt") == {}
    words.add(0, ["soap"])
    assert set(found(words, "soap")) == {0, 1}


@settings(max_examples=100, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["a b", "b-c", "bc", "c", ""])), max_size=30
    )
)
def test_any_order_of_changes_leaves_what_an_index_made_anew_would_find(
    changes: list[tuple[int, str]],
) -> None:
    words, held = Words(), dict[int, str]()
    for row, text in changes:
        if row in held:
            words.remove(row, [held.pop(row)])
        if text:
            held[row] = text
            words.add(row, [text])
    anew = Words()
    for row in sorted(held):
        anew.add(row, [held[row]])
    for query in ("a", "b c", "c", "bc", "a c"):
        assert [part.tolist() for part in words.find(query)] == [
            part.tolist() for part in anew.find(query)
        ]
