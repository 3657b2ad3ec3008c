"""Words are found however a keyboard writes them: accents, case and marks that nobody sees."""

import unicodedata

import pytest

from artifacts.engines.lexical import LexicalIndex, build_lexical
from gateway.words import Words

_TITLES = (
    "Зелёное платье", "Водогрязеотталкивающая пропитка", "İPEK GÖMLEK", "IŞIKLI AYAKKABI",
    "ΕΛΛΗΝΙΚΟΣ ΚΑΦΕΣ", "Άσπρος πίνακας", "STRASSENSCHUH", "Łosoś wędzony", "Cà phê sữa",
    "أرز بسمتي", "קפה שחור", "ガラスのコップ", "カラス除けネット", "김치찌개 밀키트",
    "हिंदी किताब", "कुर्ता", "Sugar-free headphones", "Milchkaffee", "तकबा",
)  # fmt: skip
_SEARCHES = (
    ("зеленое", 0), ("ЗЕЛЕНОЕ", 0), ("водогрязеотталкивающая", 1), ("ipek", 2), ("İpek", 2),
    ("ışıklı", 3), ("ελληνικός", 4), ("καφές", 4), ("ΑΣΠΡΟΣ", 5), ("straßenschuh", 6),
    ("STRAẞENSCHUH", 6), ("losos", 7), ("WĘDZONY", 7), ("SỮA", 8), ("ارز", 9), ("قَهْوَة أَرْز", 9),
    ("أرـز", 9), ("קָפֶה", 10), ("ガラス", 11), ("ｶﾞﾗｽ", 11), ("カラス", 12), ("김치", 13),
    ("किताब", 14), ("कुर्ता", 15), ("head\u00adphones", 16), ("\u200fheadphones\u200e", 16),
    ("ｍｉｌｃｈｋａｆｆｅｅ", 17),
)  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    place = tmp_path_factory.mktemp("typed") / "lexical"
    build_lexical(place, [{"title": title} for title in _TITLES])
    return LexicalIndex(place)


@pytest.fixture(scope="module")
def words() -> Words:
    made = Words()
    for row, title in enumerate(_TITLES):
        made.add(row, [title])
    return made


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("query", "row"), _SEARCHES)
def test_a_word_is_found_however_it_is_typed(index, words, query, row, form):
    typed = unicodedata.normalize(form, query)
    asked = index.parse(typed)
    assert asked is not None
    rows, scores = index.search(asked, 3)
    assert list(rows[scores == scores[0]]) == [row + 1]
    rows, coverage = words.find(typed)
    assert list(rows[coverage == coverage.max()]) == [row]


def test_titles_whose_accents_stand_apart_are_found(tmp_path):
    titles = ["Müller Käse", "Mull Er", "김치찌개", "ガラス"]
    decomposed = [{"title": unicodedata.normalize("NFD", title)} for title in titles]
    build_lexical(tmp_path / "lexical", decomposed)
    index = LexicalIndex(tmp_path / "lexical")
    for row, query in [(1, "müller"), (3, "김치"), (4, "ガラス")]:
        asked = index.parse(query)
        assert asked is not None
        assert list(index.search(asked, 4)[0]) == [row]


def test_one_letter_of_a_korean_word_is_no_word(index, words):
    asked = index.parse("치")
    assert asked is None or not len(index.search(asked, 3)[0])
    assert not len(words.find("치")[0])


def test_an_index_from_before_is_asked_with_accents(tmp_path):
    build_lexical(tmp_path / "lexical", [{"title": "ёлка"}])
    before = LexicalIndex(tmp_path / "lexical", folded=False)
    assert [word.text for word in before.words("Ёлка")] == ["ёлка"]
    now = LexicalIndex(tmp_path / "lexical")
    assert [word.text for word in now.words("Ёлка")] == ["елка"]
