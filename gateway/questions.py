"""Questions of many shoppers as one request of the Open Inference Protocol, and back.

A batch is padded to its longest row: histories on the left, candidates on the
right, with item key 0, which means nothing to every model. What comes back is cut
to what each row asked for, as views on the answer's own bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from artifacts.engines.told import AGE, TOLD, TYPE, filled_ages, filled_types
from gateway.fusion.types import Floats, Ints
from gateway.replicas.contract import Contract
from gateway.types import Question
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, TensorError, read_outputs, write_request

# Says whether at least one of these item keys means anything here.
Knows = Callable[[Ints], bool]


class NoNumbers(TensorError):
    """Not one score of an answer is a number; `count` items were named."""

    def __init__(self, count: int) -> None:
        super().__init__("scores: none is a number")
        self.count = count


def anything(keys: Ints) -> bool:
    """Know all items, where there is no catalogue to ask."""
    del keys
    return True


class RowAnswer(NamedTuple):
    """What a model answered to one question; see gateway.types.SourceAnswer."""

    keys: Ints  # [K]
    scores: Floats  # [K]
    embedding: Floats | None  # [d]
    invalid: int


def suits(contract: Contract, question: Question) -> bool:
    """Say whether a model can make anything of a question."""
    if question.candidates is not None and (
        "candidates" not in contract.inputs or not len(question.candidates)
    ):
        return False  # services refuse a list of nothing, as they would any mistake
    by_history = "history" in contract.inputs and len(question.history) > 0
    return by_history or ("query" in contract.inputs and bool(question.text))


def together(question: Question) -> tuple[bool, str]:
    """Return what questions must have in common to ride in one request."""
    return question.candidates is not None, question.version


def write_questions(
    model: str, contract: Contract, questions: Sequence[Question]
) -> pb.ModelInferRequest:
    """Put questions of one kind into the words of a model: what it declares, and only that."""
    have: dict[str, Array] = {}
    if "history" in contract.inputs:
        have["history"] = _left([q.history for q in questions], np.int64)
    if "history_weight" in contract.inputs:
        have["history_weight"] = _left([q.history_weight for q in questions], np.float32)
    if not contract.inputs.isdisjoint(TOLD):
        have |= _told(contract, questions)
    if "query" in contract.inputs and any(q.text for q in questions):
        have["query"] = np.array([[q.text.encode()] for q in questions], object)
    most = max(q.k for q in questions)
    lists = [q.candidates for q in questions if q.candidates is not None]
    if lists:
        have["candidates"] = _right(lists)
        wanted = ["scores"]
    else:
        if "k" in contract.inputs:
            # One number for all rows: the most that any wants, and each takes its own.
            have["k"] = np.array([most], np.int64)
        wanted = ["item_keys", "scores"]
    if "embedding" in contract.outputs and any(q.embedding for q in questions):
        wanted.append("embedding")
    request = write_request(model, have, wanted, questions[0].version)
    if not lists and "k" not in have:
        request.parameters["k"].int64_param = most
    return request


def _told(contract: Contract, questions: Sequence[Question]) -> dict[str, Array]:
    """Return what few models ask for: the types and ages of the events [B, L]."""
    found: dict[str, Array] = {}
    if TYPE in contract.inputs:
        types = [filled_types(q.history_type, q.history) for q in questions]
        found[TYPE] = _left(types, np.int64)
    if AGE in contract.inputs:
        found[AGE] = _left([filled_ages(q.history_age, q.history) for q in questions], np.float32)
    return found


def read_answers(
    response: pb.ModelInferResponse, questions: Sequence[Question], knows: Knows = anything
) -> list[RowAnswer]:
    """Return one answer per question, in order; raises TensorError naming what does not fit.

    `knows` says whether the shop has any of some items.
    """
    outputs = read_outputs(response)
    size = len(questions)
    embedding = None
    if "embedding" in outputs:
        embedding = cast(Floats, _rows(outputs, "embedding", np.float32, size))
    scores = cast(Floats, _rows(outputs, "scores", np.float32, size))
    if questions[0].candidates is not None:
        return _scored(scores, embedding, questions)
    keys = cast(Ints, _rows(outputs, "item_keys", np.int64, size))
    if keys.shape != scores.shape:
        raise TensorError(f"scores: {scores.shape[1]} for {keys.shape[1]} items")
    _check_sense(keys, scores, knows)
    invalid = np.count_nonzero(~np.isfinite(scores) & (keys != 0), axis=1).tolist()
    vectors = _vectors(embedding, size)
    return [
        RowAnswer(keys[at, : q.k], scores[at, : q.k], vectors[at], invalid[at])
        for at, q in enumerate(questions)
    ]


def _check_sense(keys: Ints, scores: Floats, knows: Knows) -> None:
    """Refuse an answer of which nothing can be used: its server is broken, not modest.

    Naming nothing is an answer. keys and scores [B, k].
    """
    named = keys != 0
    if not named.any():
        return
    if not np.isfinite(scores[named]).any():
        raise NoNumbers(int(named.sum()))
    # The best of each row are enough in all but bad cases.
    if not knows(keys[:, 0]) and not knows(keys[named]):
        raise TensorError("item_keys: the catalogue has none of these items")


def _scored(
    scores: Floats, embedding: Floats | None, questions: Sequence[Question]
) -> list[RowAnswer]:
    """Cut the scores to each row's candidates; NaN is a fair answer here, infinity is not."""
    lists = [cast(Ints, q.candidates) for q in questions]
    widest = max(len(listed) for listed in lists)
    if scores.shape[1] != widest:
        raise TensorError(f"scores: {scores.shape[1]} for {widest} items")
    invalid = np.count_nonzero(np.isinf(scores), axis=1).tolist()
    vectors = _vectors(embedding, len(questions))
    return [
        RowAnswer(listed, scores[at, : len(listed)], vectors[at], invalid[at])
        for at, listed in enumerate(lists)
    ]


def _vectors(embedding: Floats | None, size: int) -> Sequence[Floats | None]:
    return [None] * size if embedding is None else list(embedding)


def _left(parts: Sequence[Array], dtype: type[np.generic]) -> Array:
    """Put rows below each other, aligned right, 0 before the shorter ones."""
    if len(parts) == 1:
        return parts[0][None, :]
    width = max(len(part) for part in parts)
    whole = np.zeros((len(parts), width), dtype)
    for at, part in enumerate(parts):
        if len(part):
            whole[at, -len(part) :] = part
    return cast(Array, whole)


def _right(parts: Sequence[Ints]) -> Array:
    """Put rows below each other, aligned left, 0 behind the shorter ones."""
    if len(parts) == 1:
        return cast(Array, parts[0][None, :])
    whole = np.zeros((len(parts), max(len(part) for part in parts)), np.int64)
    for at, part in enumerate(parts):
        whole[at, : len(part)] = part
    return cast(Array, whole)


def _rows(outputs: Mapping[str, Array], name: str, dtype: type[np.generic], size: int) -> Array:
    """Return an output [size, n]."""
    array = outputs.get(name)
    if array is None:
        raise TensorError(f"{name}: missing")
    if array.dtype != dtype:
        raise TensorError(f"{name}: is {array.dtype}, wanted {np.dtype(dtype)}")
    if array.ndim != 2 or array.shape[0] != size:
        raise TensorError(f"{name}: shape {list(array.shape)}, wanted [{size}, n]")
    return array
