"""Finding items by the words in them, for the moments when no text model can.

New items are in no lexical index until the next training, and the text service
may be away: then an item counts by the part of the query's words it holds, rare
words counting more. Deliberately plain; the text model is the real search.
"""

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from artifacts.item_text import WORD, folded, spaced
from gateway.fusion.types import Floats, Rows

# Letters that are no others with an accent, yet are typed as these where a keyboard lacks them.
_TYPED = str.maketrans({
    "æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th",
    "ŧ": "t",
})  # fmt: skip
_MOST_TERMS = 24
_NOTHING = array("i")


def terms(text: str, *, searched: bool = False) -> set[str]:
    """Return the distinct words of a text, without case, accents and plural s.

    With `searched`, an item's: of words without spaces it holds every letter too.
    """
    plain = folded(text)
    if not plain.isascii():
        plain = spaced(plain, single=searched).translate(_TYPED)
    return set(map(_stem, WORD.findall(plain)))


# A catalogue has few words, each many times: most of the time of a start went here.
@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


class Words:
    """An inverted index from words to catalogue rows."""

    def __init__(self) -> None:
        # Ascending: a word that every item holds must not be read through for one of them.
        self._rows: dict[str, array[int]] = {}
        self._count = 0

    def add(self, row: int, texts: Iterable[str]) -> None:
        """Index an item that is not in the index."""
        self._count += 1
        for term in terms(" ".join(texts), searched=True):
            rows = self._rows.get(term)
            if rows is None:
                self._rows[term] = array("i", [row])
            elif rows[-1] < row:  # as most are
                rows.append(row)
            else:
                insort(rows, row)

    def remove(self, row: int, texts: Iterable[str]) -> None:
        """Forget an item that was added with these texts."""
        self._count -= 1
        for term in terms(" ".join(texts), searched=True):
            rows = self._rows.get(term, _NOTHING)
            at = bisect_left(rows, row)
            if at < len(rows) and rows[at] == row:
                del rows[at]
                if not rows:
                    del self._rows[term]

    def find(self, query: str) -> tuple[Rows, Floats]:
        """Return the rows that hold a word of the query, ascending, and their coverage.

        Coverage is the part of the query's words an item holds, each weighted by
        its rarity: 1 means all of them.
        """
        asked = sorted(terms(query))[:_MOST_TERMS]
        postings = [np.frombuffer(self._rows[t], np.int32) for t in asked if t in self._rows]
        if not postings:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        rarity = [math.log1p(self._count / (1 + len(self._rows.get(t, ())))) for t in asked]
        found = [r for t, r in zip(asked, rarity, strict=True) if t in self._rows]
        held = np.zeros(max(int(rows[-1]) for rows in postings) + 1)
        for rows, rare in zip(postings, found, strict=True):
            held[rows] += rare  # a row is in each of them once
        there = np.flatnonzero(held)
        coverage = held[there] / max(sum(rarity), 1e-9)
        return there.astype(np.int32), coverage.astype(np.float32)
