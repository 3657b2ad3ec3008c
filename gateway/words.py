"""Finding items by the words in them, for the moments when no text model can.

New items are in no lexical index until the next training, and the text service
may be away: then an item counts by the part of the query's words it holds, rare
words counting more. Deliberately plain; the text model is the real search.
"""

import math
import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from artifacts.item_text import WORD, folded, joined, spaced
from gateway.fusion.types import Floats, Rows

# Letters that are no others with an accent, yet are typed as these where a keyboard lacks them.
_TYPED = str.maketrans({
    "æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th",
    "ŧ": "t",
})  # fmt: skip
# "iphone15", "16gb". A letter beside a number ("5g", "s23") says too little alone.
_NUMBERED = re.compile(r"([^\W\d_]{2,})(\d+)|(\d+)([^\W\d_]{2,})")
_MOST_TERMS = 24
# Words that single out what is meant, where an item holds all of them.
_SEVERAL = 3
_NOTHING = array("i")


def terms(text: str, *, searched: bool = False) -> set[str]:
    """Return the distinct words of a text, without case, accents and plural s.

    With `searched`, an item's: of words without spaces it holds every letter too, and those with
    inner marks as one word too ("Wi-Fi" as wifi).
    """
    plain = _plain(text)
    found = set(map(_stem, WORD.findall(spaced(plain, single=searched))))
    if searched:
        found.update(_stem(word) for word in joined(plain) if not word.isdigit())  # 3.5 is not 35
    return found


def _plain(text: str) -> str:
    plain = folded(text)
    return plain if plain.isascii() else plain.translate(_TYPED)


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
        asked = self._asked(query)
        if not any(map(len, asked)):
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        rarity = [math.log1p(self._count / (1 + len(rows))) for rows in asked]
        held = np.zeros(max(int(rows[-1]) for rows in asked if len(rows)) + 1)
        for rows, rare in zip(asked, rarity, strict=True):
            held[rows] += rare  # a row is in each of them once
        there = np.flatnonzero(held)
        coverage = held[there] / max(sum(rarity), 1e-9)
        return there.astype(np.int32), coverage.astype(np.float32)

    def holding(self, query: str) -> Rows:
        """Return the rows that hold every word of a query, ascending; of a short one none.

        Many things hold a word or two, and what is meant need not: "soda" finds soft drinks.
        """
        if len(set(WORD.findall(_plain(query)))) < _SEVERAL:
            return self._held("")
        found = sorted(self._asked(query), key=len)
        rows = found[0]
        for others in found[1:]:
            rows = np.intersect1d(rows, others, assume_unique=True)
        return rows

    def _asked(self, query: str) -> list[Rows]:
        """Return the rows that hold each word of a query, ascending, as one word or as two."""
        asked = sorted(terms(query))[:_MOST_TERMS]
        found = {t: self._held(t) if t in self._rows else self._parts(t) for t in asked}
        for one, other in pairwise(WORD.findall(_plain(query))[:_MOST_TERMS]):
            whole = self._rows.get(_stem(one + other))
            if whole is not None and not (one + other).isdigit():
                for part in {_stem(one), _stem(other)} & found.keys():
                    found[part] = _united(found[part], np.asarray(whole, np.int32))
        return list(found.values())

    def _held(self, term: str) -> Rows:
        return np.asarray(self._rows.get(term, _NOTHING), np.int32)

    def _parts(self, term: str) -> Rows:
        """Return the rows that hold both the word and the number of a term that none holds."""
        parts = _NUMBERED.fullmatch(term)
        if not parts:
            return self._held("")
        word, number = (self._held(_stem(part)) for part in parts.groups() if part)
        return np.intersect1d(word, number, assume_unique=True)


def _united(rows: Rows, others: Rows) -> Rows:
    """Return the rows [N] and others [M], ascending as both are, each once."""
    if len(rows):
        at = np.minimum(np.searchsorted(rows, others), len(rows) - 1)
        # Mostly none are left: whatever says "wi-fi" holds both parts of it as well.
        others = others[rows[at] != others]
    return np.sort(np.concatenate([rows, others])) if len(others) else rows
