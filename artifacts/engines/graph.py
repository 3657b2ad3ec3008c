"""The engine of every model that is one ONNX graph over item rows.

The graph maps (history rows, weights, candidate rows, k) to its best k rows and
the scores of the candidates. This engine adds what is the same for all of them:
item keys to rows and back, padding, and "no opinion" as NaN.

Graph inputs:  history INT64 [B, L] (rows 1..n, 0 pads), history_weight FP32 [B, L],
               candidates INT64 [B, C], k INT64 [1],
               optionally history_type INT64 [B, L] and history_age FP32 [B, L] (told.py)
Graph outputs: rows INT64 [B, k], scores FP32 [B, k], candidate_scores FP32 [B, C],
               optionally embedding FP32 [B, d]
Row 0 must never be among the answers; a score of -inf or NaN says "no opinion".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from artifacts.engine import Answer, Bools, Question, Scores
from artifacts.engines.told import TOLD, Column, told
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from plait.v1.manifest_pb2 import Manifest

_INPUTS = {"history", "history_weight", "candidates", "k", *TOLD}
_OUTPUTS = {"rows", "scores", "candidate_scores"}


class GraphEngine:
    """Runs model.onnx; see the module for the graph's contract."""

    def __init__(self, directory: Path, manifest: Manifest, keys: Keys) -> None:
        self.manifest = manifest
        self._session = open_session(directory / MODEL)
        self._index = KeyIndex(keys)
        self._max_history = int(manifest.engine_parameters.get("max_history", 0))
        inputs = {i.name for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        if not inputs <= _INPUTS or "history" not in inputs or not outputs >= _OUTPUTS:
            raise ArtifactCorrupt(
                f"{directory / MODEL}: the graph has inputs {sorted(inputs)} and outputs "
                f"{sorted(outputs)}, the manifest's engine 'graph' wants {sorted(_INPUTS)} and "
                f"{sorted(_OUTPUTS)}; train the version anew"
            )
        self._inputs = inputs
        self._told = tuple(name for name in TOLD if name in inputs)
        self._has_embedding = "embedding" in outputs

    def run(self, question: Question) -> Answer:
        """Answer a batch; rows without a single known history item have no opinion."""
        rows = self._index.rows(question.history)
        # Most questions bring known items alone; what only others need is left out for them.
        whole = bool(rows.all())
        unknown = 0 if whole else int(np.count_nonzero((question.history != 0) & (rows == 0)))
        columns = told(question, self._told) if self._told else {}
        rows, (weight, *more) = left_padded(
            rows, (question.history_weight, *columns.values()), self._max_history
        )
        silent: Bools = ~(rows != 0).any(axis=1)
        size = len(self._index)
        if question.candidates is not None:
            wanted = self._index.rows(question.candidates)
            unknown += int(np.count_nonzero((question.candidates != 0) & (wanted == 0)))
            top = 1
        else:
            wanted = np.zeros((len(rows), 1), np.int64)
            top = int(question.k.max()) if question.k is not None and len(question.k) else 1
        feed = {
            "history": rows,
            "history_weight": weight,
            "candidates": wanted,
            "k": np.array([max(1, min(top, size))], np.int64),
            **dict(zip(columns, more, strict=True)),
        }
        names = ["candidate_scores"] if question.candidates is not None else ["rows", "scores"]
        if self._has_embedding:
            names.append("embedding")
        out = self._session.run(names, {n: v for n, v in feed.items() if n in self._inputs})
        embedding: Scores | None = None
        if self._has_embedding:
            embedding = (
                np.where(silent[:, None], np.float32(0), out[-1]) if silent.any() else out[-1]
            )
        if question.candidates is not None:
            scores = np.where((wanted == 0) | silent[:, None], np.float32(np.nan), out[0])
            scores[~np.isfinite(scores)] = np.nan
            return Answer(scores=scores, embedding=embedding, unknown_items=unknown)
        keys, scores = self._best(out[0], out[1], silent, question.k, top)
        return Answer(scores=scores, item_keys=keys, embedding=embedding, unknown_items=unknown)

    def _best(
        self, rows: Keys, scores: Scores, silent: Bools, k: Keys | None, top: int
    ) -> tuple[Keys, Scores]:
        """Rows to keys, padded to [B, top], with nothing where there is no opinion."""
        keys = self._index.keys_by_row[rows]
        present = np.isfinite(scores) & (rows != 0) & ~silent[:, None]
        if k is not None and len(k) > 1:
            present &= np.arange(rows.shape[1]) < k[:, None]
        if not present.all():
            keys = np.where(present, keys, 0)
            scores = np.where(present, scores, np.float32(np.nan))
        missing = top - rows.shape[1]
        if missing > 0:
            keys = np.pad(keys, ((0, 0), (0, missing)))
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=np.nan)
        return keys, scores


def left_pad(rows: Keys, weight: Scores, max_history: int) -> tuple[Keys, Scores]:
    """Drop unknown items, keep the newest, push them to the right end.

    rows int64 [B, L], weight float32 [B, L] -> the same with L' = the longest
    remaining history, at least 1, at most `max_history` if that is positive.
    """
    rows, columns = left_padded(rows, (weight,), max_history)
    return rows, columns[0].astype(np.float32, copy=False)


def left_padded(
    rows: Keys, columns: Sequence[Column], max_history: int
) -> tuple[Keys, list[Column]]:
    """As left_pad, with any columns [B, L] that go with the rows; they pad with 0."""
    if rows.size and rows.all():  # nothing unknown, nothing padded: as they are
        newest = -max_history if max_history else 0
        return rows[:, newest:], [column[:, newest:] for column in columns]
    known = rows != 0
    # A stable sort by "known" moves the gaps to the left and keeps the order of the rest.
    order = np.argsort(known, axis=1, kind="stable")
    longest = int(known.sum(axis=1).max(initial=0))
    keep = max(1, min(longest, max_history) if max_history else longest)
    if rows.shape[1] == 0:
        nothing = (len(rows), 1)
        return np.zeros(nothing, np.int64), [np.zeros(nothing, c.dtype) for c in columns]
    order = order[:, -keep:]
    rows = np.take_along_axis(rows, order, axis=1)
    kept = rows != 0
    return rows, [
        np.where(kept, np.take_along_axis(column, order, axis=1), column.dtype.type(0))
        for column in columns
    ]
