"""What every system must do alike: the merge, the requests, and what counts as the same answer."""

from pathlib import Path

import numpy as np
import pytest

from artifacts.engine import Question
from artifacts.engines.graph import GraphEngine
from artifacts.manifest import MODEL, write
from benchmarks.job import CANDIDATES, HISTORY, SOURCES, TOP
from benchmarks.job.graphs import save_recommender
from benchmarks.job.merge import merge
from benchmarks.job.models import Model
from benchmarks.job.wire import CODECS, WrongReply, differences
from benchmarks.job.world import world
from gateway.fusion.pipeline import build_pool, run
from inference import inference_pb2 as pb
from models.export import wire_inputs, wire_outputs
from plait.v1.manifest_pb2 import Manifest
from plait.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from tests.unit.fusion.builders import columns, query, rows

SHOP = world(seed=1, items=2_000)


def test_the_shop_of_a_seed_is_always_the_same_and_its_keys_are_no_row_numbers() -> None:
    again = world(seed=1, items=2_000)
    assert np.array_equal(SHOP.keys, again.keys)
    assert np.array_equal(SHOP.vectors("cf"), again.vectors("cf"))
    assert len(np.unique(SHOP.keys)) == 2_000
    assert SHOP.keys.min() > 2_000


def test_a_history_names_items_of_the_shop_once_each() -> None:
    histories = SHOP.histories(8)
    assert histories.shape == (8, HISTORY)
    assert np.isin(histories, SHOP.keys).all()
    assert all(len(np.unique(h)) == HISTORY for h in histories)


def test_the_merge_sums_what_sources_say_and_an_absent_item_counts_nothing() -> None:
    keys = np.array([[1, 2, 3], [2, 4, 5]])
    scores = np.array([[3.0, 2.0, 1.0], [30.0, 20.0, 10.0]], np.float32)
    best, score = merge(keys, scores)
    # 1: 1/2; 2: 0.5/2 + 1/2; 3: 0; 4: 0.5/2; 5: 0. Equal scores: the smaller key first.
    assert best.tolist() == [2, 1, 4, 3, 5]
    assert score.tolist() == [0.75, 0.5, 0.25, 0.0, 0.0]


def test_the_merge_is_what_the_gateways_stages_make_of_the_same_answers() -> None:
    draw = np.random.default_rng(0)
    catalogue = columns(size=400)
    lists = [draw.permutation(400)[:CANDIDATES].astype(np.int32) for _ in SOURCES]
    scores = -np.sort(-draw.normal(size=(len(SOURCES), CANDIDATES)).astype(np.float32), axis=1)
    asked = query(columns=catalogue, limit=TOP)
    pool = run(
        asked,
        build_pool(asked, dict(zip(SOURCES, zip(lists, scores, strict=True), strict=True)), rows()),
    )
    first = pool.order[:TOP]
    expected = merge(catalogue.keys[np.stack(lists)], scores)
    assert not differences((catalogue.keys[pool.rows[first]], pool.total[first]), expected)


def test_a_model_of_the_job_answers_the_same_behind_plaits_engine(tmp_path: Path) -> None:
    directory = tmp_path / "sequence" / "1"
    directory.mkdir(parents=True)
    save_recommender(directory / MODEL, SHOP.vectors("sequence"), network_seed=0)
    manifest = Manifest(
        source="sequence", version=1, engine="graph",
        inputs=wire_inputs(), outputs=wire_outputs(embedding=64),
    )  # fmt: skip
    write(directory, manifest, SHOP.keys)
    histories = SHOP.histories(4)
    keys, scores = Model(tmp_path, "sequence").best(histories)
    engine = GraphEngine(directory, manifest, SHOP.keys)
    ones = np.ones(histories.shape, np.float32)
    answer = engine.run(Question(histories, ones, k=np.full(4, CANDIDATES)))
    assert answer.item_keys is not None
    assert np.array_equal(answer.item_keys, keys)
    assert np.allclose(answer.scores, scores)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_request_is_bytes_made_of_a_history(codec: str) -> None:
    history = SHOP.histories(1)[0]
    body = CODECS[codec].request(0, history)
    assert isinstance(body, bytes)
    if codec == "events":
        events = RecommendRequest.FromString(body).shopper.events
        assert [int(e.item_id) for e in events] == history.tolist()
    if codec == "infer":
        assert pb.ModelInferRequest.FromString(body).raw_input_contents[0] == history.tobytes()


def test_a_partial_answer_is_no_answer() -> None:
    response = RecommendResponse()
    response.coverage.partial = True
    with pytest.raises(WrongReply, match="partial"):
        CODECS["shopper"].reply(response.SerializeToString())
    with pytest.raises(WrongReply, match="3 bytes"):
        CODECS["raw"].reply(b"abc")


def test_answers_are_the_same_if_only_near_equal_items_change_places() -> None:
    keys = np.arange(TOP)
    scores = np.linspace(1, 0.5, TOP, dtype=np.float32)
    scores[4] = scores[3]
    swapped = keys.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert not differences((swapped, scores), (keys, scores))
    assert "do not belong" in differences((keys + 1, scores), (keys, scores))
    other_last = np.append(keys[:-1], 999)
    assert not differences((other_last, scores), (keys, scores))
    assert "items instead" in differences((np.zeros(TOP, int), scores), (keys, scores))
    assert "scores" in differences((keys, scores + 0.01), (keys, scores))
    assert "items instead" in differences((keys[:5], scores[:5]), (keys, scores))
