"""The learned rankers: the sources' answers and the shopper's own habits make one preference.

Part of the fusion artifact: `ranker.npz` in its directory, with a network for each surface
that has one and what all of them read of items. The score of the network is
brought to 0..1, so that boosts and the other terms keep their meaning, and it can be
taken apart: what each source adds is its Shapley value in the game "which sources
answered", exact because there are few (Shapley 1953; Lundberg and Lee 2017). Sources
were left out at random in training, so a score without one is an answer, not a guess.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats
from artifacts.keys import Keys
from artifacts.ranker import answers
from artifacts.ranker.features import HABITS, Bools, blended, names
from artifacts.ranker.network import Network

FILE = "ranker.npz"
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LearnedRanker:
    """One version of one surface's ranker. S sources, n items."""

    sources: tuple[str, ...]  # in the order of its features
    network: Network
    # preference = 1 / (1 + exp(-(score - centre) / spread))
    centre: float
    spread: float
    item_keys: Keys  # ascending int64 [n]
    habits: Floats  # how people buy each item, columns of features.HABITS [n, H]
    usual: Floats  # of an item that is not among them [H]
    # Whether what it says without any source is better than what sells (shelf.py).
    alone: bool = False

    def preference(self, table: Floats) -> Floats:
        """Return the preference for each candidate from its features [P, F], 0..1 [P]."""
        score = (self.network.score(table) - np.float32(self.centre)) / np.float32(self.spread)
        # The same as 1 / (1 + exp(-score)), without overflow.
        found: Floats = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * score)
        return found

    def habits_of(self, keys: Keys) -> Floats:
        """Return the habits of items [P, H]; the usual ones for an item it does not know."""
        found: Floats = answers.looked_up(self.item_keys, self.habits, self.usual, keys)
        return found

    def parts(self, table: Floats, answered: Bools) -> tuple[Floats, Floats]:
        """Take the preferences of candidates [P, F] apart: (each source's [S, P], the rest [P]).

        They sum to `preference(table)`. The rest is what would be preferred had no
        source answered: the shopper's habits, the item and the market.
        """
        there = np.flatnonzero(answered)
        groups, weights = _game(len(there))
        told = np.zeros((len(groups), len(self.sources)), np.bool_)
        told[:, there] = groups
        # All of them in one go: twenty rows at a time, the calls are what takes time.
        tables = np.concatenate([blended(table, mask) for mask in told])
        values = self.preference(tables).reshape(len(groups), -1).astype(np.float64)
        found = np.zeros((len(self.sources), len(table)), np.float32)
        found[there] = weights @ values
        return found, values[0].astype(np.float32)


@cache
def _game(players: int) -> tuple[Bools, Doubles]:
    """Return all groups of players [G, N], nobody first, and how their values make parts [N, G].

    A part is the Shapley value: the mean over all orders of what a player adds to those
    before it.
    """
    groups = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(np.bool_)
    sizes = groups.sum(axis=1).tolist()
    orders = factorial(players)
    weights = np.zeros((players, len(groups)))
    for player, at in np.ndindex(weights.shape):
        before = sizes[at] - int(groups[at, player])
        weight = factorial(before) * factorial(players - before - 1) / orders
        weights[player, at] = weight if groups[at, player] else -weight
    return groups, weights


def save_rankers(directory: Path, rankers: Mapping[str, LearnedRanker]) -> None:
    """Write the file of the rankers by surface, one or more, that know the same of items."""
    one = next(iter(rankers.values()))
    arrays: dict[str, npt.NDArray[Any]] = {
        "surfaces": np.array([*rankers], np.str_),
        "habits": one.habits,
        "usual": one.usual,
    }
    for surface, ranker in rankers.items():
        if ranker.habits is not one.habits:
            raise ValueError(f"{surface}: a ranker that knows other items than the rest")
        network = ranker.network
        own: dict[str, npt.NDArray[Any]] = {
            "sources": np.array(ranker.sources, np.str_),
            "features": np.array(names(ranker.sources), np.str_),
            "mean": network.mean,
            "scale": network.scale,
            "range": np.array([ranker.centre, ranker.spread], np.float64),
            "alone": np.array(ranker.alone),
        }
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            own |= {f"weight{number}": weight, f"bias{number}": bias}
        arrays |= {f"{surface}.{name}": array for name, array in own.items()}
    np.savez(directory / FILE, allow_pickle=False, **arrays)


def load_rankers(
    directory: Path, keys: Keys, refuse: Callable[[str], Exception]
) -> dict[str, LearnedRanker]:
    """Read the rankers by surface; `keys` are the artifact's.

    Raises what `refuse` makes of a reason.
    """
    try:
        with np.load(directory / FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        surfaces = arrays["surfaces"].tolist()
        features = {surface: tuple(arrays[f"{surface}.features"].tolist()) for surface in surfaces}
        rankers = {surface: _ranker(arrays, surface, keys) for surface in surfaces}
    except Exception as error:
        raise refuse(f"cannot be read ({type(error).__name__}: {error})") from None
    if not rankers:
        raise refuse("it has a ranker for no surface")
    for surface, ranker in rankers.items():
        if features[surface] != names(ranker.sources):
            raise refuse("its features are not those of this release")
        if problem := _problem(ranker):
            raise refuse(f"{surface}: {problem}")
    return rankers


def _ranker(arrays: Mapping[str, npt.NDArray[Any]], surface: str, keys: Keys) -> LearnedRanker:
    own = {
        name.removeprefix(f"{surface}."): array
        for name, array in arrays.items()
        if name.startswith(f"{surface}.")
    }
    layers = range(sum(name.startswith("weight") for name in own))
    network = Network(
        own["mean"],
        own["scale"],
        tuple(own[f"weight{i}"] for i in layers),
        tuple(own[f"bias{i}"] for i in layers),
    )
    centre, spread = own["range"].tolist()
    return LearnedRanker(
        sources=tuple(own["sources"].tolist()),
        network=network,
        centre=centre,
        spread=spread,
        item_keys=keys,
        habits=arrays["habits"],
        usual=arrays["usual"],
        alone=bool(own.get("alone", False)),  # earlier releases learned nothing of it
    )


def _problem(ranker: LearnedRanker) -> str:
    n, h = len(ranker.item_keys), len(HABITS)
    habits, usual = ranker.habits, ranker.usual
    if habits.shape != (n, h) or usual.shape != (h,):
        return f"habits of {habits.shape}, expected {(n, h)}"
    if not (np.isfinite(habits).all() and np.isfinite(usual).all()):
        return "habits that are not finite"
    if not (np.isfinite([ranker.centre, ranker.spread]).all() and ranker.spread > 0):
        return f"a range of {ranker.centre}, {ranker.spread}, expected a spread above 0"
    return ranker.network.problem(len(names(ranker.sources)))
