"""The engine of a model whose score is the product of a user's vector and an item's.

The graph ends at the user's vector; a search (search.py) finds the items whose products
with it are greatest. Candidates are scored by the graph, from the same table of item
vectors, which lies on disk once and is mapped by both.

Graph inputs:  history INT64 [B, L] (rows 1..n, 0 pads), history_weight FP32 [B, L],
               candidates INT64 [B, C],
               optionally history_type INT64 [B, L] and history_age FP32 [B, L] (told.py)
Graph outputs: candidate_scores FP32 [B, C], embedding FP32 [B, d]
A score is the product of embedding and item vector; items of the history may score
differently (a model that copies from it): with the parameter "history_scores" the
graph's word on them counts.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from artifacts.engine import Answer, Bools, Question, Scores
from artifacts.engines.graph import left_padded
from artifacts.engines.nearest import PROBES
from artifacts.engines.scan import SCAN
from artifacts.engines.search import open_search
from artifacts.engines.told import TOLD, Column, told
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from plait.v1.manifest_pb2 import Manifest

ENGINE = "indexed"
# Manifest.engine_parameters: 1 where items of the history have scores of their own.
HISTORY_SCORES = "history_scores"
_INPUTS = {"history", "history_weight", "candidates", *TOLD}
_OUTPUTS = {"candidate_scores", "embedding"}


class IndexedEngine:
    """Runs model.onnx and a search; see the module."""

    def __init__(self, directory: Path, manifest: Manifest, keys: Keys) -> None:
        self.manifest = manifest
        self._session = open_session(directory / MODEL)
        self._index = KeyIndex(keys)
        parameters = manifest.engine_parameters
        search = open_search(directory, int(parameters.get(PROBES, 0)))
        self._max_history = int(parameters.get("max_history", 0))
        self._history_scores = bool(parameters.get(HISTORY_SCORES, 0))
        self._inputs = {i.name for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        if search is None:
            raise ArtifactCorrupt(
                f"{directory / SCAN}: is not there, the manifest's engine '{ENGINE}' searches it; "
                "copy or train the version anew"
            )
        self._search = search
        if not self._inputs <= _INPUTS or "history" not in self._inputs or not outputs >= _OUTPUTS:
            raise ArtifactCorrupt(
                f"{directory / MODEL}: the graph has inputs {sorted(self._inputs)} and outputs "
                f"{sorted(outputs)}, the manifest's engine '{ENGINE}' wants {sorted(_INPUTS)} "
                f"and {sorted(_OUTPUTS)}; train the version anew"
            )

    def run(self, question: Question) -> Answer:
        """Answer a batch; rows without a single known history item have no opinion."""
        rows = self._index.rows(question.history)
        unknown = int(np.count_nonzero((question.history != 0) & (rows == 0)))
        columns = {"history_weight": question.history_weight, **told(question, self._inputs)}
        rows, padded = left_padded(rows, tuple(columns.values()), self._max_history)
        history = {"history": rows, **dict(zip(columns, padded, strict=True))}
        silent: Bools = ~(rows != 0).any(axis=1)
        if question.candidates is None:
            # Only a model that copies says more of its history than the index does.
            asked = rows if self._history_scores else np.zeros((len(rows), 1), np.int64)
            own, embedding = self._ask(history, asked, silent)
            keys, scores = self._best(question, rows, own, embedding)
            return Answer(scores, keys, embedding, unknown)
        wanted = self._index.rows(question.candidates)
        unknown += int(np.count_nonzero((question.candidates != 0) & (wanted == 0)))
        scores, embedding = self._ask(history, wanted, silent)
        return Answer(scores=scores, embedding=embedding, unknown_items=unknown)

    def _ask(
        self, history: Mapping[str, Column], candidates: Keys, silent: Bools
    ) -> tuple[Scores, Scores]:
        """Return the scores of candidates [B, C], NaN without an opinion, and the users [B, d]."""
        feed = {**history, "candidates": candidates}
        scores, embedding = self._session.run(
            ["candidate_scores", "embedding"], {n: v for n, v in feed.items() if n in self._inputs}
        )
        said = (candidates != 0) & ~silent[:, None] & np.isfinite(scores)
        return (
            np.where(said, scores, np.float32(np.nan)),
            np.where(silent[:, None], np.float32(0), embedding),
        )

    def _best(
        self, question: Question, history: Keys, own: Scores, embedding: Scores
    ) -> tuple[Keys, Scores]:
        """Return each row's best k, keys and scores [B, max(k)], 0 and NaN behind the last."""
        k = question.k if question.k is not None and len(question.k) else np.ones(1, np.int64)
        top = max(1, int(k.max()))
        rows, scores = self._search.search(embedding, min(top, len(self._index)))
        if self._history_scores:
            rows, scores = with_history(rows, scores, history, own)
        short = top - rows.shape[1]
        if short > 0:
            rows = np.pad(rows, ((0, 0), (0, short)))
            scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        silent: Bools = ~(embedding != 0).any(axis=1)
        absent = (rows == 0) | ~np.isfinite(scores) | silent[:, None]
        absent |= np.arange(top)[None, :] >= k[:, None]
        keys = np.where(absent, 0, self._index.keys_by_row[rows])
        return keys, np.where(absent, np.float32(np.nan), scores)


def with_history(rows: Keys, scores: Scores, history: Keys, own: Scores) -> tuple[Keys, Scores]:
    """Put the history's items among the best with scores of their own; each item once.

    rows and scores [B, k] best first, history [B, L] and its scores `own` [B, L], NaN
    without an opinion -> the best k of both [B, k].
    """
    # What was found and is in the history counts there; a repeated item at its last place.
    known = (rows[:, :, None] == history[:, None, :]).any(axis=2)
    again = np.triu(history[:, :, None] == history[:, None, :], 1).any(axis=2)
    nothing = np.float32(-np.inf)
    both = np.concatenate([rows, history], axis=1)
    values = np.concatenate(
        [np.where(known, nothing, scores), np.where(again | np.isnan(own), nothing, own)], axis=1
    )
    order = np.argsort(-values, axis=1, kind="stable")[:, : rows.shape[1]]
    values = np.take_along_axis(values, order, axis=1)
    return np.where(np.isfinite(values), np.take_along_axis(both, order, axis=1), 0), values
