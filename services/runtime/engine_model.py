"""Any recommender behind the runtime's contract: retrieve and score over an engine.

The engine answers batches in numpy (artifacts/engine.py). This adds what a
server must: bounds, defaults, and padding of unequal questions into one batch.
Histories are padded on the left, where 0 means nothing to every model; candidate
lists on the right, and the excess is cut off again.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np

from artifacts import loader
from artifacts.engine import Answer, Engine, Question, Scores, sample_question
from artifacts.engines.told import TOLD
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import Keys
from inference import inference_pb2 as pb
from services.runtime import validation
from services.runtime.errors import InvalidArgument
from services.runtime.metrics import QUERY_VECTORS, UNKNOWN_ITEMS
from services.runtime.model import Array, Outputs
from services.runtime.told import read_ages, read_types, stacked_ages, stacked_types

MAX_HISTORY = 1000
MAX_CANDIDATES = 5000
MAX_K = 1000
MAX_QUERY = 256
DEFAULT_K = 100
_WARM_UP_SECONDS = 10.0
RETRIEVE = "retrieve"
SCORE = "score"


@dataclass(frozen=True, slots=True)
class Asked:
    """One call's questions; see artifacts.engine.Question for the arrays."""

    question: Question
    kind: str
    answers: tuple[str, ...]
    # Width of the answer: the largest k, or the number of candidates.
    width: int

    @property
    def rows(self) -> int:
        """Rows this call brings."""
        return len(self.question.history)


class EngineModel:
    """Serves one artifact; `name` is how callers and metrics call it."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.version = int(engine.manifest.version)
        self.inputs = tuple(engine.manifest.inputs)
        self.outputs = tuple(engine.manifest.outputs)
        names = {s.name for s in self.inputs}
        self._reads_query = "query" in names
        self._reads_told = not names.isdisjoint(TOLD)
        widths = [s.shape[1] for s in self.outputs if s.name == "embedding"]
        self.embedding_width = widths[0] if widths else 0
        tail = ("embedding",) if widths else ()
        self._answers = {RETRIEVE: ("item_keys", "scores", *tail), SCORE: ("scores", *tail)}
        self._unknown = UNKNOWN_ITEMS.labels(name)
        self._vectors = (
            {outcome: QUERY_VECTORS.labels(name, outcome) for outcome in ("kept", "encoded")}
            if self._reads_query
            else {}
        )

    @classmethod
    def open(cls, name: str, directory: Path) -> "EngineModel":
        """Load an artifact and prove it; raises ArtifactError."""
        engine = loader.load(directory)
        path = directory / "manifest.json"
        if engine.manifest.source != name:
            raise ArtifactCorrupt(
                f"{path}: an artifact of source '{engine.manifest.source}' where '{name}' belongs; "
                f"train one with `plait train`"
            )
        if str(engine.manifest.version) != directory.name:
            raise ArtifactCorrupt(
                f"{path}: says version {engine.manifest.version}; versions are immutable, "
                "give the directory its own name back"
            )
        return cls(name, engine)

    def read(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, pb.InferParameter]
    ) -> Asked:
        """Read histories, weights, queries, k and candidates; raises InvalidArgument."""
        rows = next(len(a) for name, a in inputs.items() if name != "k")
        history = cast(Keys, inputs.get("history", np.zeros((rows, 0), np.int64)))
        validation.check_width("history", history, MAX_HISTORY)
        candidates = cast(Keys | None, inputs.get("candidates"))
        if candidates is not None:
            validation.check_width("candidates", candidates, MAX_CANDIDATES, least=1)
        k = _read_k(inputs.get("k"), parameters, rows)
        question = Question(
            history=history,
            history_weight=_read_weight(inputs.get("history_weight"), history),
            query=self._read_query(inputs.get("query"), rows),
            k=k if candidates is None else None,
            candidates=candidates,
            history_type=read_types(inputs, history) if self._reads_told else None,
            history_age=read_ages(inputs, history) if self._reads_told else None,
        )
        kind = RETRIEVE if candidates is None else SCORE
        width = int(k.max()) if candidates is None else candidates.shape[1]
        return Asked(question, kind, self._answers[kind], width)

    def _read_query(self, query: Array | None, rows: int) -> tuple[str, ...] | None:
        if not self._reads_query:
            return None
        return ("",) * rows if query is None else validation.read_texts("query", query, MAX_QUERY)

    def merge(self, questions: Sequence[Asked]) -> Question:
        """Pad questions of one kind into one batch."""
        if len(questions) == 1:
            return questions[0].question
        parts = [a.question for a in questions]
        texts = [q.query for q in parts if q.query is not None]
        candidates = [q.candidates for q in parts if q.candidates is not None]
        ks = [q.k for q in parts if q.k is not None]
        history = _stack([q.history for q in parts], np.int64, right=True)
        return Question(
            history=history,
            history_weight=_stack([q.history_weight for q in parts], np.float32, right=True),
            query=tuple(t for group in texts for t in group) if texts else None,
            k=np.concatenate(ks) if ks else None,
            candidates=_stack(candidates, np.int64, right=False) if candidates else None,
            history_type=stacked_types(parts, history.shape[1]) if self._reads_told else None,
            history_age=stacked_ages(parts, history.shape[1]) if self._reads_told else None,
        )

    def infer(self, batch: Question) -> Answer:
        """Run the engine."""
        return self.engine.run(batch)

    def split(self, result: Answer, questions: Sequence[Asked]) -> list[Outputs]:
        """Cut the answer into one per call, each as wide as that call asked."""
        if result.unknown_items:
            self._unknown.inc(result.unknown_items)
        if self._vectors:
            self._vectors["kept"].inc(result.queries_kept)
            self._vectors["encoded"].inc(result.queries_encoded)
        embedding = result.embedding
        if embedding is None and self.embedding_width:
            embedding = np.zeros((len(result.scores), self.embedding_width), np.float32)
        answers: list[Outputs] = []
        start = 0
        for asked in questions:
            rows = slice(start, start + asked.rows)
            start += asked.rows
            cut: dict[str, Array] = {"scores": result.scores[rows, : asked.width]}
            if result.item_keys is not None:
                cut["item_keys"] = result.item_keys[rows, : asked.width]
            if embedding is not None:
                cut["embedding"] = embedding[rows]
            answers.append(cut)
        return answers

    def warm_up(self, rows: Sequence[int]) -> None:
        """Ask the manifest's samples, each repeated to every batch size, for a while at most.

        A model that takes long for a question gains nothing by many, and nobody is served
        meanwhile.
        """
        end = time.monotonic() + _WARM_UP_SECONDS
        for sample, n in product(self.engine.manifest.samples, rows):
            self.engine.run(_repeat(sample_question(sample), n))
            if time.monotonic() > end:
                return


def _read_weight(weight: Array | None, history: Keys) -> Scores:
    if weight is None:
        return np.ones(history.shape, np.float32)
    if weight.shape != history.shape:
        raise InvalidArgument(
            "history_weight", f"shape {list(weight.shape)}, but history has {list(history.shape)}"
        )
    validation.check_finite("history_weight", weight)
    return cast(Scores, weight)


def _read_k(k: Array | None, parameters: Mapping[str, pb.InferParameter], rows: int) -> Keys:
    """Items wanted per row: an input of one number or one a row, a parameter, or 100."""
    if k is None and "k" in parameters:
        if parameters["k"].WhichOneof("parameter_choice") != "int64_param":
            raise InvalidArgument("k", "the parameter must be an int64")
        k = np.array([parameters["k"].int64_param], np.int64)
    if k is None:
        return np.full(rows, DEFAULT_K, np.int64)
    if k.shape not in {(1,), (1, 1), (rows,), (rows, 1)}:
        raise InvalidArgument("k", f"wants shape [1], [{rows}] or [{rows}, 1], got {list(k.shape)}")
    values = cast(Keys, k.ravel() if k.size == rows else np.repeat(k.ravel(), rows))
    # As a list: of a few numbers, Python finds the largest in a fifth of numpy's time.
    wanted = values.tolist()
    if min(wanted) < 1 or max(wanted) > MAX_K:
        raise InvalidArgument("k", f"must be within 1 .. {MAX_K}")
    return values


def _stack(parts: Sequence[Array], dtype: type[np.generic], *, right: bool) -> np.ndarray:
    """Put [b, n] arrays below each other, 0-padded to the widest, aligned right or left."""
    width = max(p.shape[1] for p in parts)
    whole = np.zeros((sum(len(p) for p in parts), width), dtype)
    start = 0
    for part in parts:
        end = start + len(part)
        at = slice(width - part.shape[1], width) if right else slice(0, part.shape[1])
        whole[start:end, at] = part
        start = end
    return whole


def _repeat(question: Question, n: int) -> Question:
    def tile(array: Array | None) -> np.ndarray | None:
        return None if array is None else np.repeat(array, n, axis=0)

    return Question(
        history=cast(Keys, tile(question.history)),
        history_weight=cast(Scores, tile(question.history_weight)),
        query=None if question.query is None else question.query * n,
        k=tile(question.k),
        candidates=tile(question.candidates),
        history_type=tile(question.history_type),
        history_age=tile(question.history_age),
    )
