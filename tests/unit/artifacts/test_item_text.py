"""What of an item is read by the encoder, and what is left to the words."""

import pytest

from artifacts.item_text import split_description


@pytest.mark.parametrize(
    ("text", "opening", "rest"),
    [
        ("A drink from oats. 3% fat. Vegan", "A drink from oats", "3% fat. Vegan"),
        ("A drink from oats.\n3% fat.", "A drink from oats", "3% fat."),
        ("Made in the U.S.A by v1.5", "Made in the U.S.A by v1.5", ""),
        ("Protect It! Surge Suppressor. White", "Protect It! Surge Suppressor", "White"),
        ("这顶帽子可以防晒。请用冷水手洗。", "这顶帽子可以防晒", "请用冷水手洗。"),
        ("軽い靴です｡ 合成皮革製", "軽い靴です", "合成皮革製"),
        ("यह हल्का है। धो सकते हैं।", "यह हल्का है", "धो सकते हैं।"),
        ("یہ ہلکا ہے۔ دھو سکتے ہیں", "یہ ہلکا ہے", "دھو سکتے ہیں"),
        ("x" * 170 + ". End", "x" * 160, "x" * 10 + " End"),
    ],
)
def test_a_description_opens_with_its_first_sentence_in_any_script(text, opening, rest):
    assert split_description(text) == (opening, rest)
