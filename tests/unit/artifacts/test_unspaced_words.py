"""Words are found in scripts that put no space between them."""

import pytest

from artifacts.engines.lexical import LexicalIndex, build_lexical
from gateway.words import Words


@pytest.mark.parametrize(
    ("titles", "query"),
    [
        (["真皮红色运动鞋", "特价蓝色冰箱", "儿童红色茶壶"], "运动鞋"),
        (["特価赤いスニーカー", "赤い冷蔵庫", "革製ベルト"], "ｽﾆｰｶｰ"),
        (["รองเท้าหนังสีดำ", "ตู้เย็นสีดำ", "ลูกบอลสีดำ"], "รองเท้า"),
        (["新款iPhone手机壳", "新款手表", "iPad"], "iphone 手机"),
        (["铁锅", "手机", "茶壶"], "锅"),
    ],
)
def test_words_are_found_where_a_script_has_no_spaces(tmp_path, titles, query):
    documents = [{"title": title} for title in titles]
    build_lexical(tmp_path / "lexical", documents)
    index = LexicalIndex(tmp_path / "lexical")
    asked = index.parse(query)
    assert asked is not None
    assert index.search(asked, 3)[0][0] == 1
    words = Words()
    for row, title in enumerate(titles):
        words.add(row, [title])
    rows, coverage = words.find(query)
    assert rows[coverage.argmax()] == 0


def test_an_index_without_pieces_is_asked_for_whole_words(tmp_path):
    build_lexical(tmp_path / "lexical", [{"title": "红色运动鞋"}])
    before = LexicalIndex(tmp_path / "lexical", pieces=False)
    assert [word.text for word in before.words("运动鞋")] == ["运动鞋"]
    now = LexicalIndex(tmp_path / "lexical")
    assert [word.text for word in now.words("运动鞋")] == ["运动鞋", "运动", "动鞋"]


@pytest.mark.parametrize(
    ("query", "row"),
    [("りんご", 0), ("リンゴ", 0), ("ﾘﾝｺﾞ", 0), ("イチゴ", 1), ("いちご", 1), ("めがねケース", 2),
     ("ナイフ", 3), ("ないふ", 3)],
)  # fmt: skip
def test_hiragana_and_katakana_find_each_other(tmp_path, query, row):
    titles = ["青森リンゴ 5kg", "いちごジャム", "メガネケース", "果物ナイフ", "少ないフライヤー"]
    build_lexical(tmp_path / "lexical", [{"title": title} for title in titles])
    index = LexicalIndex(tmp_path / "lexical")
    asked = index.parse(query)
    assert asked is not None
    assert index.search(asked, 5)[0][0] == row + 1
    words = Words()
    for number, title in enumerate(titles):
        words.add(number, [title])
    rows, coverage = words.find(query)
    assert rows[coverage == coverage.max()].tolist() == [row]


def test_an_index_from_before_is_asked_in_the_kana_that_were_typed(tmp_path):
    build_lexical(tmp_path / "lexical", [{"title": "りんご"}])
    before = LexicalIndex(tmp_path / "lexical", kana=False)
    assert [word.text for word in before.words("リンゴ")] == ["リンゴ", "リン", "ンゴ"]
    now = LexicalIndex(tmp_path / "lexical")
    assert [word.text for word in now.words("リンゴ")] == ["りんご", "りん", "んご"]
