"""EASE in both forms, its strongest weights, and the graph that serves them."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from artifacts.engine import Question
from artifacts.engines.graph import GraphEngine
from artifacts.engines.neighbours import NeighbourEngine
from artifacts.errors import ArtifactCorrupt
from artifacts.loader import load
from artifacts.manifest import verify
from models.cf.graph import save_graph, save_neighbours, tables
from models.cf.local import companions, local_weights
from models.cf.model import (
    DualInverse,
    Neighbours,
    PrimalInverse,
    SingularError,
    dual_factors,
    neighbours,
    predictions,
    weight_rows,
)
from models.cf.prepare import recency, user_item_matrix
from models.cf.train import PRESETS, Config, train, validate
from models.data.errors import DatasetError
from models.data.interactions import interactions
from plait.v1.manifest_pb2 import Manifest
from tests.support.shop import popularity, shop

TINY = Config(regularisations=(5.0, 20.0), top_weights=16, validation_users=60)


def matrix(users=40, items=70, seed=0):
    had = np.random.default_rng(seed).random((users, items)) < 0.15
    return sparse.csr_matrix(had.astype(np.float32))


def weights_of(inverse, n):
    return weight_rows(inverse, 0, n)


def test_the_dual_over_users_equals_the_primal_over_items():
    x = matrix()
    primal = PrimalInverse(x, 3.0)
    dual = DualInverse(dual_factors(x), 3.0)
    np.testing.assert_allclose(dual.diagonal, primal.diagonal, atol=1e-5)
    np.testing.assert_allclose(dual.rows(10, 30), primal.rows(10, 30), atol=1e-5)
    np.testing.assert_allclose(dual.times(x), primal.times(x), atol=1e-4)


def test_the_weights_are_the_ridge_regression_of_each_item_on_the_others():
    x = matrix(60, 12).toarray().astype(np.float64)
    weights = weights_of(PrimalInverse(sparse.csr_matrix(x.astype(np.float32)), 2.0), 12)
    for item in range(12):
        others = [i for i in range(12) if i != item]
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 2.0 * np.eye(11), a.T @ x[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)
        assert weights[item, item] == 0


def test_predictions_equal_the_histories_times_the_whole_of_b():
    x = matrix()
    dual = DualInverse(dual_factors(x), 3.0)
    np.testing.assert_allclose(predictions(dual, x), x @ weights_of(dual, 70), atol=1e-4)


def test_a_lambda_too_small_for_the_data_is_named():
    twice = sparse.csr_matrix(np.ones((3, 2), np.float32))
    with pytest.raises(SingularError, match="regularisations"):
        PrimalInverse(twice, -7.0)


def test_the_strongest_weights_rank_like_all_of_them():
    items, events = shop()
    found = interactions(items, events)
    x = user_item_matrix(found, half_life_days=0, timed=True)
    inverse = PrimalInverse(x, 10.0)
    scale = np.ones(x.shape[1], np.float32)
    kept = neighbours(inverse, scale, keep=24, block=7)
    few = np.zeros((x.shape[1], x.shape[1]), np.float32)
    np.put_along_axis(few, kept.items.astype(np.int64), kept.values, axis=1)
    full = predictions(inverse, x)
    best = [set(np.argsort(-s)[:5]) for s in (full, x @ few) for s in s]
    users = len(best) // 2
    agreed = np.mean([len(best[u] & best[u + users]) / 5 for u in range(users)])
    assert agreed > 0.8


def test_an_event_counts_half_after_a_half_life_and_repeats_count_less_and_less():
    items, events = shop(users=2, events_each=4)
    key = events["item_key"][0]
    last = events["time"].max()
    two = events.head(2).with_columns(
        item_key=pl.lit(key), user_id=pl.lit("u"), time=pl.Series([last - timedelta(days=30), last])
    )
    x = user_item_matrix(interactions(items, two), half_life_days=30, timed=True)
    assert x.toarray().tolist() == [[pytest.approx(np.log2(1 + 1.5))]]


def test_recency_counts_present_items_from_the_end():
    found = recency(np.array([[5, 0, 3, 2]]), 1.0)
    np.testing.assert_allclose(found, [[1 / 3, 0, 1 / 2, 1]])


def serve(tmp_path, kept, exponent=0.0, repeat=0.0):
    rows, values = tables(kept, repeat_weight=repeat)
    save_graph(rows, values, recency_exponent=exponent, path=tmp_path / "model.onnx")
    return GraphEngine(tmp_path, Manifest(), np.arange(101, 101 + len(kept.items)))


def chain():
    """Item 101 speaks for 102, 102 for 103 and against 101, 103 for nothing."""
    items = np.array([[1, 0], [2, 0], [0, 0], [0, 0]], np.int32)
    values = np.array([[0.5, 0], [0.25, -0.1], [0, 0], [0, 0]], np.float32)
    return Neighbours(items, values)


def ask(engine, history, weight, k=4):
    answer = engine.run(
        Question(
            history=np.array([history]), history_weight=np.array([weight], np.float32),
            k=np.array([k]),
        )
    )  # fmt: skip
    return dict(zip(answer.item_keys[0].tolist(), answer.scores[0].tolist(), strict=True))


def test_what_received_no_weight_is_no_opinion(tmp_path):
    engine = serve(tmp_path, chain())
    assert ask(engine, [101], [1.0], k=1) == {102: 0.5}
    answer = engine.run(
        Question(
            history=np.array([[101]]), history_weight=np.ones((1, 1), np.float32),
            candidates=np.array([[102, 103, 104, 999]]),
        )
    )  # fmt: skip
    np.testing.assert_array_equal(answer.scores, np.array([[0.5, *[np.nan] * 3]], np.float32))
    assert answer.unknown_items == 1


def test_history_weights_multiply_and_repeats_saturate(tmp_path):
    engine = serve(tmp_path, chain())
    assert ask(engine, [101], [3.0], k=1) == {102: pytest.approx(0.5 * 2.0)}
    assert ask(engine, [101, 101, 101], [1.0] * 3, k=1) == {102: pytest.approx(0.5 * 2.0)}


def test_newer_events_weigh_more_where_that_was_learned(tmp_path):
    engine = serve(tmp_path, chain(), exponent=1.0)
    older, newer = ask(engine, [101, 102], [1.0, 1.0]), ask(engine, [102, 101], [1.0, 1.0])
    assert older[102] < newer[102]
    assert older[103] > newer[103]


def test_having_an_item_speaks_for_buying_it_again(tmp_path):
    found = ask(serve(tmp_path, chain(), repeat=0.4), [103], [1.0], k=1)
    assert found == {103: pytest.approx(0.4)}


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 5)])
def test_the_graph_takes_any_batch_and_length(tmp_path, size):
    engine = serve(tmp_path, chain())
    history = np.random.default_rng(0).integers(101, 105, size)
    answer = engine.run(
        Question(history=history, history_weight=np.ones(size, np.float32), k=np.full(size[0], 10))
    )
    assert answer.item_keys.shape == (size[0], 10)
    assert np.array_equal(answer.item_keys == 0, np.isnan(answer.scores))


def test_training_publishes_an_artifact_that_replays_and_beats_popularity(tmp_path):
    items, events = shop()
    seen = []
    path = train(TINY, items, events, tmp_path, lambda done, total, text: seen.append(done / total))
    manifest, _ = verify(path)
    assert path == tmp_path / "cf" / "1"
    assert manifest.event_count == events.height
    assert len(manifest.score_quantiles) == 101
    assert len(manifest.samples) >= 5
    assert manifest.metrics["export_difference"] <= manifest.export_tolerance
    assert manifest.metrics["ndcg@10"] > 1.2 * popularity(items, events)["ndcg@10"]
    assert manifest.HasField("data_end_time")
    assert seen[-1] == 1
    load(path)


def test_the_same_seed_gives_the_same_model(tmp_path):
    items, events = shop(users=30)
    paths = [train(TINY, items, events, tmp_path) for _ in range(2)]
    hashes = [verify(p)[0].file_hashes["model.onnx"] for p in paths]
    assert hashes[0] == hashes[1]


def test_metrics_come_from_a_fit_that_has_not_seen_the_last_events():
    items, events = shop()
    choice, metrics = validate(TINY, items, events)
    assert choice.setting["regularisation"] in TINY.regularisations
    assert 0 < metrics["ndcg@10"] < 1
    assert metrics["dense_ndcg@10"] == pytest.approx(metrics["ndcg@10"], abs=0.1)


def test_events_without_times_are_judged_by_each_users_last():
    items, events = shop()
    ordered = events.with_columns(time=pl.lit(None, pl.Datetime("us", "UTC")))
    _, metrics = validate(TINY, items, ordered)
    assert metrics["users_next"] == 60


def test_too_few_events_are_refused_with_the_setting_that_decides(tmp_path):
    items, events = shop(users=1, events_each=1)
    with pytest.raises(DatasetError, match="min_item_events"):
        train(PRESETS["quick"], items, events, tmp_path)


def test_events_that_are_enough_only_in_all_are_learned_without_a_measurement(tmp_path):
    items, events = shop(users=2, events_each=2)
    keys = items["item_key"][:2].to_list()
    # The last event is what makes the second item known.
    few = events.sort("time").with_columns(item_key=pl.Series([keys[0], keys[0], keys[1], keys[1]]))
    path = train(PRESETS["quick"], items, few, tmp_path)
    manifest = verify(path)[0]
    assert manifest.item_count == 2
    assert "ndcg@10" not in manifest.metrics


def both_forms(tmp_path, kept, exponent=0.5, repeat=0.2):
    """The same weights behind the small catalogue's engine and the large one's."""
    rows, values = tables(kept, repeat_weight=repeat)
    keys = 100 + np.arange(len(rows) - 1)
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir(), large.mkdir()
    save_graph(rows, values, recency_exponent=exponent, path=small / "model.onnx")
    save_neighbours(rows, values, recency_exponent=exponent, directory=large)
    manifest = Manifest(engine_parameters={"max_history": 10})
    return GraphEngine(small, manifest, keys), NeighbourEngine(large, manifest, keys)


def test_a_large_catalogues_engine_answers_as_the_small_ones(tmp_path):
    x = matrix(60, 90, seed=4)
    kept = neighbours(DualInverse(dual_factors(x), 5.0), np.ones(90, np.float32), keep=12)
    small, large = both_forms(tmp_path, kept)
    random = np.random.default_rng(0)
    history = random.integers(99, 190, (5, 14))
    history[1, :4] = 0
    history[2] = 0
    history[3, 5:] = 120
    weight = random.random(history.shape).astype(np.float32)
    for asked in (
        {"k": np.array([7, 90, 3, 200, 1])},
        {"candidates": np.tile(np.arange(98, 192), (5, 1))},
    ):
        first, second = (e.run(Question(history, weight, **asked)) for e in (small, large))
        np.testing.assert_allclose(second.scores, first.scores, atol=1e-5)
        assert second.unknown_items == first.unknown_items
        if first.item_keys is not None:
            assert np.array_equal(second.item_keys, first.item_keys)


def test_weights_beyond_all_measure_are_no_opinion_whatever_the_size_of_the_catalogue(tmp_path):
    engines = both_forms(tmp_path, chain())
    history = np.array([[101, 101, 102]])
    weight = np.array([[3e38, 3e38, 1]], np.float32)
    for engine in engines:
        answer = engine.run(Question(history, weight, k=np.array([4])))
        assert np.array_equal(answer.item_keys != 0, np.isfinite(answer.scores))
        assert np.array_equal(answer.scores, engines[0].run(
            Question(history, weight, k=np.array([4]))).scores, equal_nan=True)  # fmt: skip


def test_a_question_leaves_nothing_behind_for_the_next(tmp_path):
    _, engine = both_forms(tmp_path, chain())
    question = Question(np.array([[101, 102]]), np.ones((1, 2), np.float32), k=np.array([4]))
    first = engine.run(question)
    engine.run(replace(question, k=None, candidates=np.array([[100, 103]])))
    np.testing.assert_array_equal(engine.run(question).scores, first.scores)


def test_tables_of_another_size_are_refused(tmp_path):
    both_forms(tmp_path, chain())
    np.save(tmp_path / "large" / "said.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(ArtifactCorrupt, match=r"said\.npy.*train the version anew"):
        NeighbourEngine(tmp_path / "large", Manifest(), 100 + np.arange(4))


def test_with_every_item_for_a_companion_the_local_regression_is_the_whole_one():
    # Any two items have a buyer in common.
    x = sparse.csr_matrix(np.random.default_rng(0).random((40, 20), np.float32))
    whole = weights_of(PrimalInverse(x, 3.0), 20)
    local = local_weights(companions(x, most=19), 3.0, features=19)
    np.testing.assert_allclose(local.weights.toarray(), whole, atol=1e-4)
    np.testing.assert_allclose(local.predict(x), x.toarray() @ whole, atol=1e-3)


def test_the_strongest_local_weights_are_kept_without_a_dense_row():
    x = matrix(40, 30)
    scale = np.linspace(0.5, 2, 30, dtype=np.float32)
    local = local_weights(companions(x, most=12), 3.0, features=8)
    kept, dense = local.strongest(scale, keep=5), local.weights.toarray()
    for item in range(30):
        best = np.argsort(-np.abs(dense[item]), kind="stable")[:5]
        expected = {(int(i), round(float(dense[item, i] * scale[i]), 5)) for i in best}
        found = zip(kept.items[item], kept.values[item], strict=True)
        assert {(int(i), round(float(v), 5)) for i, v in found if v} == {
            (i, v) for i, v in expected if v
        }


def test_an_item_bought_alone_has_no_companions():
    x = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32))
    found = companions(x, most=2)
    assert found.items.tolist() == [[1, 3], [0, 3], [3, 3]]
    assert not local_weights(found, 1.0, features=2).weights[2].nnz


def test_a_large_catalogue_trains_locally_and_serves_what_its_histories_name(tmp_path):
    items, events = shop()
    config = Config(regularisations=(1.0, 10.0), validation_users=60, dense_items=10, index_from=10)
    path = train(config, items, events, tmp_path)
    manifest, _ = verify(path)
    assert manifest.engine == "neighbours"
    assert manifest.metrics["ndcg@10"] > popularity(items, events)["ndcg@10"]
    load(path)
