"""The text engine: items that answer a query, by meaning and by words.

The dense half compares vectors (model.onnx), the lexical half counts words
(lexical.py). One idea: both halves are normalised against the whole catalogue,
never against the candidates at hand, so an item's score for a query is the same
whether it was retrieved or the caller brought it:

    score = w * max(cosine, 0) + (1 - w) * bm25 / (the query's best bm25)

in 0..1, where w is the same for all queries that the encoder reads and less for others,
or learned for each (query_weight.py). A query is asked twice: its vector is moved some way
to the mean of the items that both halves found best (pseudo-relevance feedback, Rocchio 1971;
with dense vectors Li et al. 2021), since items say more of what is meant than two words do.
Without a query, the profile of the history (weighted mean of its item vectors) is
compared instead and the score is the cosine; with a query the history is not
read. Neither gives no opinion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tantivy

from artifacts.engine import Answer, Bools, Question, Scores
from artifacts.engines.distinct import WHERE, Distinct
from artifacts.engines.encoder import WIDTH, TextEncoder, VectorCache
from artifacts.engines.graph import left_pad
from artifacts.engines.lexical import FOLDED, KANA, LEXICAL, MAX_CHARACTERS, PIECES, LexicalIndex
from artifacts.engines.nearest import PROBES
from artifacts.engines.query_weight import (
    CATALOGUE_READ,
    FED_BACK,
    UNREAD_WEIGHT,
    learned_in,
    traits,
    weight_of,
    weight_read,
)
from artifacts.engines.search import open_search
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from plait.v1.manifest_pb2 import Manifest

_INPUTS = {"vector", "history", "history_weight", "candidates"}
_FOUND = ["texts", "scores"]
_OUTPUTS = ["candidate_scores", "text_vector"]
# Weight of the dense half, unless the manifest's engine_parameters say otherwise.
DENSE_WEIGHT = 0.8
# The same where the encoder reads hardly anything: chosen on half of the judged searches of
# decision 18, written in Cyrillic letters.
UNREAD = 0.2
# The dense half nominates at least this many items of a query.
_LEAST_DEPTH = 200
# The lexical half nominates this many: most queries match fewer, and then all that
# they match is known at once. Asking for given rows afterwards is slower (2 ms).
_LEXICAL_DEPTH = 1_000
# How far a query's vector is moved to the items that were found best, unless the manifest says
# otherwise, and how many of them: chosen on half of the judged searches of decision 18.
FEEDBACK = 0.3
_FED_BACK = 3
# Queries whose vector is kept, 1.5 kB each.
_KEPT = 4_096
# A best BM25 below this (only very common or mistyped words) counts as this much:
# weak evidence must not become full marks.
LEAST_LEXICAL = 40.0
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class _Words:
    """One query's lexical side: its parsed form and its best rows over the catalogue."""

    query: tantivy.Query | None
    rows: Keys  # [m], best first
    scores: Scores  # [m], unnormalised
    # True where `rows` may not be all that match.
    cut: bool
    # Of the dense half, for this query.
    weight: np.float32

    @property
    def scale(self) -> np.float32:
        """What the query's lexical scores are divided by."""
        return np.float32(max(LEAST_LEXICAL, self.scores.max(initial=0.0)))


# By query, and how many rows were asked for.
_ByWords: TypeAlias = dict[tuple[str, int], _Words]


@dataclass(frozen=True, slots=True)
class _Dense:
    """The dense half of a batch; rows [B, k] end in 0 where there are no more."""

    rows: Keys
    scores: Scores
    candidate_scores: Scores
    vector: Scores


class TextEngine:
    """Runs model.onnx, encoder.onnx and lexical/; see the module."""

    def __init__(self, directory: Path, manifest: Manifest, keys: Keys) -> None:
        self.manifest = manifest
        self._index = KeyIndex(keys)
        # Also what new items are embedded with; it keeps their vectors, queries' are kept below.
        self.encoder = TextEncoder(directory)
        self._kept = VectorCache(_KEPT)
        self._session = open_session(directory / MODEL)
        parameters = manifest.engine_parameters
        made = {name: bool(parameters.get(name, 0)) for name in (PIECES, FOLDED, KANA)}
        self._lexical = LexicalIndex(directory / LEXICAL, **made)
        self._weight = float(parameters.get("dense_weight", DENSE_WEIGHT))
        # An artifact of before has one weight, whatever it reads.
        self._unread = float(parameters.get(UNREAD_WEIGHT, self._weight))
        self._read = float(parameters.get(CATALOGUE_READ, 1.0))
        # Nor does it ask twice.
        self._feedback = float(parameters.get(FED_BACK, 0.0))
        self._learned = learned_in(parameters)
        self._max_history = int(parameters.get("max_history", 0))
        # An artifact of before has a graph that scores every item.
        self._search = open_search(directory, int(parameters.get(PROBES, 0)))
        inputs = {i.name for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        wanted = _INPUTS if self._search else _INPUTS | {"k"}
        promised = {*_OUTPUTS} if self._search else {*_FOUND, *_OUTPUTS}
        if inputs != wanted or outputs != promised:
            raise ArtifactCorrupt(
                f"{directory / MODEL}: the graph has inputs {sorted(inputs)} and outputs "
                f"{sorted(outputs)}, the engine 'text' wants {sorted(wanted)} and "
                f"{sorted(promised)}; train the version anew"
            )
        self._texts = Distinct(directory / WHERE, len(keys))

    def run(self, question: Question) -> Answer:
        """Answer a batch; a row with neither a query nor a known item has no opinion."""
        queries = question.query or ("",) * len(question.history)
        # A query is cut where the public API would refuse it.
        queries = tuple(text[:MAX_CHARACTERS].strip() for text in queries)
        asked = [row for row, text in enumerate(queries) if text]
        vector = np.zeros((len(queries), WIDTH), np.float32)
        # What words find is asked of the index once, for both times that a query is asked.
        words: _ByWords = {}
        vector[asked], kept = self._look_up([queries[row] for row in asked], words)
        # Without a single word (control characters) it is as if nothing had been asked.
        queries = tuple(q if v.any() else "" for q, v in zip(queries, vector, strict=True))
        if question.candidates is not None:
            answer = self._score(question, queries, vector, question.candidates, words)
        else:
            answer = self._retrieve(question, queries, vector, words)
        return replace(answer, queries_kept=kept, queries_encoded=len(asked) - kept)

    def _look_up(self, queries: Sequence[str], words: _ByWords) -> tuple[Scores, int]:
        """Return the vectors of queries, float32 [B, 384], and how many were still kept."""
        found = {text: self._kept.get(text) for text in queries}
        fresh = tuple(text for text, vector in found.items() if vector is None)
        if fresh:
            made = self.encoder.encode(fresh)
            if self._feedback:
                made = self._fed_back(fresh, made, words)
            for text, vector in zip(fresh, made, strict=True):
                self._kept.put(text, vector)
                found[text] = vector
        vectors = np.array([found[text] for text in queries], np.float32).reshape(-1, WIDTH)
        return vectors, len(queries) - len(fresh)

    def _fed_back(self, queries: tuple[str, ...], vectors: Scores, words: _ByWords) -> Scores:
        """Return the vectors of queries, moved to what they find; a zero row stays one."""
        shape = len(queries), 1
        nothing = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        best = Question(*nothing, query=queries, k=np.full(len(queries), _FED_BACK, np.int64))
        keys = self._retrieve(best, queries, vectors, words).item_keys
        if keys is None:
            return vectors
        like_these = Question(keys, np.ones(keys.shape, np.float32))
        unasked, nobody = np.zeros_like(vectors), np.zeros(shape, np.int64)
        mean = self._dense(like_these, unasked, nobody, 0)[0].vector
        moved = (1 - self._feedback) * vectors + self._feedback * mean
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        asked = vectors.any(axis=1, keepdims=True) & (length > 0)
        return np.where(asked, moved / np.maximum(length, _TINY), vectors).astype(np.float32)

    def _score(
        self,
        question: Question,
        queries: tuple[str, ...],
        vector: Scores,
        keys: Keys,
        by_words: _ByWords,
    ) -> Answer:
        wanted = self._index.rows(keys)
        unknown = int(np.count_nonzero((keys != 0) & (wanted == 0)))
        dense, more = self._dense(question, vector, wanted, 0)
        scores = dense.candidate_scores
        for row, text in enumerate(queries):
            if text:
                words = self._words(text, _LEXICAL_DEPTH, by_words)
                lexical = self._lexical_scores(words, wanted[row])
                scores[row] = _blend(scores[row], lexical, words)
        silent = ~(dense.vector != 0).any(axis=1)
        scores = np.where((wanted == 0) | silent[:, None], np.float32(np.nan), scores)
        return Answer(scores=scores, embedding=dense.vector, unknown_items=unknown + more)

    def _retrieve(
        self, question: Question, queries: tuple[str, ...], vector: Scores, by_words: _ByWords
    ) -> Answer:
        k = np.ones(len(queries), np.int64) if question.k is None else question.k
        top = max(1, int(k.max(initial=1)))
        limit = max(_LEXICAL_DEPTH, 2 * top)
        words = {
            row: self._words(text, limit, by_words) for row, text in enumerate(queries) if text
        }
        # Words change the order of what meaning finds; without any, it stands.
        depth = min(max(_LEAST_DEPTH, 2 * top) if words else top, len(self._index))
        widest = max((len(w.rows) for w in words.values()), default=1)
        nominated = np.zeros((len(queries), max(1, widest)), np.int64)
        for row, found in words.items():
            nominated[row, : len(found.rows)] = found.rows
        dense, unknown = self._dense(question, vector, nominated, depth)
        keys = np.zeros((len(queries), top), np.int64)
        scores = np.full((len(queries), top), np.nan, np.float32)
        for row in np.flatnonzero((dense.vector != 0).any(axis=1)).tolist():
            named = dense.rows[row] != 0
            rows, values = dense.rows[row][named], dense.scores[row][named]
            if row in words:
                rows, values = self._merge(dense, row, words[row], int(k[row]))
            size = min(int(k[row]), top, len(rows))
            keys[row, :size] = self._index.keys_by_row[rows[:size]]
            scores[row, :size] = values[:size]
        return Answer(scores=scores, item_keys=keys, embedding=dense.vector, unknown_items=unknown)

    def _merge(self, dense: _Dense, row: int, words: _Words, k: int) -> tuple[Keys, Scores]:
        """Unite what both halves nominate for one query, best first, each item once."""
        cosine = dense.candidate_scores[row, : len(words.rows)]
        values = _blend(cosine, words.scores, words)
        fresh: Bools = (dense.rows[row] != 0) & ~np.isin(dense.rows[row], words.rows)
        rest, cosine = dense.rows[row][fresh], dense.scores[row][fresh]
        if words.cut and len(values) >= k > 0:
            # The words of these items count no more than those of the last one listed:
            # only the few that could still come among the best k are looked up.
            bound = _blend(cosine, words.scores[-1:], words)
            hopeful = bound >= np.partition(values, -k)[-k]
            rest, cosine = rest[hopeful], cosine[hopeful]
        lexical = self._lexical_scores(words, rest)
        rows = np.concatenate([words.rows, rest])
        values = np.concatenate([values, _blend(cosine, lexical, words)])
        order = np.argsort(-values, kind="stable")
        return rows[order], values[order]

    def _words(self, text: str, limit: int, asked: _ByWords) -> _Words:
        found = asked.get((text, limit))
        if found is None:
            found = asked[text, limit] = self._search_words(text, limit)
        return found

    def _search_words(self, text: str, limit: int) -> _Words:
        query = self._lexical.parse(text)
        if query is None:
            nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
            return _Words(None, *nothing, cut=False, weight=self._weight_of(text))
        rows, scores = self._lexical.search(query, limit)
        return _Words(query, rows, scores, len(rows) >= limit, self._weight_of(text))

    def _weight_of(self, text: str) -> np.float32:
        if self._learned is None:
            read = min(self._read, self.encoder.reads(text))
            return np.float32(weight_read(self._weight, self._unread, read))
        found = traits(self._lexical.words(text), self._lexical.size)
        return np.float32(weight_of(found, self._learned))

    def _lexical_scores(self, words: _Words, rows: Keys) -> Scores:
        """Return the unnormalised lexical scores of rows [m]; 0 where no word matches."""
        scores = np.zeros(len(rows), np.float32)
        if words.query is None or not len(words.rows) or not len(rows):
            return scores
        order = np.argsort(words.rows)
        at = order[np.minimum(np.searchsorted(words.rows, rows, sorter=order), len(order) - 1)]
        listed = words.rows[at] == rows
        scores[listed] = words.scores[at[listed]]
        if words.cut and not listed.all():
            scores[~listed] = self._lexical.score(words.query, rows[~listed])
        return scores

    def _dense(
        self, question: Question, vector: Scores, candidates: Keys, k: int
    ) -> tuple[_Dense, int]:
        """Run the graph and find the best k; also return how many of the history are unknown."""
        rows = self._index.rows(question.history)
        unknown = int(np.count_nonzero((question.history != 0) & (rows == 0)))
        history, weight = left_pad(rows, question.history_weight, self._max_history)
        feed = {
            "vector": vector,
            "history": history,
            "history_weight": weight,
            "candidates": candidates,
        }
        few = max(1, min(k, len(self._texts)))
        if self._search is None:
            feed["k"] = np.array([few], np.int64)
            found, cosines, scores, used = self._session.run([*_FOUND, *_OUTPUTS], feed)
        else:
            scores, used = self._session.run(_OUTPUTS, feed)
            # Candidates that are given need no search.
            found, cosines = self._search.search(used, few if k else 0)
        return _Dense(*self._texts.rows(found, cosines, k), scores, used), unknown


def _blend(cosine: Scores, lexical: Scores, words: _Words) -> Scores:
    weight = words.weight
    blended: Scores = weight * np.maximum(cosine, 0) + (1 - weight) * (lexical / words.scale)
    return np.clip(blended, 0, 1)
