"""How sure a number is: percentile bootstrap over users.

The one idea: all rows of a table are resampled with the same draws of users
(Efron and Tibshirani 1993, paired by user), so the interval of a difference is
that of the difference, not of two independent numbers. Means of resamples are
one matrix product of draw counts and values.
"""

from dataclasses import dataclass

import numpy as np

from models.evaluate.metrics import Doubles

# Draws whose counts are in memory at once.
_BLOCK = 100
# Decimals of a sum: far finer than any metric, far coarser than what the order of a sum brings.
_EXACT = 9


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made."""

    # 1000 settles the ends of a 95 % interval to about a twentieth of its width.
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0


def resampled_means(values: Doubles, how: Resampling) -> Doubles:
    """Return the mean of every column in every resample of the rows.

    values [U, M], U >= 1 -> float64 [draws, M]. Depends on the seed, U and the values alone.
    Columns that are equal in a resample have the same mean: a difference between them that
    is a rounding's alone would make an interval end above 0 or below it.
    """
    users = len(values)
    random = np.random.default_rng(how.seed)
    # What is equal for all stays exactly that.
    varies = values.min(axis=0) < values.max(axis=0)
    fixed, table = np.where(varies, 0, values.mean(axis=0)), np.where(varies, values, 0)
    means = np.empty((how.draws, values.shape[1]))
    for start in range(0, how.draws, _BLOCK):
        size = min(_BLOCK, how.draws - start)
        counts = np.zeros((size, users))
        for draw in range(size):
            drawn = random.integers(0, users, users)
            counts[draw] = np.bincount(drawn, minlength=users)
        means[start : start + size] = fixed + np.round(counts @ table, _EXACT) / users
    return means


def interval(means: Doubles, how: Resampling) -> tuple[Doubles, Doubles]:
    """Return the ends of the percentile interval of every column, [M] and [M]."""
    tail = (1 - how.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high
