"""A made-up shop with structure: items come in clusters, shoppers like a few of them.

Random but not noise: the four models see the same clusters, so their lists overlap
about as much as those of trained models do, and a merge has something to merge.
"""

from dataclasses import dataclass

import numpy as np

from artifacts.engine import Scores
from artifacts.keys import Keys
from benchmarks.job import HISTORY, ITEMS, WIDTHS

_CLUSTERS = 200
# How far an item lies from the middle of its cluster; at 1 as far as clusters lie apart.
_SPREAD = 0.9
# Clusters a shopper likes; the rest of a history is chance.
_LIKED = 3
_BY_CHANCE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """The shop's items: stable keys that are not row numbers, and each item's cluster."""

    keys: Keys  # int64 [n]
    cluster: Keys  # int64 [n]
    seed: int

    def vectors(self, source: str) -> Scores:
        """Return a model's unit item vectors, float32 [n, d]; the same in every process."""
        width = WIDTHS[source]
        draw = np.random.default_rng((self.seed, width, sum(source.encode())))
        middles = draw.normal(size=(_CLUSTERS, width))
        made = middles[self.cluster] + _SPREAD * draw.normal(size=(len(self.keys), width))
        unit: Scores = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def histories(self, count: int, length: int = HISTORY) -> Keys:
        """Return shoppers' histories, oldest to newest, each item once, int64 [count, length]."""
        draw = np.random.default_rng((self.seed, count, length))
        members = [np.flatnonzero(self.cluster == c) for c in range(_CLUSTERS)]
        made = np.empty((count, length), np.int64)
        for row in range(count):
            liked = draw.choice(_CLUSTERS, _LIKED + length // 100, replace=False)
            weight = np.full(len(self.keys), _BY_CHANCE / len(self.keys))
            share = (1 - _BY_CHANCE) / len(liked)
            for mine in (members[cluster] for cluster in liked):
                weight[mine] += share / max(1, len(mine))
            made[row] = draw.choice(self.keys, length, replace=False, p=weight / weight.sum())
        return made


def world(seed: int = 0, items: int = ITEMS) -> World:
    """Return the shop of a seed."""
    draw = np.random.default_rng((seed, items))
    keys = np.sort(draw.choice(np.arange(100_000, 100_000 + 50 * items), items, replace=False))
    return World(draw.permutation(keys), draw.integers(0, _CLUSTERS, items), seed)
