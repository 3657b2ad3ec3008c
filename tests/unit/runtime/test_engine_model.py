"""Questions of unequal sizes, read, put together and taken apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.engine import Scores
from artifacts.errors import ArtifactCorrupt
from inference import inference_pb2 as pb
from services.runtime.engine_model import Asked, EngineModel
from services.runtime.errors import InvalidArgument
from services.runtime.tensors import write_request
from services.runtime.validation import read_request
from tests.support.artifacts import Tiny, publish

TINY = Tiny()
KEYS = TINY.keys


def _floats(values: Any) -> Scores:
    return np.array(values, np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EngineModel:
    repository = tmp_path_factory.mktemp("models")
    publish(repository, TINY)
    return EngineModel.open("cf", repository / "cf" / "1")


def _read(model: EngineModel, parameters: Any = None, **inputs: Any) -> Asked:
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    request = write_request("cf", arrays)
    for name, value in (parameters or {}).items():
        request.parameters[name].CopyFrom(value)
    return model.read(read_request(request, model.inputs, 64), request.parameters)


def _answer(model: EngineModel, *asked: Asked) -> list[dict[str, np.ndarray]]:
    result = model.infer(model.merge(asked))
    return [dict(o) for o in model.split(result, asked)]


def test_questions_answered_together_are_answered_as_if_alone(model: EngineModel) -> None:
    asked = [
        _read(model, history=[KEYS[:3]], k=[[5]]),
        _read(model, history=[KEYS[4:5], KEYS[7:8]], k=[[9], [2]]),
        _read(model, history=np.zeros((1, 0), np.int64), k=[3]),
        _read(model, history=[[*KEYS[9:14], 0]], history_weight=_floats([[1, 2, 3, 4, 5, 6]])),
    ]
    together = _answer(model, *asked)
    for question, answer in zip(asked, together, strict=True):
        (alone,) = _answer(model, question)
        np.testing.assert_array_equal(answer["item_keys"], alone["item_keys"])
        np.testing.assert_allclose(answer["scores"], alone["scores"], atol=1e-6)
        np.testing.assert_allclose(answer["embedding"], alone["embedding"], atol=1e-6)
    assert [a["scores"].shape for a in together] == [(1, 5), (2, 9), (1, 3), (1, 100)]
    # k is per row: the second row of the second call wanted two.
    assert np.count_nonzero(together[1]["item_keys"][1]) == 2


def test_candidate_lists_of_unequal_length_are_scored_together(model: EngineModel) -> None:
    asked = [
        _read(model, history=[KEYS[:3]], candidates=[KEYS[5:7]]),
        _read(model, history=[KEYS[3:5]], candidates=[[*KEYS[8:12], 7]]),
    ]
    together = _answer(model, *asked)
    expected = TINY.vectors[9:13] @ (TINY.vectors[4] + TINY.vectors[5])
    np.testing.assert_allclose(together[1]["scores"][0, :4], expected, atol=1e-5)
    assert np.isnan(together[1]["scores"][0, 4])  # an unknown item is no opinion
    assert together[0]["scores"].shape == (1, 2)
    assert "item_keys" not in together[0]


def test_a_hundred_are_wanted_where_nothing_is_said(model: EngineModel) -> None:
    assert _read(model, history=[KEYS[:1]]).width == 100


@pytest.mark.parametrize("k", [[7], [[7]], [7, 7], [[7], [7]]])
def test_k_is_one_number_or_one_a_row(model: EngineModel, k: Any) -> None:
    asked = _read(model, history=[KEYS[:1], KEYS[:1]], k=k)
    assert asked.question.k is not None
    assert asked.question.k.tolist() == [7, 7]


def test_k_may_come_as_a_parameter(model: EngineModel) -> None:
    parameters = {"k": pb.InferParameter(int64_param=7)}
    assert _read(model, parameters, history=[KEYS[:1]]).width == 7
    with pytest.raises(InvalidArgument, match="k: the parameter must be an int64"):
        _read(model, {"k": pb.InferParameter(string_param="7")}, history=[KEYS[:1]])


def test_weights_are_one_where_none_are_sent(model: EngineModel) -> None:
    weight = _read(model, history=[KEYS[:3]]).question.history_weight
    assert weight.tolist() == [[1, 1, 1]]
    assert weight.dtype == np.float32


@pytest.mark.parametrize(
    ("said", "inputs"),
    [
        ("k: must be within 1 .. 1000", {"k": [[0]]}),
        ("k: must be within 1 .. 1000", {"k": [[1001]]}),
        ("k: wants shape", {"k": [[1, 2, 3]]}),
        ("k: wants INT64, got FP32", {"k": _floats([[1]])}),
        ("history: missing", {"history": None, "candidates": [[1]]}),
        ("history: wants INT64, got FP64", {"history": [[1.0]]}),
        (r"history: wants shape \[-1, -1\], got \[1\]", {"history": [1]}),
        ("history: 1001 a row, allowed are 0 to 1000", {"history": np.zeros((1, 1001), np.int64)}),
        ("history: 65 rows, a call brings 1 to 64", {"history": np.zeros((65, 1), np.int64)}),
        ("history: 0 rows", {"history": np.zeros((0, 1), np.int64)}),
        ("candidates: 0 a row", {"candidates": np.zeros((1, 0), np.int64)}),
        ("candidates: 5001 a row", {"candidates": np.zeros((1, 5001), np.int64)}),
        ("candidates: 2 rows, but history has 1", {"candidates": np.ones((2, 1), np.int64)}),
        ("history_weight: holds NaN or infinite", {"history_weight": _floats([[np.nan]])}),
        ("history_weight: holds NaN or infinite", {"history_weight": _floats([[-np.inf]])}),
        ("history_weight: shape", {"history_weight": _floats([[1, 2]])}),
        ("query: no such input; this model has history", {"query": np.array([[b"x"]], object)}),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(
    model: EngineModel, said: str, inputs: dict[str, Any]
) -> None:
    whole = {"history": [[KEYS[0]]], **inputs}
    with pytest.raises(InvalidArgument, match=said):
        _read(model, **{n: v for n, v in whole.items() if v is not None})


def test_a_request_without_a_batch_is_refused(model: EngineModel) -> None:
    with pytest.raises(InvalidArgument, match="history: missing"):
        _read(model, k=[[1]])


def test_an_artifact_of_another_source_or_version_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, TINY)
    with pytest.raises(ArtifactCorrupt, match="of source 'cf' where 'sequence' belongs"):
        EngineModel.open("sequence", tmp_path / "cf" / "1")
    (tmp_path / "cf" / "1").rename(tmp_path / "cf" / "2")
    with pytest.raises(ArtifactCorrupt, match="says version 1"):
        EngineModel.open("cf", tmp_path / "cf" / "2")


def test_warming_up_asks_every_sample_at_every_size(model: EngineModel) -> None:
    sizes: list[tuple[int, bool]] = []

    class Noting:
        manifest = model.engine.manifest

        def run(self, question: Any) -> Any:
            sizes.append((len(question.history), question.candidates is not None))
            return model.engine.run(question)

    EngineModel("cf", Noting()).warm_up([1, 8])
    assert sizes == [(1, False), (8, False), (1, True), (8, True)]
