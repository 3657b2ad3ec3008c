"""The engine of item-item weights over a catalogue too large for an array per request.

Every item says something about a hundred others. What a history says is added up
over those alone: a few thousand additions, whatever the size of the catalogue. The
graph turns a history into how much each of its places counts; the tables of what is
said lie beside it and are mapped, so that only what is asked for is read.

Graph input:  history INT64 [B, L] (rows 1..n, 0 pads), history_weight FP32 [B, L]
Graph output: strength FP32 [B, L]
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from artifacts.engine import Answer, Question, Scores
from artifacts.engines.graph import left_pad
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from plait.v1.manifest_pb2 import Manifest

ENGINE = "neighbours"
# int32 [n + 1, K]: the rows that row r says something about, 0 pads; float32 [n + 1, K]: what.
SAID_ABOUT = "said_about.npy"
SAID = "said.npy"
# float32 [n + 1], where there is one: what is added to an item that anything is said of.
OFFSETS = "offsets.npy"
_INPUTS = {"history", "history_weight"}
_OUTPUTS = {"strength"}
Indices = npt.NDArray[np.int32]


class Neighbourhoods:
    """Adds up what histories of rows say. One thread at a time: it keeps scratch arrays."""

    def __init__(
        self, strength: "Strength", about: Indices, said: Scores, offsets: Scores | None = None
    ) -> None:
        self._offsets = offsets
        self._strength = strength
        self._about = about
        self._said = said
        self._sums = np.zeros(len(about), np.float32)
        self._marks = np.zeros(len(about), np.int32)

    @classmethod
    def open(cls, directory: Path) -> "Neighbourhoods":
        """Open an artifact's graph and map its tables; raises ArtifactCorrupt naming the file."""
        try:
            about: Indices = np.load(directory / SAID_ABOUT, mmap_mode="r", allow_pickle=False)
            said: Scores = np.load(directory / SAID, mmap_mode="r", allow_pickle=False)
            offsets: Scores | None = None
            if (directory / OFFSETS).exists():
                offsets = np.load(directory / OFFSETS, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactCorrupt(
                f"{directory}: {SAID_ABOUT}, {SAID} or {OFFSETS} cannot be read ({error}); "
                "copy or train the version anew"
            ) from None
        if about.shape != said.shape or about.ndim != 2:
            raise ArtifactCorrupt(
                f"{directory / SAID}: {said.shape}, but {SAID_ABOUT} has {about.shape}; "
                "train the version anew"
            )
        if offsets is not None and offsets.shape != (len(about),):
            raise ArtifactCorrupt(
                f"{directory / OFFSETS}: {offsets.shape}, but {SAID_ABOUT} has {about.shape}; "
                "train the version anew"
            )
        return cls(Strength(directory), about, said, offsets)

    def __len__(self) -> int:
        return len(self._about) - 1

    def best(self, history: Keys, weight: Scores, k: int) -> tuple[Keys, Scores]:
        """Return the best k rows of each history [B, L] and their scores, 0 and -inf behind."""
        rows = np.zeros((len(history), k), np.int64)
        scores = np.full((len(history), k), -np.inf, np.float32)
        for at, strength in enumerate(self._strength(history, weight)):
            found, values = self._summed(history[at], strength)
            if len(found) > k:
                near = np.argpartition(-values, k - 1)[:k]
                found, values = found[near], values[near]
            order = np.argsort(-values, kind="stable")
            rows[at, : len(order)], scores[at, : len(order)] = found[order], values[order]
        return rows, scores

    def score(self, history: Keys, weight: Scores, candidates: Keys) -> Scores:
        """Return the scores of candidate rows [B, C], -inf where nothing is said of one."""
        scores = np.full(candidates.shape, -np.inf, np.float32)
        for at, strength in enumerate(self._strength(history, weight)):
            found, values = self._summed(history[at], strength)
            self._sums[found] = values
            mine = self._sums[candidates[at]]
            scores[at] = np.where((mine == 0) | (candidates[at] == 0), scores[at], mine)
            self._sums[found] = 0
        return scores

    def _summed(self, history: Keys, strength: Scores) -> tuple[Indices, Scores]:
        """Return the rows that were named, each once, and the sums of what was said."""
        spoke = history[strength != 0]
        about = self._about[spoke].ravel()
        said = (self._said[spoke] * strength[strength != 0][:, None]).ravel()
        np.add.at(self._sums, about, said)
        # Of the places that name a row the last one marked it.
        self._marks[about] = np.arange(len(about), dtype=np.int32)
        rows = about[self._marks[about] == np.arange(len(about))]
        sums = self._sums[rows]
        self._sums[about] = 0
        # Weights beyond all measure overflow; that is no opinion, as in the graph of all items.
        real = (rows != 0) & (sums != 0) & np.isfinite(sums)
        rows, sums = rows[real], sums[real]
        return rows, sums if self._offsets is None else sums + self._offsets[rows]


class Strength:
    """How much each place of a history counts: the graph."""

    def __init__(self, directory: Path) -> None:
        self._session = open_session(directory / MODEL)
        inputs = {i.name for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        if inputs != _INPUTS or outputs != _OUTPUTS:
            raise ArtifactCorrupt(
                f"{directory / MODEL}: the graph has inputs {sorted(inputs)} and outputs "
                f"{sorted(outputs)}, the manifest's engine '{ENGINE}' wants {sorted(_INPUTS)} "
                f"and {sorted(_OUTPUTS)}; train the version anew"
            )

    def __call__(self, history: Keys, weight: Scores) -> Scores:
        """[B, L] -> [B, L]."""
        feed = {"history": history, "history_weight": weight}
        found: Scores = self._session.run(["strength"], feed)[0]
        return found


class NeighbourEngine:
    """Answers questions by Neighbourhoods; see the module."""

    def __init__(self, directory: Path, manifest: Manifest, keys: Keys) -> None:
        self.manifest = manifest
        self._index = KeyIndex(keys)
        self._max_history = int(manifest.engine_parameters.get("max_history", 0))
        self._said = Neighbourhoods.open(directory)
        if len(self._said) != len(keys):
            raise ArtifactCorrupt(
                f"{directory / SAID}: {len(self._said)} items, item_keys.npy has {len(keys)}; "
                "train the version anew"
            )

    def run(self, question: Question) -> Answer:
        """Answer a batch; rows without a single known history item have no opinion."""
        rows = self._index.rows(question.history)
        unknown = int(np.count_nonzero((question.history != 0) & (rows == 0)))
        rows, weight = left_pad(rows, question.history_weight, self._max_history)
        if question.candidates is not None:
            wanted = self._index.rows(question.candidates)
            unknown += int(np.count_nonzero((question.candidates != 0) & (wanted == 0)))
            scores = self._said.score(rows, weight, wanted)
            scores[~np.isfinite(scores)] = np.nan
            return Answer(scores=scores, unknown_items=unknown)
        k = question.k if question.k is not None and len(question.k) else np.ones(1, np.int64)
        top = max(1, int(k.max()))
        best, scores = self._said.best(rows, weight, top)
        absent = (best == 0) | (np.arange(top)[None, :] >= k[:, None])
        keys = np.where(absent, 0, self._index.keys_by_row[best])
        scores = np.where(absent, np.float32(np.nan), scores)
        return Answer(scores=scores, item_keys=keys, unknown_items=unknown)
