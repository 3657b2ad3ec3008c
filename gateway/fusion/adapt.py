"""Blend weights that follow clicks: one bounded step for each click.

The model is the conditional logit of a click among what was shown (McFadden 1974):
P(j) is proportional to exp(scale * score_j), and score_j is what the fusion orders by:
weights times calibrated scores, and the other terms of preference. `strengths` are scale *
weights, so that one non-negative vector holds both. A click moves them along the gradient
of its log likelihood, multiplicatively (exponentiated gradient, Kivinen and Warmuth 1997), counted
1 / P(place was examined) times (Joachims et al. 2017): what was clicked far down counts
for those who never got there. Then the weights are brought back within bounds around the
learned ones, to the nearest in relative entropy, as in Herbster and Warmuth (2001): a
weight with a floor comes back quickly when the world changes. What is shown follows from
the scores the gradient looks at, so that no ranking need be shuffled to learn from it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.fusion.types import NORMAL, Bools, Floats, Ints, Pool, Query

Doubles = npt.NDArray[np.float64]

# Where the scale begins and may go: the best of a slate are some hundredths apart.
_SCALE, _LEAST_SCALE, _MOST_SCALE = 12.0, 2.0, 60.0
# A click counts as at most so many, and one step moves a strength by at most this factor.
_MOST_INVERSE, _MOST_STEP = 10.0, 0.5
_HALVINGS = 40
# Terms that say what a shopper prefers. Boosts and variety are the shop's.
_PREFERENCES = ("trend", "cross_domain", "session", "cost")


class Evidence(NamedTuple):
    """What a ranking's first N places were ordered by; S sources."""

    keys: Ints  # item keys [N]
    calibrated: Floats  # 0..1, absent 0 [S, N]
    offset: Floats  # the other terms of preference [N]
    answered: Bools  # sources that were blended [S]
    free: Bools  # places that the score alone decided; no pins [N]


@dataclass(frozen=True, slots=True)
class Pace:
    """How clicks are counted."""

    # Length of a step.
    rate: float
    # A place is examined with the probability place ** -examination; 0: always.
    examination: float


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Within what the weights stay."""

    low: Doubles  # [S]
    high: Doubles  # [S]


def bounds_of(weights: Doubles, factor: float) -> Bounds:
    """Let each weight [S] shrink and grow by `factor`, 1 or more."""
    return Bounds(weights / factor, np.minimum(weights * factor, 1.0))


def begin(weights: Doubles) -> Doubles:
    """Return the strengths to begin with [S]."""
    return _SCALE * weights


def weights_of(strengths: Doubles) -> Doubles:
    """Return the weights, which sum to 1 [S]."""
    weights: Doubles = strengths / strengths.sum()
    return weights


def evidence_of(query: Query, pool: Pool, most: int) -> Evidence | None:
    """Return what the first `most` places were ordered by; None where weights did not matter."""
    if pool.learned or "fused" not in pool.terms:
        return None
    first = pool.order[:most]
    offset = np.zeros(len(first), np.float32)
    for name in _PREFERENCES:
        if name in pool.terms:
            offset += pool.terms[name][first]
    return Evidence(
        keys=query.columns.keys[pool.rows[first]],
        calibrated=np.fmax(pool.calibrated[:, first], np.float32(0)),
        offset=offset,
        answered=pool.weights > 0,
        free=pool.tier[first] == NORMAL if len(pool.tier) else np.ones(len(first), np.bool_),
    )


def step(
    strengths: Doubles, bounds: Bounds, evidence: Evidence, seen: tuple[int, int], pace: Pace
) -> Doubles:
    """Return the strengths [S] after a click; `seen` is (index of the clicked, places shown).

    A place that rules decided says nothing, nor does one that stood alone.
    """
    place, shown = seen
    free = evidence.free[:shown]
    if not free[place] or free.sum() < 2:
        return strengths
    inverse = min(float(place + 1) ** pace.examination, _MOST_INVERSE)
    ascent = pace.rate * inverse * gradient(strengths, evidence, seen)
    moved = strengths * np.exp(np.clip(ascent, -_MOST_STEP, _MOST_STEP))
    return bounded(moved, bounds)


def gradient(strengths: Doubles, evidence: Evidence, seen: tuple[int, int]) -> Doubles:
    """Return the gradient of a click's log likelihood by the strengths [S].

    Sources that did not answer have none: the others were blended without them.
    """
    place, shown = seen
    used = np.where(evidence.answered, strengths, 0.0)
    # The offset is in every column: the scale, which multiplies it, is the strengths' sum.
    scores = np.float64(evidence.calibrated[:, :shown]) + evidence.offset[:shown]
    logits = np.where(evidence.free[:shown], used @ scores, -np.inf)
    chance = np.exp(logits - logits.max())
    expected = scores @ (chance / chance.sum())
    return np.where(evidence.answered, scores[:, place] - expected, 0.0)


def bounded(strengths: Doubles, bounds: Bounds) -> Doubles:
    """Return the nearest strengths whose weights are within bounds and whose scale is sane."""
    scale = float(strengths.sum())
    weights = strengths / scale
    if (weights < bounds.low).any() or (weights > bounds.high).any():
        weights = _projected(weights, bounds)
    kept: Doubles = weights * min(max(scale, _LEAST_SCALE), _MOST_SCALE)
    return kept


def _projected(weights: Doubles, bounds: Bounds) -> Doubles:
    """Return clip(c * weights, low, high) with the c that makes it sum to 1.

    That is the point of the box nearest in relative entropy. The sum rises with c, so
    halving an interval finds it.
    """
    there = weights > 0
    low = math.log(float((bounds.low[there] / weights[there]).min()))
    high = math.log(float((bounds.high[there] / weights[there]).max()))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(np.clip(math.exp(middle) * weights, bounds.low, bounds.high).sum()) < 1:
            low = middle
        else:
            high = middle
    found = np.clip(math.exp(high) * weights, bounds.low, bounds.high)
    nearest: Doubles = found / found.sum()
    return nearest
