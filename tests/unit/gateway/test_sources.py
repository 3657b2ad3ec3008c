"""Each model is sent what it declares, when it can make something of it, in time."""

import numpy as np
import pytest

from gateway.connection import Contract
from gateway.fanout import deadline
from gateway.sources import suits, write_question
from gateway.types import Question

HISTORY = np.array([3, 5], np.int64)
WEIGHTS = np.array([1.0, 0.5], np.float32)
NOTHING = Question(HISTORY[:0], WEIGHTS[:0])
LIKES = Question(HISTORY, WEIGHTS, k=7)
ASKS = Question(HISTORY[:0], WEIGHTS[:0], text="soap")
SCORES = Question(HISTORY, WEIGHTS, candidates=np.array([1, 2], np.int64))


def contract(*inputs: str, outputs: tuple[str, ...] = ("item_keys", "scores")) -> Contract:
    return Contract("1", frozenset(inputs), frozenset(outputs))


BEHAVIOUR = contract("history", "history_weight", "k", "candidates")
READER = contract("query", "k")


@pytest.mark.parametrize(
    ("model", "question", "fits"),
    [
        (BEHAVIOUR, LIKES, True),
        (BEHAVIOUR, NOTHING, False),
        (BEHAVIOUR, ASKS, False),
        (BEHAVIOUR, SCORES, True),
        (READER, ASKS, True),
        (READER, LIKES, False),
        (READER, SCORES, False),
        (contract("history", "query", "candidates"), ASKS, True),
    ],
)
def test_a_model_is_asked_only_what_it_reads(
    model: Contract, question: Question, fits: bool
) -> None:
    assert suits(model, question) == fits


def test_only_declared_inputs_and_outputs_are_asked_for() -> None:
    request = write_question("cf", BEHAVIOUR, LIKES)
    assert [i.name for i in request.inputs] == ["history", "history_weight", "k"]
    assert [o.name for o in request.outputs] == ["item_keys", "scores"]
    vector = Question(HISTORY, WEIGHTS, embedding=True)
    assert "embedding" not in [o.name for o in write_question("cf", BEHAVIOUR, vector).outputs]
    with_vector = contract("history", outputs=("item_keys", "scores", "embedding"))
    assert "embedding" in [o.name for o in write_question("cf", with_vector, vector).outputs]


def test_a_score_question_carries_candidates_and_wants_scores_only() -> None:
    request = write_question("cf", BEHAVIOUR, SCORES)
    assert [i.name for i in request.inputs] == ["history", "history_weight", "candidates"]
    assert [o.name for o in request.outputs] == ["scores"]


def test_a_model_without_the_input_k_gets_it_as_a_parameter() -> None:
    request = write_question("cf", contract("history"), LIKES)
    assert request.parameters["k"].int64_param == 7
    assert [i.name for i in request.inputs] == ["history"]


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(None, 0.2), (1e9, 0.2), (10.0, 0.2), (0.1, 0.05), (0.01, -0.04)],
)
def test_the_deadline_is_the_smaller_of_both_less_the_reserve(
    remaining: float | None, expected: float
) -> None:
    assert deadline(remaining, 7.0, most_ms=250, reserve_ms=50) == pytest.approx(7.0 + expected)
