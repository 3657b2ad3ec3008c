"""One of the four models as every system but Plait runs it: keys in, the best 100 keys out.

The same model.onnx, opened the same way (one thread, no spinning), with the same
mapping of item keys to rows as Plait's engine does. Imports nothing of Plait but
`artifacts.keys` and `artifacts.session`, which need numpy and ONNX Runtime, so
that a peer's environment can run it.
"""

from pathlib import Path

import numpy as np

from artifacts.keys import KeyIndex
from artifacts.session import open_session
from benchmarks.job import CANDIDATES
from benchmarks.job.merge import Keys, Scores

_K = np.array([CANDIDATES], np.int64)


class Model:
    """A session and a key index."""

    def __init__(self, repository: Path, source: str) -> None:
        """Open the version of a source that `publish` made for all systems."""
        directory = repository / source / "1"
        self._session = open_session(directory / "model.onnx")
        self._index = KeyIndex(np.load(directory / "item_keys.npy"))

    def best(self, history: Keys) -> tuple[Keys, Scores]:
        """Answer a batch of histories int64 [B, L]: keys int64 and scores float32 [B, 100]."""
        rows = self._index.rows(history)
        feed = {
            "history": rows,
            "history_weight": (rows != 0).astype(np.float32),
            "candidates": np.zeros((len(rows), 1), np.int64),
            "k": _K,
        }
        best, scores = self._session.run(["rows", "scores"], feed)
        return self._index.keys_by_row[best], scores
