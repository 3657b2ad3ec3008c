"""Reciprocal rank fusion: the blend that needs no weights and no scores, for comparison.

An item's score is the sum over the sources of 1 / (60 + its rank there)
(Cormack, Clarke and Buettcher 2009).
"""

import numpy as np

from models.evaluate.fused import Shopper
from models.evaluate.metrics import Keys

_CONSTANT = 60


def reciprocal_rank_fusion(shopper: Shopper, k: int) -> Keys:
    """Return the keys of the best `k` items by a shopper's answers; ties go to the lower key."""
    lists = [keys for keys, _ in shopper.answers.values()]
    if not lists:
        return np.zeros(0, np.int64)
    found, where = np.unique(np.concatenate(lists), return_inverse=True)
    ranks = np.concatenate([np.arange(1, len(keys) + 1) for keys in lists])
    score = np.bincount(where, 1 / (_CONSTANT + ranks), len(found))
    best: Keys = found[np.argsort(-score, kind="stable")[:k]]
    return best
