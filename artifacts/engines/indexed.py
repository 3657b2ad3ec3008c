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

from artifacts.compiled import FLOATS, INTS, WRITTEN, WRITTEN_INTS, compiled
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
        # Most questions bring known items alone; what only others need is left out for them.
        whole = bool(rows.all()) and rows.size > 0
        unknown = 0 if whole else int(np.count_nonzero((question.history != 0) & (rows == 0)))
        columns = {"history_weight": question.history_weight, **told(question, self._inputs)}
        rows, padded = left_padded(rows, tuple(columns.values()), self._max_history)
        history = {"history": rows, **dict(zip(columns, padded, strict=True))}
        silent: Bools | None = None if whole else ~(rows != 0).any(axis=1)
        if question.candidates is None:
            # Only a model that copies says more of its history than the search does.
            asked = rows if self._history_scores else np.zeros((len(rows), 1), np.int64)
            own, embedding = self._ask(history, asked, silent)
            keys, scores = self._best(question, rows, own, embedding)
            return Answer(scores, keys, embedding, unknown)
        wanted = self._index.rows(question.candidates)
        unknown += int(np.count_nonzero((question.candidates != 0) & (wanted == 0)))
        scores, embedding = self._ask(history, wanted, silent)
        said = (wanted != 0) & np.isfinite(scores)
        if silent is not None:
            said &= ~silent[:, None]
        scores = np.where(said, scores, np.float32(np.nan))
        return Answer(scores=scores, embedding=embedding, unknown_items=unknown)

    def _ask(
        self, history: Mapping[str, Column], candidates: Keys, silent: Bools | None
    ) -> tuple[Scores, Scores]:
        """Return the scores of candidates [B, C] and the users [B, d], zeros for the silent."""
        feed = {**history, "candidates": candidates}
        scores: Scores
        embedding: Scores
        scores, embedding = self._session.run(
            ["candidate_scores", "embedding"], {n: v for n, v in feed.items() if n in self._inputs}
        )
        if silent is not None and silent.any():
            embedding = np.where(silent[:, None], np.float32(0), embedding)
        return scores, embedding

    def _best(
        self, question: Question, history: Keys, own: Scores, embedding: Scores
    ) -> tuple[Keys, Scores]:
        """Return each row's best k, keys and scores [B, max(k)], 0 and NaN behind the last."""
        k = question.k if question.k is not None and len(question.k) else np.ones(1, np.int64)
        top = max(1, int(k.max()))
        # Nothing is found for the silent: their vectors are zeros, their histories empty.
        rows, scores = self._search.search(embedding, min(top, len(self._index)))
        if self._history_scores:
            rows, scores = with_history(rows, scores, history, own)
        short = top - rows.shape[1]
        if short > 0:
            rows = np.pad(rows, ((0, 0), (0, short)))
            scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        there = (rows != 0) & np.isfinite(scores)
        if len(k) > 1:
            there &= np.arange(top)[None, :] < k[:, None]
        keys = self._index.keys_by_row[rows]
        if there.all():
            return keys, scores
        return np.where(there, keys, 0), np.where(there, scores, np.float32(np.nan))


def with_history(rows: Keys, scores: Scores, history: Keys, own: Scores) -> tuple[Keys, Scores]:
    """Put the history's items among the best with scores of their own; each item once.

    rows and scores [B, k] best first, history [B, L] and its scores `own` [B, L], NaN
    without an opinion -> the best k of both [B, k].
    """
    best, values = np.zeros_like(rows), np.full_like(scores, -np.inf)
    for at in range(len(rows)):
        _merge(rows[at], scores[at], history[at], own[at], best[at], values[at])
    return best, values


@compiled(INTS, FLOATS, INTS, FLOATS, WRITTEN_INTS, WRITTEN, alone=True)
def _merge(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    rows: Keys, scores: Scores, history: Keys, own: Scores, best: Keys, values: Scores
) -> None:
    """Write the best of both to `best` and `values` [k]; of equals, what was found is first."""
    ranked = np.empty(len(history), np.int64)
    many = 0
    for at in range(len(history)):
        if history[at] == 0 or not np.isfinite(own[at]) or history[at] in history[at + 1 :]:
            continue
        place = many
        while place > 0 and own[ranked[place - 1]] < own[at]:
            ranked[place] = ranked[place - 1]
            place -= 1
        ranked[place] = at
        many += 1
    mine, at = 0, 0
    for place in range(len(best)):
        # What was found and is in the history counts there.
        while at < len(rows) and (rows[at] == 0 or rows[at] in history):
            at += 1
        if mine < many and (at == len(rows) or own[ranked[mine]] > scores[at]):
            best[place], values[place] = history[ranked[mine]], own[ranked[mine]]
            mine += 1
        elif at < len(rows):
            best[place], values[place] = rows[at], scores[at]
            at += 1
        else:
            return
