"""The merge that all systems share: a convex combination of min-max scores, top 20.

Each source's scores go to 0..1 within its answer, weigh a quarter, and count 0
where the source did not name the item (the fusion's formula without learned
terms, `gateway.fusion.fuse`; min-max convex combination as in Bruch et al., "An
Analysis of Fusion Functions for Hybrid Retrieval", 2023). Only numpy, so that
every peer can import it.
"""

import numpy as np
import numpy.typing as npt

from benchmarks.job import TOP

Keys = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def merge(keys: Keys, scores: Scores) -> tuple[Keys, Scores]:
    """Merge the answers of S sources about one history, int64 and float32 [S, k].

    Returns the best TOP item keys and their scores, best first; of equal scores the
    smaller key.
    """
    low = scores.min(axis=1, keepdims=True)
    share = (scores - low) / ((scores.max(axis=1, keepdims=True) - low) * np.float32(len(scores)))
    distinct, where = np.unique(keys.ravel(), return_inverse=True)
    total = np.bincount(where.ravel(), share.ravel(), len(distinct))
    best = np.argsort(-total, kind="stable")[:TOP]
    return distinct[best], total[best].astype(np.float32)
