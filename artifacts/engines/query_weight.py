"""How much of a search's score is meaning and how much is words: a weight for each query.

The one idea: what the words of a query are says which half to trust. "samsung" is
a brand that the lexical half finds exactly, "dv7-1211ea" a number that has no meaning; "mouse"
stands in the titles of mouse pads too, and only meaning tells them apart. All
that is read is how often the index holds each word in which field, so a weight
costs microseconds; what each trait counts is learned from the catalogue
(models/text/weigh.py) and stands in the manifest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The manifest's engine_parameters are named so: "dense_weight.brand".
PREFIX = "dense_weight."
# The manifest's engine_parameters of a catalogue whose encoder does not read every script: the
# weight of what it does not read, and which share of the catalogue it reads.
UNREAD_WEIGHT, CATALOGUE_READ = "unread_weight", "catalogue_read"
# And how far a query's vector is moved to what it finds.
FED_BACK = "feedback"
# A text of which it reads so much is read: names and numbers fall apart in any language.
_READ = 0.5
# Neither half is ever left out: each finds what the other cannot.
LEAST, MOST = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Word:
    """How many products hold a query's word: in any field (most), in a brand, in a title."""

    text: str
    most: int
    brand: int
    title: int


def traits(words: Sequence[Word], products: int) -> dict[str, float]:
    """Return what is read of a query, each within about 0..1, by name.

    `products` is how many the index holds. A query without a word has only "always".
    """
    known = [word for word in words if word.most]
    count = max(len(words), 1)
    rarest = math.log1p(products)
    return {
        "always": 1.0,
        "length": min(math.log2(count), 2.0) / 2,
        "brand": sum(w.brand / w.most for w in known) / count,
        "title": sum(w.title / w.most for w in known) / count,
        "known": len(known) / count,
        "number": sum(any(c.isdigit() for c in w.text) for w in words) / count,
        "rarity": sum(1 - math.log1p(w.most) / rarest for w in known) / count,
    }


NAMES = tuple(traits((), 1))


def weight_of(found: Mapping[str, float], learned: Mapping[str, float]) -> float:
    """Return the dense half's weight, a logistic function of the traits."""
    exponent = sum(learned[name] * value for name, value in found.items())
    weight = 1 / (1 + math.exp(-min(max(exponent, -30.0), 30.0)))
    return min(max(weight, LEAST), MOST)


def weight_read(weight: float, unread: float, share: float) -> float:
    """Return the dense half's weight where the encoder reads a share 0..1 of query or catalogue.

    `weight` where it reads them, `unread` (if that is less) where it reads nothing.
    """
    if share >= _READ or unread >= weight:
        return weight
    return unread + (weight - unread) * share / _READ


def learned_in(parameters: Mapping[str, float]) -> dict[str, float] | None:
    """Return what each trait counts, from a manifest's parameters; None: one weight for all."""
    found = {name: parameters[PREFIX + name] for name in NAMES if PREFIX + name in parameters}
    return {name: found.get(name, 0.0) for name in NAMES} if found else None
