"""Formulas that training tunes and serving applies: one definition for both.

Pure functions, no state. The fusion's stages (gateway) and the tuning of their
weights (models) may not import each other; what they must agree on is here.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from artifacts.compiled import BOOLS, FLOATS, REAL, ROWS, TABLE, WRITTEN, compiled

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Indices = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
Quantiles = tuple[Floats, Floats]

_UNKNOWN: Quantiles = (np.zeros(0, np.float32), np.zeros(0, np.float32))
# Calibration: share of min-max within the answer; the rest is the quantile.
_WITHIN = np.float32(0.5)
# Calibration of an answer that is one value, from a source without quantiles.
_MIDDLE = np.float32(0.5)
# Session affinity: part of the vectors; the rest is the categories'.
_VECTOR_PART = np.float32(0.7)
# In a session the last step says most; each step before it this much less.
_STEP = 0.85
# |log-odds| beyond a factor of twenty is a sparse cell of the table, not knowledge.
_LARGEST_LOG_RATIO = np.float32(3.0)


def calibrate(
    scores: Floats, quantiles: Sequence[Quantiles | None], apart: Bools | None = None
) -> Floats:
    """Map each source's scores to 0..1, rising with the score; NaN stays NaN [S, P].

    `quantiles` holds for each source (probabilities, scores), both ascending, or
    None if unknown. Half is min-max within the source's answer, half the quantile;
    one score, or equal scores, have no min-max and get their quantile, or 0.5
    without any. Candidates that stand `apart` [P] are no alternatives to the others:
    min-max is that of the others, within whose range they are taken to lie.
    """
    beside = np.zeros(scores.shape[1], np.bool_) if apart is None else apart
    calibrated: Floats = np.empty(scores.shape, np.float32)
    for source, known in enumerate(quantiles):
        chances, values = _UNKNOWN if known is None else known
        _calibrate(
            _floats(scores[source]), _floats(chances), _floats(values), beside, calibrated[source]
        )
    return calibrated


@compiled(REAL, FLOATS, FLOATS)
def _between(value: float, chances: Floats, values: Floats) -> float:
    """Interpolate, as numpy.interp does."""
    at = np.searchsorted(values, np.float32(value), side="right")
    if at == 0:
        return float(chances[0])
    if at == len(values):
        return float(chances[-1])
    below, above = float(values[at - 1]), float(values[at])
    # In this order: of two scores that all but touch, 1 / distance is infinite.
    part = (value - below) / (above - below)
    return part * (float(chances[at]) - float(chances[at - 1])) + float(chances[at - 1])


@compiled(FLOATS, FLOATS, FLOATS, BOOLS, WRITTEN)
def _calibrate(scores: Floats, chances: Floats, values: Floats, apart: Bools, out: Floats) -> None:
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for i in range(len(scores)):
        if not apart[i]:
            low = min(low, scores[i])
            high = max(high, scores[i])
    spread = high - low
    flat, known = not spread > 0, len(values) > 0
    # Of a flat answer min-max says nothing, so its quantile is all there is.
    within = np.float32(0) if flat else _WITHIN if known else np.float32(1)
    for i in range(len(scores)):
        score = scores[i]
        inside = min(max(score, low), high)
        part = np.float32(0) if flat else (inside - low) / spread
        level = np.float32(_between(score, chances, values)) if known else _MIDDLE
        mixed = within * part + (np.float32(1) - within) * level
        out[i] = score if np.isnan(score) else mixed


def domain_log_ratio(domains: Indices, weight: Floats, transition: Floats, fade: float) -> Floats:
    """Return fade(t) * log(P(t | history) / P(t)) for every domain t [D], within -3..3.

    domains int [L] and weight [L] of the history's events, not negative; transition
    [D, D] holds log(P(t | r) / P(t)) at [r, t]. P(t | history) mixes the rows of the
    recent domains by weight, so the ratio is the mix of the ratios. With n events in t,
    fade(t) = 1 / (1 + n / `fade`).
    """
    rows = np.ascontiguousarray(domains, np.int32)
    found: Floats = _log_ratio(rows, _floats(weight), _floats(transition), max(fade, 1e-6))
    return found


@compiled(ROWS, FLOATS, TABLE, REAL)
def _log_ratio(domains: Rows, weight: Floats, transition: Floats, fade: float) -> Floats:
    size = len(transition)
    share, own = np.zeros(size), np.zeros(size)
    for i in range(len(domains)):
        share[domains[i]] += weight[i]
        own[domains[i]] += 1
    total = share.sum()
    ratio = np.zeros(size)
    for r in range(size):
        if share[r] > 0:
            for t in range(size):
                ratio[t] += share[r] / total * np.exp(transition[r, t])
    value = np.empty(size, np.float32)
    for t in range(size):
        faded = np.log(max(ratio[t], 1e-6)) / (1 + own[t] / fade)
        value[t] = min(max(faded, -_LARGEST_LOG_RATIO), _LARGEST_LOG_RATIO)
    return value


@compiled(FLOATS)
def by_step(weights: Floats) -> Floats:
    """Return a session's weights [M], oldest first, less for each step that followed."""
    stepped, step = np.empty(len(weights), np.float32), 1.0
    for i in range(len(weights) - 1, -1, -1):
        stepped[i] = step * weights[i]
        step *= _STEP
    return stepped


def session_affinity(
    weight: Floats, items: tuple[Floats, Rows], session: Rows, candidates: Rows
) -> Floats:
    """Return how near each candidate is to a session, -1..1 [P].

    `items` are (unit vectors [n, d], category indices [n], -1 unknown) by row;
    `session` rows [L] and weight [L], negative where an event repels; `candidates`
    rows [P]. 0.7 times the mean cosine and 0.3 times the share of the session in the
    candidate's category: vectors see more, categories also know items without a vector.
    """
    total = float(np.abs(weight).sum())
    if not total > 0:
        return np.zeros(len(candidates), np.float32)
    vectors, category = items
    share = (weight / total).astype(np.float32)
    found: Floats = _affinity(
        share, _floats(vectors), _rows(category), _rows(session), _rows(candidates)
    )
    return found


@compiled(FLOATS, TABLE, ROWS, ROWS, ROWS, reorder=True)
def _affinity(
    share: Floats, vectors: Floats, category: Rows, session: Rows, candidates: Rows
) -> Floats:
    # The mean of the cosines is the dot product with the weighted sum of unit vectors.
    width = vectors.shape[1]
    mean = np.zeros(width, np.float32)
    for i in range(len(session)):
        for d in range(width):
            mean[d] += share[i] * vectors[session[i], d]
    affinity = np.empty(len(candidates), np.float32)
    for p in range(len(candidates)):
        near, same = np.float32(0), np.float32(0)
        for d in range(width):
            near += mean[d] * vectors[candidates[p], d]
        kind = category[candidates[p]]
        if kind >= 0:
            for i in range(len(session)):
                if category[session[i]] == kind:
                    same += share[i]
        affinity[p] = _VECTOR_PART * near + (np.float32(1) - _VECTOR_PART) * same
    return affinity


def _floats(values: Floats) -> Floats:
    return np.ascontiguousarray(values, np.float32)


def _rows(values: Indices) -> Rows:
    return np.ascontiguousarray(values, np.int32)


def log_scaled(counts: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> Floats:
    """Map counts from 0 (may be decayed) to 0..1, the largest to 1, on a log scale.

    Sales are so skewed that on a linear scale all but a few items would be 0.
    """
    top = float(np.max(counts, initial=0))
    if not top > 0:
        return np.zeros(len(counts), np.float32)
    scaled: Floats = (np.log1p(counts) / np.log1p(top)).astype(np.float32)
    return scaled
