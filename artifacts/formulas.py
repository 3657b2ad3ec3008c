"""Formulas that training tunes and serving applies: one definition for both.

Pure numpy, no state. The fusion's stages (gateway) and the tuning of their
weights (models) may not import each other; what they must agree on is here.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]
Quantiles = tuple[Floats, Floats]

# Calibration: share of min-max within the answer; the rest is the quantile.
_WITHIN = np.float32(0.5)
# Calibration of an answer that is one value, from a source without quantiles.
_MIDDLE = np.float32(0.5)
# Session affinity: part of the vectors; the rest is the categories'.
_VECTOR_PART = np.float32(0.7)
# |log-odds| beyond a factor of twenty is a sparse cell of the table, not knowledge.
_LARGEST_LOG_RATIO = np.float32(3.0)


def calibrate(scores: Floats, quantiles: Sequence[Quantiles | None]) -> Floats:
    """Map each source's scores to 0..1, rising with the score; NaN stays NaN [S, P].

    `quantiles` holds for each source (probabilities, scores), both ascending, or
    None if unknown. Half is min-max within the source's answer, half the quantile;
    one score, or equal scores, have no min-max and get their quantile, or 0.5
    without any.
    """
    if not scores.shape[1]:
        return scores
    low = np.fmin.reduce(scores, axis=1, keepdims=True)
    spread = np.fmax.reduce(scores, axis=1, keepdims=True) - low
    flat = ~(spread > 0)
    spread[flat] = 1
    calibrated: Floats = (scores - low) / spread
    # Of a flat answer min-max says nothing, so its quantile is all there is.
    within = np.where(flat, np.float32(0), _WITHIN)
    level = np.full_like(calibrated, _MIDDLE)
    for source, known in enumerate(quantiles):
        if known is not None and len(known[0]):
            # NaN passes through np.interp as NaN.
            level[source] = np.interp(scores[source], known[1], known[0])
        elif not flat[source, 0]:
            within[source] = 1
    calibrated *= within
    level *= 1 - within
    calibrated += level
    return calibrated


def domain_log_ratio(domains: Indices, weight: Floats, transition: Floats, fade: float) -> Floats:
    """Return fade(t) * log(P(t | history) / P(t)) for every domain t [D], within -3..3.

    domains int [L] and weight [L] of the history's events; transition [D, D] holds
    log(P(t | r) / P(t)) at [r, t]. P(t | history) mixes the rows of the recent
    domains by weight, so the ratio is the mix of the ratios. With n events in t,
    fade(t) = 1 / (1 + n / `fade`).
    """
    size = len(transition)
    share = np.bincount(domains, weight, size)
    ratio = (share / share.sum()) @ np.exp(transition)
    own = np.bincount(domains, minlength=size)
    value = np.log(np.maximum(ratio, 1e-6)) / (1 + own / max(fade, 1e-6))
    clipped: Floats = np.clip(value, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).astype(np.float32)
    return clipped


def session_affinity(
    weight: Floats,
    session: tuple[Floats, Indices],
    candidates: tuple[Floats, Indices],
) -> Floats:
    """Return how near each candidate is to a session, -1..1 [P].

    `session` and `candidates` are (unit vectors [L, d] and [P, d], category indices
    [L] and [P], -1 unknown); weight [L], negative where an event repels. 0.7 times
    the mean cosine and 0.3 times the share of the session in the candidate's
    category: vectors see more, categories also know items without a vector.
    """
    total = np.abs(weight).sum()
    if not total > 0:
        return np.zeros(len(candidates[1]), np.float32)
    share = (weight / total).astype(np.float32)
    # The mean of the cosines is the dot product with the weighted sum of unit vectors.
    near = candidates[0] @ (share @ session[0])
    named = session[1] >= 0
    spent = np.bincount(session[1][named], share[named], minlength=1)
    category = candidates[1]
    inside = (category >= 0) & (category < len(spent))
    same = np.where(inside, spent[np.where(inside, category, 0)], 0)
    affinity: Floats = (_VECTOR_PART * near + (1 - _VECTOR_PART) * same).astype(np.float32)
    return affinity


def log_scaled(counts: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> Floats:
    """Map counts from 0 (may be decayed) to 0..1, the largest to 1, on a log scale.

    Sales are so skewed that on a linear scale all but a few items would be 0.
    """
    top = float(np.max(counts, initial=0))
    if not top > 0:
        return np.zeros(len(counts), np.float32)
    scaled: Floats = (np.log1p(counts) / np.log1p(top)).astype(np.float32)
    return scaled
