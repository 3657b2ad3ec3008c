"""Each model is sent what it declares, when it can make something of it, in time."""

import numpy as np
import pytest

from gateway.connection import Contract
from gateway.fanout import deadline
from gateway.fusion.types import Ints
from gateway.questions import read_answers, suits, write_questions
from gateway.types import Question
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, TensorError, read_inputs, write_response

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
        (BEHAVIOUR, SCORES._replace(candidates=HISTORY[:0]), False),
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
    request = write_questions("cf", BEHAVIOUR, [LIKES])
    assert [i.name for i in request.inputs] == ["history", "history_weight", "k"]
    assert [o.name for o in request.outputs] == ["item_keys", "scores"]
    vector = Question(HISTORY, WEIGHTS, embedding=True)
    assert "embedding" not in [o.name for o in write_questions("cf", BEHAVIOUR, [vector]).outputs]
    with_vector = contract("history", outputs=("item_keys", "scores", "embedding"))
    assert "embedding" in [o.name for o in write_questions("cf", with_vector, [vector]).outputs]


def test_types_and_ages_of_events_go_to_a_model_that_declares_them_and_to_no_other() -> None:
    told = LIKES._replace(history_type=np.array([1, 4]), history_age=WEIGHTS * 60)
    assert [i.name for i in write_questions("cf", BEHAVIOUR, [told]).inputs] == [
        "history", "history_weight", "k",
    ]  # fmt: skip
    reads = contract("history", "history_type", "history_age")
    sent = read_inputs(write_questions("sequence", reads, [told, NOTHING, LIKES]))
    assert sent["history_type"].tolist() == [[1, 4], [0, 0], [0, 0]]
    assert sent["history_age"].tolist() == [[60, 30], [0, 0], [-1, -1]]


def test_a_score_question_carries_candidates_and_wants_scores_only() -> None:
    request = write_questions("cf", BEHAVIOUR, [SCORES])
    assert [i.name for i in request.inputs] == ["history", "history_weight", "candidates"]
    assert [o.name for o in request.outputs] == ["scores"]


def test_a_model_without_the_input_k_gets_it_as_a_parameter() -> None:
    request = write_questions("cf", contract("history"), [LIKES])
    assert request.parameters["k"].int64_param == 7
    assert [i.name for i in request.inputs] == ["history"]


def test_histories_of_a_batch_are_padded_on_the_left_and_candidates_on_the_right() -> None:
    longer = Question(np.array([7, 8, 9], np.int64), np.ones(3, np.float32), k=3)
    sent = read_inputs(write_questions("cf", BEHAVIOUR, [LIKES, longer, NOTHING]))
    assert sent["history"].tolist() == [[0, 3, 5], [7, 8, 9], [0, 0, 0]]
    assert sent["history_weight"].tolist() == [[0, 1, 0.5], [1, 1, 1], [0, 0, 0]]
    assert sent["k"].tolist() == [200]
    one = Question(HISTORY, WEIGHTS, candidates=np.array([4], np.int64))
    sent = read_inputs(write_questions("cf", BEHAVIOUR, [SCORES, one]))
    assert sent["candidates"].tolist() == [[1, 2], [4, 0]]


def test_shoppers_without_a_query_ride_beside_those_with_one() -> None:
    both = contract("history", "history_weight", "query")
    sent = read_inputs(write_questions("text", both, [LIKES, ASKS]))
    assert sent["query"].tolist() == [[b""], [b"soap"]]
    assert "query" not in read_inputs(write_questions("text", both, [LIKES]))


def test_every_row_gets_back_as_much_as_it_asked_for() -> None:
    keys = np.array([[1, 2, 3], [4, 5, 0]], np.int64)
    scores = np.array([[3, 2, np.inf], [9, np.nan, np.nan]], np.float32)
    response = write_response("cf", "1", "", {"item_keys": keys, "scores": scores})
    two = Question(HISTORY, WEIGHTS, k=2)
    first, second = read_answers(response, [two, LIKES])
    assert (first.keys.tolist(), first.scores.tolist()) == ([1, 2], [3, 2])
    assert second.keys.tolist() == [4, 5, 0]
    assert (first.invalid, second.invalid) == (1, 1)


def retrieved(keys: list[list[int]], scores: list[list[float]]) -> pb.ModelInferResponse:
    outputs: dict[str, Array] = {
        "item_keys": np.array(keys, np.int64),
        "scores": np.array(scores, np.float32),
    }
    return write_response("cf", "1", "", outputs)


def test_an_answer_without_a_single_number_is_not_usable() -> None:
    nan = float("nan")
    with pytest.raises(TensorError, match="scores: none is a number"):
        read_answers(retrieved([[1, 2], [3, 0]], [[nan, nan], [nan, nan]]), [LIKES, LIKES])
    assert read_answers(retrieved([[1, 2]], [[nan, 1.0]]), [LIKES])[0].invalid == 1
    assert read_answers(retrieved([[0, 0]], [[nan, nan]]), [LIKES])[0].invalid == 0


def test_an_answer_that_names_only_items_nobody_has_is_not_usable() -> None:
    def knows(keys: Ints) -> bool:
        return bool((keys < 10).any())

    with pytest.raises(TensorError, match="the catalogue has none of these items"):
        read_answers(retrieved([[11, 12], [13, 0]], [[2, 1], [1, 0]]), [LIKES, LIKES], knows)
    for keys in ([[11, 1]], [[1, 11]], [[0, 0]]):
        assert len(read_answers(retrieved(keys, [[2, 1]]), [LIKES], knows)) == 1


def test_every_row_gets_the_scores_of_its_own_candidates() -> None:
    one = Question(HISTORY, WEIGHTS, candidates=np.array([4], np.int64))
    scores = np.array([[1, 2], [3, np.nan]], np.float32)
    first, second = read_answers(write_response("cf", "1", "", {"scores": scores}), [SCORES, one])
    assert (first.keys.tolist(), first.scores.tolist()) == ([1, 2], [1, 2])
    assert (second.keys.tolist(), second.scores.tolist()) == ([4], [3])
    assert second.invalid == 0


def test_an_answer_for_another_number_of_rows_fits_nobody() -> None:
    outputs: dict[str, Array] = {
        "item_keys": np.zeros((1, 3), np.int64),
        "scores": np.zeros((1, 3), np.float32),
    }
    with pytest.raises(TensorError, match=r"scores: shape \[1, 3\], wanted \[2, n\]"):
        read_answers(write_response("cf", "1", "", outputs), [LIKES, LIKES])


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(None, 0.2), (1e9, 0.2), (10.0, 0.2), (0.1, 0.05), (0.01, -0.04)],
)
def test_the_deadline_is_the_smaller_of_both_less_the_reserve(
    remaining: float | None, expected: float
) -> None:
    assert deadline(remaining, 7.0, most_ms=250, reserve_ms=50) == pytest.approx(7.0 + expected)
