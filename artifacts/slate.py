"""Which candidate gets which place, when more than its score counts: one greedy choice.

The one idea: variety, the shopper's mix of domains and a bound on providers all change
with every place that is filled, so they decide each place together. Training tries
settings with the function that serves.

- Variety: maximal marginal relevance (Carbonell and Goldstein 1998), (1 - d) * score
  - d * the nearest cosine to what is chosen.
- Mix: calibrated recommendations (Steck 2018), (1 - c) of the above - c * KL(p || q),
  p the history's distribution over groups, q the slate's mixed with 0.01 of p.
- Providers: of the first n places a provider gets at most ceil(share * n), for every n
  (the upper bound of deterministic constrained sorting, Geyik, Ambler and Kenthapadi 2019).
"""

from math import ceil, log
from typing import NamedTuple

import numpy as np

from artifacts.compiled import FLOATS, NUMBER, REAL, ROWS, TABLE, WRITTEN, compiled
from artifacts.formulas import Floats, Rows

# Steck's alpha: keeps the divergence finite for a group that the slate lacks.
MIXED = 0.01
_NO_ROWS: Rows = np.zeros(0, np.int32)
_NO_FLOATS: Floats = np.zeros(0, np.float32)
_NO_VECTORS: Floats = np.zeros((0, 0), np.float32)


class Mix(NamedTuple):
    """A shopper's mix of groups: G of them."""

    strength: float  # c, 0..1
    likes: Floats  # the history's share of each group, sums to 1 [G]
    group: Rows  # of each candidate, -1 unknown [P]
    pinned: Rows = _NO_ROWS  # groups of what already has a place


class Bound(NamedTuple):
    """How much of a slate one provider may have."""

    share: float  # of the places, above 0; 1: no bound
    provider: Rows  # of each candidate, -1 unknown: bound by nothing [P]
    pinned: Rows = _NO_ROWS  # providers of what already has a place


class Variety(NamedTuple):
    """What counts beside the score."""

    diversity: float  # d, 0..1
    mix: Mix | None = None
    bound: Bound | None = None


def choose(
    scores: Floats,
    vectors: Floats,
    places: int,
    variety: Variety,
    pinned: Floats = _NO_VECTORS,
) -> Rows:
    """Return the chosen of P candidates, first place first, int32 [min(places, P)].

    scores float32 [P], equal ones in the order they should fall; vectors, unit or zero,
    float32 [P, d], and of what already has a place in front, `pinned` [N, d]. Where no
    candidate's provider may have another place, the bound gives way.
    """
    blend = np.float32(min(max(variety.diversity, 0.0), 1.0))
    relevance: Floats = (1 - blend) * scores
    # Row i: what is left of everybody's relevance once i is chosen.
    beside = relevance - np.maximum(blend * (vectors @ vectors.T), 0)
    gain = relevance.copy()
    if len(pinned):
        gain -= np.maximum(blend * (vectors @ pinned.T).max(axis=1), 0)
    places = min(places, len(scores))
    if variety.mix is None and variety.bound is None:
        return _choose(gain, beside, places)
    mix, bound = _of_mix(variety.mix), _of_bound(variety.bound)
    found: Rows = _choose_within(gain, beside, places, *mix, *bound)
    return found


def _of_mix(mix: Mix | None) -> tuple[float, Rows, Floats, Floats, int]:
    """Return strength, candidates' groups, p and counts of those groups, and the count of all."""
    if mix is None:
        return 0.0, _NO_ROWS, _NO_FLOATS, _NO_FLOATS, 0
    # Shops have many categories and slates few: only the candidates' can be gained.
    groups, group = np.unique(mix.group, return_inverse=True)
    known = groups >= 0
    likes = np.where(known, mix.likes[groups], np.float32(0))
    named = np.where(known[group], group, -1).astype(np.int32)
    strength = min(max(mix.strength, 0.0), 1.0)
    return strength, named, likes, _counts(groups, mix.pinned), int((mix.pinned >= 0).sum())


def _of_bound(bound: Bound | None) -> tuple[float, Rows, Floats, int]:
    """Return share, candidates' providers, how often each is shown, and how many are pinned."""
    if bound is None:
        return 1.0, _NO_ROWS, _NO_FLOATS, 0
    providers, provider = np.unique(bound.provider, return_inverse=True)
    named = np.where((providers >= 0)[provider], provider, -1).astype(np.int32)
    return bound.share, named, _counts(providers, bound.pinned), len(bound.pinned)


def _counts(names: Rows, among: Rows) -> Floats:
    """Return how often each of the ascending names is among some [N]."""
    found, count = np.unique(among, return_counts=True)
    counts = np.zeros(len(names), np.float32)
    here = np.isin(found, names)
    counts[np.searchsorted(names, found[here])] = count[here]
    return counts


@compiled(WRITTEN, TABLE, NUMBER)
def _choose(gain: Floats, beside: Floats, places: int) -> Rows:
    """Take the best `places` times; each choice lowers what is like it. Changes `gain`."""
    chosen = np.empty(places, np.int32)
    for place in range(places):
        best = 0
        for i in range(1, len(gain)):
            if gain[i] > gain[best]:
                best = i
        chosen[place] = best
        gain[best] = -np.inf
        for i in range(len(gain)):
            gain[i] = min(gain[i], beside[best, i])
    return chosen


@compiled(FLOATS, FLOATS, NUMBER)
def _gains(likes: Floats, held: Floats, size: int) -> Floats:
    """Return by how much another of each group lowers KL(p || q) of a slate of `size` [G].

    Steck's objective but for what is the same whichever group is taken: all other terms
    of the divergence.
    """
    found = np.zeros(len(likes), np.float32)
    for g in range(len(likes)):
        if likes[g] > 0:
            floor = MIXED * likes[g]
            step = (1 - MIXED) / size
            found[g] = likes[g] * log((step * (held[g] + 1) + floor) / (step * held[g] + floor))
    return found


@compiled(WRITTEN, TABLE, NUMBER, REAL, ROWS, WRITTEN, WRITTEN, NUMBER, REAL, ROWS, WRITTEN, NUMBER)
def _choose_within(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    gain: Floats, beside: Floats, places: int,
    strength: float, group: Rows, likes: Floats, held: Floats, grouped: int,
    share: float, provider: Rows, shown: Floats, pinned: int,
) -> Rows:  # fmt: skip
    """Choose as `_choose` does, by the mix of groups as well and within the bound."""
    chosen = np.empty(places, np.int32)
    for place in range(places):
        most = ceil(share * (pinned + place + 1) - 1e-9)
        bonus = _gains(likes, held, grouped + 1)
        best, free, top, allowed = -1, -1, -np.inf, -np.inf
        for i in range(len(gain)):
            value = (1 - strength) * gain[i]
            if len(group) and group[i] >= 0:
                value += strength * bonus[group[i]]
            if value > top:
                best, top = i, value
            if len(provider) and provider[i] >= 0 and shown[provider[i]] >= most:
                continue
            if value > allowed:
                free, allowed = i, value
        best = free if free >= 0 else best
        chosen[place] = best
        if len(group) and group[best] >= 0:
            held[group[best]] += 1
            grouped += 1
        if len(provider) and provider[best] >= 0:
            shown[provider[best]] += 1
        gain[best] = -np.inf
        for i in range(len(gain)):
            gain[i] = min(gain[i], beside[best, i])
    return chosen
