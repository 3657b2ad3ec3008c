"""The contract between a model service and what computes its answers.

An engine is one loaded artifact. It answers batched questions in numpy, knows
no transport and no shopper, and is the same object in a service, in offline
evaluation and in the test that proves an export: what is measured is what is
served.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from artifacts.errors import SampleMismatch
from artifacts.keys import Keys
from plait.v1.manifest_pb2 import Manifest, Sample

Scores = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Question:
    """A batch of questions. All arrays share the first axis, B >= 1.

    `candidates` None asks "retrieve: your best k"; otherwise "score: these".
    """

    # Item keys, oldest to newest, int64 [B, L]; 0 pads anywhere; unknown keys are skipped.
    history: Keys
    # Weight of each history item, float32 [B, L].
    history_weight: Scores
    # UTF-8 text per row, length B; "" means none. None where the model reads no text.
    query: tuple[str, ...] | None = None
    # Items wanted, per row, int64 [B]; ignored when scoring.
    k: Keys | None = None
    # Item keys to score, int64 [B, C], 0-padded.
    candidates: Keys | None = None
    # What each history event was, int64 [B, L]: numbers of plait.v1.EventType, 0 unknown.
    # None: nothing is known of any.
    history_type: Keys | None = None
    # How long before the question each history event was, seconds, float32 [B, L]; negative
    # where unknown. None: nothing is known of any.
    history_age: Scores | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine says to a Question.

    Retrieve: item_keys int64 [B, K] with K = max(k), best first, and their scores;
    rows with fewer answers end in key 0 and score NaN. Score: item_keys is None,
    scores float32 [B, C], NaN where the model has no opinion.
    """

    scores: Scores
    item_keys: Keys | None = None
    # User or query vector whose dot product with an item vector is the (dense) score,
    # float32 [B, d]; None where the model has none. A zero row means no opinion.
    embedding: Scores | None = None
    # History and candidate keys this model does not know, over the batch.
    unknown_items: int = 0
    # Queries of the batch whose vector was still kept, and those that had to be encoded.
    queries_kept: int = 0
    queries_encoded: int = 0


class Engine(Protocol):
    """One loaded artifact."""

    manifest: Manifest

    def run(self, question: Question) -> Answer:
        """Answer a batch. Safe to call from one worker thread at a time."""
        ...


def sample_question(sample: Sample) -> Question:
    """Turn a manifest's sample into a batch of one."""
    history = np.array([list(sample.history)], np.int64)
    weight = np.array([list(sample.history_weight)], np.float32)
    candidates = np.array([list(sample.candidates)], np.int64) if sample.candidates else None
    types, ages = list(sample.history_type), list(sample.history_age)
    return Question(
        history=history,
        history_weight=weight,
        query=(sample.query,),
        k=None if candidates is not None else np.array([sample.k], np.int64),
        candidates=candidates,
        history_type=np.array([types], np.int64) if types else None,
        history_age=np.array([ages], np.float32) if ages else None,
    )


def replay_samples(engine: Engine, where: str) -> None:
    """Ask every recorded sample; raise SampleMismatch if an answer differs.

    Scores must agree within 1e-3 of the answer's largest score, plus 1e-4; keys may
    differ only where such differences let neighbours change places.
    """
    for number, sample in enumerate(engine.manifest.samples):
        answer = engine.run(sample_question(sample))
        got = answer.scores[0]
        expected = np.array(list(sample.expected_scores), np.float32)
        scale = float(np.nanmax(np.abs(expected), initial=0.0))
        same = got.shape == expected.shape and np.allclose(
            got, expected, rtol=0.0, atol=1e-3 * scale + 1e-4, equal_nan=True
        )
        if same and answer.item_keys is not None:
            wanted = set(sample.expected_item_keys)
            found = set(answer.item_keys[0].tolist())
            same = len(found & wanted) >= 0.9 * len(wanted)
        if not same:
            raise SampleMismatch(
                f"{where}: sample {number} of manifest.json gave another answer than recorded; "
                "the files or library versions differ from those it was made with, train it anew"
            )


def record_sample(engine: Engine, sample: Sample) -> Sample:
    """Fill in the expected answer of a sample from an engine, in place."""
    answer = engine.run(sample_question(sample))
    del sample.expected_item_keys[:], sample.expected_scores[:]
    sample.expected_scores.extend(answer.scores[0].tolist())
    if answer.item_keys is not None:
        sample.expected_item_keys.extend(answer.item_keys[0].tolist())
    return sample
