"""What the encoder can be fine-tuned on: a shopper's words, an item, and one that only looks right.

The one idea: a catalogue pairs texts with items by itself (a kind, a brand's kind, words
or the description of an item), and behaviour adds real searches and what was bought
before the item. The hard negative is what the lexical index offers for the same
words and is known to be something else: the notebook case for "notebook".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.engines.lexical import LexicalIndex
from artifacts.item_text import split_description

_WORD = re.compile(r"[^\W_]+")
# So many lexical hits are looked at for a hard negative.
_LOOKED_AT = 1_000
_FEW = 8
# Behaviour fills up to this part of the pairs.
_BEHAVIOUR = 0.5
_BEFORE = 3
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pair:
    """A text, the row (from 0) of the item it should find, and one it should not."""

    text: str
    item: int
    wrong: int
    # True: any item of the same category is as good.
    kind: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the items, row by row."""

    texts: list[str]  # as embedded
    words: list[frozenset[str]]
    category: npt.NDArray[np.object_]

    def may_be_wrong(self, text: str, item: int, other: int, *, kind: bool) -> bool:
        """Say whether `other` is surely a worse answer than `item`."""
        if self.texts[item] == self.texts[other]:
            return False
        if kind:
            return bool(self.category[other]) and self.category[other] != self.category[item]
        return not set(_WORD.findall(text.casefold())) <= self.words[other]


def known_of(items: pl.DataFrame, texts: Sequence[str]) -> Known:
    """Return what is known of items whose embedded texts are `texts`."""
    words = [frozenset(_WORD.findall(text.casefold())) for text in texts]
    return Known(list(texts), words, items["category"].fill_null("").to_numpy())


def make_pairs(
    items: pl.DataFrame,
    events: pl.DataFrame,
    given: tuple[Known, LexicalIndex],
    *,
    count: int,
    seed: int,
) -> list[Pair]:
    """Return up to `count` pairs, drawn at random (seeded), from behaviour and the catalogue."""
    random = np.random.default_rng(seed)
    drafts = _behaviour(items, events, int(_BEHAVIOUR * count), seed)
    drafts += _catalogue(items, count - len(drafts), random)
    pairs = []
    for number in random.permutation(len(drafts)).tolist():
        text, item, kind = drafts[number]
        wrong = _wrong(text, item, kind, given, random)
        if wrong is not None:
            pairs.append(Pair(text, item, wrong, kind))
    return pairs


_Draft = tuple[str, int, bool]


def _catalogue(items: pl.DataFrame, count: int, random: np.random.Generator) -> list[_Draft]:
    columns = ("title", "brand", "category", "text")
    rows = items.select(pl.col(columns).fill_null("")).rows()
    drafts: list[_Draft] = []
    for item in random.integers(0, len(rows), count).tolist():
        title, brand, category, text = rows[item]
        opening, _ = split_description(text)
        words = _WORD.findall(title)
        size = min(len(words), int(random.integers(1, 4)))
        start = int(random.integers(0, len(words) - size + 1))
        choices = [
            (category, True), (f"{brand} {category}" if brand and category else "", True),
            (" ".join(words[start : start + size]), False),
            (opening if "=" not in opening and ":" not in opening else "", False),
        ]  # fmt: skip
        asked = [(said, kind) for said, kind in choices if said.strip()]
        if asked:
            said, kind = asked[int(random.integers(0, len(asked)))]
            drafts.append((said.casefold(), item, kind))
    return drafts


def _behaviour(items: pl.DataFrame, events: pl.DataFrame, count: int, seed: int) -> list[_Draft]:
    """Return real searches, and what a shopper had before an item, newest last."""
    if not events.height or not count:
        return []
    rows = items.select("item_key", "title").with_row_index("row")
    wanted = events.filter(pl.col("type") != "dislike").sort("user_id", "time", "order")
    held = wanted.join(rows, on="item_key", how="inner", maintain_order="left")
    before = [pl.col("title").shift(n).over("user_id") for n in range(_BEFORE, 0, -1)]
    said = pl.concat_str(before, separator=", ", ignore_nulls=True)
    asked = pl.col("query").fill_null("")
    held = held.with_columns(said=pl.when(asked != "").then(asked).otherwise(said))
    held = held.filter(pl.col("said") != "").select("said", "row")
    drawn = held.sample(min(count, held.height), seed=seed)
    return [(said.casefold(), int(row), False) for said, row in drawn.iter_rows()]


def _wrong(
    text: str,
    item: int,
    kind: bool,
    given: tuple[Known, LexicalIndex],
    random: np.random.Generator,
) -> int | None:
    """Return one of the best lexical answers that is surely worse; any item where there is none."""
    known, index = given
    query = index.parse(text)
    hits = [] if query is None else (index.search(query, _LOOKED_AT)[0] - 1).tolist()
    others = random.integers(0, len(known.texts), _FEW).tolist()
    for pool in (hits, others):
        sure = [n for n in pool if known.may_be_wrong(text, item, n, kind=kind)][:_FEW]
        if sure:
            return int(sure[int(random.integers(0, len(sure)))])
    return None
