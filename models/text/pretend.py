"""Searches made up from a catalogue, with the products that answer them.

The one idea: a catalogue says what its products are, so it can ask for them as
shoppers do: for a kind ("laser printer"), a brand, a brand's kind, or a certain
product by a few words or a number of its title. Nobody has to have searched or judged, and what is
chosen by these searches is not chosen by the judged ones that measure it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

_WORD = re.compile(r"[^\W_]+(?:[-./][^\W_]+)*")
# A kind or brand with fewer products is hardly ever asked for.
_LEAST_PRODUCTS = 5
# Gains are 2^rating - 1, as for judged searches: 3 for what was asked for, 1 for
# the right kind of another brand.
_RIGHT, _NEAR = 7.0, 1.0
Rows = npt.NDArray[np.int64]
Gains = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pretended:
    """One search: its words, and what each product is worth as an answer."""

    kind: str  # of search
    text: str
    gains: Gains  # [n], nan where the catalogue does not say


def pretend(items: pl.DataFrame, *, each: int, seed: int = 0) -> list[Pretended]:
    """Return up to `each` searches of every kind, drawn at random (seeded)."""
    random = np.random.default_rng(seed)
    names = ("title", "brand", "category")
    title, brand, category = (items[n].fill_null("").to_numpy() for n in names)
    searches: list[Pretended] = []
    for kind, made in (
        ("kind", _kinds(category)),
        ("brand", _kinds(brand)),
        ("brand's kind", _brands_kinds(brand, category)),
    ):
        found = list(made)
        drawn = random.permutation(len(found))[:each]
        searches += [Pretended(kind, *_gains(found[i])) for i in np.sort(drawn).tolist()]
    words = [frozenset(_WORD.findall(text.casefold())) for text in title.tolist()]
    titled = np.flatnonzero([len(held) > 1 for held in words])
    for row in random.permutation(titled)[:each].tolist():
        asked = _of_title(title[row], brand[row], random)
        same = np.array([set(asked) <= held for held in words])
        gains = np.where(same, _NEAR, 0.0)
        gains[row] = _RIGHT
        searches.append(Pretended("product", " ".join(asked), gains))
    return searches


# A search to be: its words, the rows that are right, near, and known to be neither.
_Draft = tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def _kinds(values: npt.NDArray[np.object_]) -> Iterator[_Draft]:
    for name, count in zip(*np.unique(values.astype(str), return_counts=True), strict=True):
        if name and count >= _LEAST_PRODUCTS:
            right = values == name
            yield name, right, np.zeros_like(right), values != ""


def _brands_kinds(
    brand: npt.NDArray[np.object_], category: npt.NDArray[np.object_]
) -> Iterator[_Draft]:
    known = (brand != "") & (category != "")
    pairs = pl.DataFrame({"brand": brand[known], "category": category[known]})
    counts = pairs.group_by("brand", "category").len().filter(pl.col("len") >= _LEAST_PRODUCTS)
    for by, kind, _ in counts.sort("brand", "category").iter_rows():
        near = category == kind
        yield f"{by} {kind}", near & (brand == by), near, known


def _gains(draft: _Draft) -> tuple[str, Gains]:
    text, right, near, known = draft
    gains = np.where(known, 0.0, np.nan)
    gains[near] = _NEAR
    gains[right] = _RIGHT
    return text.casefold(), gains


def _of_title(title: str, brand: str, random: np.random.Generator) -> list[str]:
    """Two or three neighbouring words of a title; every other time a number, if it has one."""
    words = _WORD.findall(title.casefold())
    numbers = [word for word in words if len(word) > 3 and any(c.isdigit() for c in word)]
    if numbers and random.random() < 0.5:
        named = _WORD.findall(brand.casefold())[:1] if random.random() < 0.5 else []
        return [*(word for word in named if word in words), numbers[0]]
    size = min(len(words), int(random.integers(2, 4)))
    start = int(random.integers(0, len(words) - size + 1))
    return words[start : start + size]
