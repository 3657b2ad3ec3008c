"""The search for weights: every blend on a grid, judged by NDCG on held-out events.

A handful of numbers and thousands of cases: a grid finds the optimum as well as
anything cleverer, cannot diverge and is the same on every machine. Which blend of a grid
is best follows chance where the cases are few, so the blend kept is the mean of those that
are best for samples of the cases (bagging: L. Breiman, "Bagging predictors", Machine
Learning 24, 1996). Where one source does as well without the others, by the cases that
samples left out, it has nearly all of the weight; docs/fusion.md has the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats
from models.fusion.cases import TERMS, Case

Doubles = npt.NDArray[np.float64]

# Every source that is asked keeps this much: it may be the only one that knows an item.
# Where a blend that leaves them less is ahead, that.
_LEAST, _LESS = 0.02, 0.0002
# A source may count alone where no other reaches this part of its NDCG by itself.
_FAR = 0.5
# What a source that does as well alone leaves to the blend: in what order the others come.
_REST = 0.01
_GRID: dict[str, tuple[float, ...]] = {
    "trend": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 1.5),
    "cross_domain": (0.0, 0.005, 0.01, 0.02, 0.05, 0.1),
    "session": (0.0, 0.02, 0.05, 0.1, 0.2, 0.4),
}
# The grid of blends, and the samples of the cases, drawn with replacement.
_STEP = 0.1
_SAMPLES = 60
# Where the data cannot tell, these stay: held-out events show what sold, not what fresh
# trends, a session or another domain would have sold.
_DEFAULTS = {"trend": 0.05, "cross_domain": 0.02, "session": 0.1}
# A difference below this is noise.
_NOISE = 5e-4


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best weights and what they reach."""

    weights: Floats  # by source, sums to 1 [S]
    terms: Floats  # by TERMS [T]
    ndcg: float
    alone: Doubles  # NDCG of each source by itself [S]
    without: dict[str, float]  # NDCG with one of the chosen terms left out


def search(
    cases: Sequence[Case],
    sources: int,
    terms: Sequence[str],
    *,
    k: int,
    least: Floats | None = None,
    beside: Floats | None = None,
) -> Found:
    """Find blend weights, then the weights of `terms` one after another, then both again.

    `cases` holds one at least. `beside` [T] are weights of terms that are not searched and
    count all the same, none by default. `least` [S] is what each source keeps in any case.
    """
    given = np.zeros(sources, np.float32) if least is None else least
    chosen = np.zeros(len(TERMS), np.float32) if beside is None else beside
    best = _best_blend(cases, given, chosen, k)
    for name in terms:
        chosen = _best_term(cases, best, chosen, name, k)
    if terms and chosen.any():
        best = _best_blend(cases, given, chosen, k)
        for name in terms:
            chosen = _best_term(cases, best, chosen, name, k)
    without = {}
    for name in terms:
        less = chosen.copy()
        less[TERMS.index(name)] = 0
        without[name] = float(mean_ndcg(cases, best[None], less[None], k)[0])
    nothing = np.zeros((sources, len(TERMS)), np.float32)
    return Found(
        weights=best,
        terms=chosen,
        ndcg=float(mean_ndcg(cases, best[None], chosen[None], k)[0]),
        alone=mean_ndcg(cases, np.eye(sources, dtype=np.float32), nothing, k),
        without=without,
    )


def mean_ndcg(cases: Sequence[Case], weights: Floats, terms: Floats, k: int) -> Doubles:
    """Return the mean NDCG@k of N settings, weights [N, S] and terms [N, T], float64 [N]."""
    total: Doubles = _ndcg(cases, weights, terms, k).sum(axis=0)
    return total / max(len(cases), 1)


def _ndcg(cases: Sequence[Case], weights: Floats, terms: Floats, k: int) -> Doubles:
    """Return the NDCG@k of each case under N settings, float64 [C, N]."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found = np.zeros((len(cases), len(weights)))
    for number, case in enumerate(cases):
        if not len(case.target):
            continue
        score = blend(case, weights, terms)
        if score.shape[1] > k:
            top = np.argpartition(-score, k, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(score, top, axis=1), axis=1, kind="stable")
            top = np.take_along_axis(top, order, axis=1)
        else:
            top = np.argsort(-score, axis=1, kind="stable")
        gained = case.target[top] @ discount[: top.shape[1]]
        found[number] = gained / ideal[min(case.wanted, k)]
    return found


def blend(case: Case, weights: Floats, terms: Floats) -> Floats:
    """Return the final scores of N settings [N, P], as the fusion's stages compute them.

    Weights are renormalised over the sources that answered; if those weigh
    nothing, they share equally.
    """
    share = weights * case.answered
    total = share.sum(axis=1, keepdims=True)
    equal = case.answered / max(int(case.answered.sum()), 1)
    share = np.where(total > 0, share / np.where(total > 0, total, 1), equal).astype(np.float32)
    score: Floats = share @ case.calibrated + terms @ case.terms
    return score


def simplex(least: Floats, step: float) -> Floats:
    """Return every vector above `least` [S] on a grid of `step` that sums to 1 [N, S].

    What `least` leaves of 1 is dealt out in multiples of `step`.
    """
    size = len(least)
    parts = round(1 / step)
    grid = [g for g in product(range(parts + 1), repeat=size - 1) if sum(g) <= parts]
    vectors = np.array([[*g, parts - sum(g)] for g in grid], np.float64) / parts
    dealt: Floats = (least + vectors * (1 - least.sum())).astype(np.float32)
    return dealt


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Judges blends [N, S] by cases [C], of which samples are `drawn` [samples, C]."""

    cases: Sequence[Case]
    drawn: npt.NDArray[np.int64]
    terms: Floats  # [T]
    k: int

    def values(self, blends: Floats) -> Doubles:
        """Return the NDCG of each case under each blend [C, N]."""
        return _ndcg(self.cases, blends, np.repeat(self.terms[None], len(blends), axis=0), self.k)

    def bagged(self, blends: Floats) -> tuple[Floats, float, float]:
        """Return the mean of what is best for each sample [S], its NDCG, and that of the unseen.

        The unseen: each case under the mean of the samples that lack it.
        """
        picked = blends[(self.drawn @ self.values(blends)).argmax(axis=1)]
        mean = picked.mean(axis=0, dtype=np.float64).astype(np.float32)
        lacks = (self.drawn == 0).T.astype(np.float32)
        unseen = [
            _ndcg([case], (lack @ picked / lack.sum())[None], self.terms[None], self.k)[0, 0]
            for case, lack in zip(self.cases, lacks, strict=True)
            if lack.any()
        ]
        return mean, float(self.values(mean[None]).mean()), float(np.mean(unseen or [0]))

    def alone(self, blends: Floats) -> tuple[Floats, float]:
        """Return the best of a few blends, and the NDCG of the unseen where samples choose one.

        That is 0 where another comes near to the best: a blend of two that both know
        something is the safer choice, whatever the season.
        """
        values = self.values(blends)
        means = values.mean(axis=0)
        unseen = values.T[(self.drawn @ values).argmax(axis=1)][self.drawn == 0]
        others = np.delete(means, means.argmax())
        far = len(unseen) and len(others) and others.max() < _FAR * means.max()
        return blends[means.argmax()], float(unseen.mean()) if far else 0.0


def _best_blend(cases: Sequence[Case], given: Floats, terms: Floats, k: int) -> Floats:
    """Return the blend to keep [S]; each source has what is `given` [S] at least."""
    even = np.full(len(cases), 1 / len(cases))
    drawn = np.random.default_rng(0).multinomial(len(cases), even, size=_SAMPLES)
    judge = _Judge(cases, drawn, terms, k)
    usual, bold = (np.maximum(given, least).astype(np.float32) for least in (_LEAST, _LESS))
    found, ndcg, unseen = judge.bagged(simplex(usual, _STEP))
    bolder, more, unseen_too = judge.bagged(simplex(bold, _STEP))
    if more > ndcg + _NOISE:
        found = bolder
    one, unseen_alone = judge.alone(simplex(bold, 1.0))
    if max(unseen, unseen_too) >= unseen_alone:
        return found
    kept: Floats = ((1 - _REST) * one + _REST * found).astype(np.float32)
    return kept


def _best_term(cases: Sequence[Case], weights: Floats, chosen: Floats, name: str, k: int) -> Floats:
    grid = np.repeat(chosen[None], len(_GRID[name]), axis=0)
    grid[:, TERMS.index(name)] = _GRID[name]
    values = mean_ndcg(cases, np.repeat(weights[None], len(grid), axis=0), grid, k)
    good = np.flatnonzero(values >= values.max() - _NOISE)
    usual = np.abs(np.array(_GRID[name])[good] - _DEFAULTS[name])
    best: Floats = grid[int(good[usual.argmin()])]
    return best
