"""The text by which an item is embedded: one definition for training and for new items.

Apart from the encoder, because the gateway words new items without running a
model: it holds neither tokenizers nor ONNX Runtime.
"""

import re
import unicodedata
from itertools import pairwise

# Vowels of Indian scripts are marks beside a letter: they part no word.
WORD = re.compile("[^\\W_]+(?:[\u0900-\u0963\u0971-\u0df3]+[^\\W_]*)*")
# "Wi-Fi", "DV7-1211". Possessive, and only where a word begins: else twice the time of all words.
_MARKED = re.compile(r"(?<![^\W_])[^\W_]++(?:[-./'’&+_][^\W_]++)+")
# Taken apart they would be letters of the word before them: "Wi-Fi™" is not "wifitm".
_NO_LETTERS = str.maketrans("™℠", "  ")
# What cannot be seen, or lengthens a word on paper, is none either and parts no word: soft
# hyphens, joiners, marks of direction, variants of a letter, the Arabic tatweel.
_UNSEEN = "\u00ad\u061c\u0640\u200c-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff"
_NOTHING = re.compile(f"[{_UNSEEN}\U000e0100-\U000e01ef]+")
# Of kana these make other letters: "ガラス" is glass, "カラス" a crow.
_VOICED = "\u3099\u309a"
_HANGUL = "\uac00-\ud7a3"
# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana and Han; and Hangul,
# which writes compounds as one.
_UNSPACED = re.compile(
    "[\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u104f\u1780-\u17d3\u3005\u3041-\u30ff\u31f0-\u31ff"
    f"\u3400-\u4dbf\u4e00-\u9fff{_HANGUL}\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f]+"
)
_SINGLE = re.compile(f"[^{_HANGUL}]")
_KATAKANA = re.compile("[\u30a1-\u30f6\u30fc-\u30fe]+")
_HIRAGANA = {letter: letter - 0x60 for letter in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
# A description's opening is cut here even where it has no end.
_OPENING = 160
# Where a sentence ends: a full stop before a blank, or one that needs none: Chinese and Japanese,
# Hindi, Urdu. A call or a question does not end it: "Protect It! Surge Suppressor" says what the
# thing is behind it.
_END = re.compile(r"\.\s|[。｡।۔]\s*")


def item_text(title: str, brand: str, category: str, domain: str, text: str) -> str:
    """Return the one text by which an item is embedded, in training and when it is new.

    What the thing is and no more: title, category, brand and the description's
    opening; a part whose words have all been said is left out. Specifications and
    the department blur the vector (judged searches: nDCG .935 without, .917 with), so
    the domain counts only where neither category nor description says anything.
    """
    opening, _ = split_description(text)
    if not category and not opening:
        category = domain
    said: set[str] = set()
    parts = []
    for part in (title, category, brand, opening):
        words = set(WORD.findall(part.casefold()))
        if words - said:
            parts.append(part.strip())
            said |= words
    return ", ".join(parts)


def split_description(text: str) -> tuple[str, str]:
    """Return a description's opening (its first sentence, at most 160 characters) and the rest."""
    first, *others = _END.split(text, maxsplit=1)
    rest = "".join(others)
    return first[:_OPENING], f"{first[_OPENING:]} {rest}".strip()


def folded(text: str) -> str:
    """Return a text without case, accents and what cannot be seen: "Café™" as "cafe ".

    However it is typed: letters with their accents in one or in two, wide, narrow or joined.
    """
    if text.isascii():
        return text.casefold()
    # Case last: taking signs apart can bring capitals, "℃" is "°C".
    seen = _NOTHING.sub("", text).translate(_NO_LETTERS)
    parts = unicodedata.normalize("NFKD", seen).casefold()
    kept = (c for c in parts if not unicodedata.combining(c) or c in _VOICED)
    return unicodedata.normalize("NFC", "".join(kept))


def joined(plain: str) -> list[str]:
    """Return a folded text's words with inner marks, without these: "wi-fi" as "wifi"."""
    return ["".join(WORD.findall(marked)) for marked in _MARKED.findall(plain)]


def spaced(text: str, *, single: bool = False, kana: bool = True) -> str:
    """Return a text whose words can be told apart by what is no letter, whatever its script.

    Where a script has no spaces, all that stands together is followed by every two neighbouring
    letters of it, and with `single`, for what is searched, by every letter: no dictionary says
    where its words end, but those that a query and an item share have these in common. With
    `kana`, katakana is written in hiragana: "リンゴ" as "りんご".
    """
    if text.isascii():
        return text
    return _UNSPACED.sub(lambda run: _pieces(run[0], single=single, kana=kana), text)


def _pieces(run: str, *, single: bool, kana: bool) -> str:
    # Signs above and below letters are none, and searches cut words there.
    letters = [c for c in unicodedata.normalize("NFKC", run) if c.isalnum()]
    pieces = ["".join(two) for two in pairwise(letters)]
    if single or len(letters) == 1:
        # One of Hangul says nothing: a word of one stands alone.
        pieces += filter(_SINGLE.match, letters)
    if kana and _KATAKANA.search(run):
        run = run.translate(_HIRAGANA)
        # A word ends where kana change: 少ないフライ, fried with little, is no ナイフ, a knife.
        pieces = [p.translate(_HIRAGANA) if _KATAKANA.fullmatch(p) else p for p in pieces]
    return f" {run} {' '.join(pieces)} "
