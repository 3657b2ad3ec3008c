"""The methods beside EASE: neighbourhoods, ALS, BPR; each as a graph that folds strangers in."""

from dataclasses import replace

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from artifacts.engine import Question
from artifacts.engines.neighbours import NeighbourEngine
from artifacts.errors import ArtifactCorrupt
from artifacts.loader import load
from artifacts.manifest import verify
from models.cf import factors, knn
from models.cf.config import METHODS, Config
from models.cf.export import Tables, Vectors, open_saved, reference_scores, save
from models.cf.graph import tables
from models.cf.methods import METHODS as FITTED
from models.cf.methods import user_weighted
from models.cf.train import train
from models.data.errors import OptionError
from models.options import with_options
from plait.v1.manifest_pb2 import Manifest
from tests.support.shop import popularity, shop

TINY = Config(
    regularisations=(20.0,),
    companions=(20,),
    normalisations=(0.5,),
    factors=8,
    als_regularisations=(1.0,),
    confidences=(5.0,),
    bpr_rounds=60,
    bpr_regularisations=(0.01,),
    top_weights=32,
    validation_users=60,
)


def matrix(users=50, items=40, seed=0):
    random = np.random.default_rng(seed)
    had = random.random((users, items)) < 0.15
    return sparse.csr_matrix((had * random.uniform(0.5, 2, had.shape)).astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_publishes_an_artifact_that_replays_and_beats_popularity(tmp_path, method):
    items, events = shop()
    path = train(with_options(TINY, "cf", {"method": method}), items, events, tmp_path)
    manifest, _ = verify(path)
    assert manifest.training_config["method"] == f'"{method}"'
    assert manifest.metrics["export_difference"] <= manifest.export_tolerance
    assert manifest.metrics["ndcg@10"] > popularity(items, events)["ndcg@10"]
    load(path)


@pytest.mark.parametrize("method", ["als", "bpr", "knn"])
def test_a_method_trained_again_is_the_same(method):
    x = matrix()
    fit = FITTED[method].fitter(x, TINY)
    setting = FITTED[method].settings(TINY)[0]
    np.testing.assert_array_equal(fit(setting).predict(x), fit(setting).predict(x))


def test_every_method_that_is_named_can_be_fitted():
    assert set(METHODS) == set(FITTED)


def test_another_method_is_refused_by_name():
    with pytest.raises(OptionError, match="ease, als, bpr, knn"):
        with_options(TINY, "cf", {"method": "magic"})


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("top_weights", "-5", "a number from 0"),
        ("regularisations", "[]", "at least one"),
        ("regularisations", "[-100.0]", "a number from 0"),
        ("bpr_rate", "Infinity", "a number from 0"),
    ],
)
def test_settings_that_no_training_can_use_are_refused_by_name(field, value, why):
    with pytest.raises(OptionError, match=f"cf: {field} is .*{why}"):
        with_options(TINY, "cf", {field: value})


@pytest.mark.parametrize(
    ("method", "settings", "remedy"),
    [
        ("bpr", {"bpr_rate": 1e30}, "lower bpr_rate"),
        ("als", {"als_regularisations": (1e-30,), "confidences": (1e30,)}, "raise als_regular"),
    ],
)
def test_a_training_that_diverges_says_what_to_change(method, settings, remedy):
    config = replace(TINY, method=method, **settings)
    fit = FITTED[method].fitter(matrix(), config)
    with pytest.raises(OptionError, match=f"cf: the training has diverged.*{remedy}"):
        fit(FITTED[method].settings(config)[0])


def test_a_setting_that_may_be_below_zero_still_may():
    assert with_options(TINY, "cf", {"user_powers": "[-0.25]"}).user_powers == (-0.25,)


def test_a_history_folded_in_is_the_vector_that_implicit_would_make_of_it():
    x = matrix()
    found = factors.als(x, TINY, penalty=2.0, confidence=5.0)
    known = x.copy()
    known.data = 1 + 5 * known.data
    model = AlternatingLeastSquares(
        factors=8, regularization=2.0, alpha=1.0, iterations=10, num_threads=1, random_state=0
    )
    with threadpool_limits(1, "blas"):
        model.fit(known, show_progress=False)
        expected = model.recalculate_user(np.arange(50), known) @ model.item_factors.T
    np.testing.assert_allclose(found.predict(x), expected, atol=2e-3)


def served(tmp_path, form, exponent=0.5, index_from=1_000):
    name = save(form, exponent, tmp_path, index_from=index_from)
    return open_saved(tmp_path, Manifest(engine=name), form.keys)


def vectors(method, repeat=0.3):
    x = matrix()
    setting = FITTED[method].settings(TINY)[0]
    fit = FITTED[method].fitter(x, TINY)(setting)
    assert isinstance(fit, factors.Factors)
    return Vectors(np.arange(101, 141), fit, repeat)


def neighbour_tables():
    x = matrix()
    weights = knn.neighbourhoods(knn.similar(x, most=20, shrinkage=2.0), most=10, normalisation=0.5)
    scale = np.linspace(0.5, 1.5, 40, dtype=np.float32)
    rows, values = tables(weights.strongest(scale, keep=39), repeat_weight=0.1)
    assert weights.baseline is not None
    return Tables(np.arange(101, 141), rows, values, weights.baseline.scaled(scale))


HISTORIES = np.array(
    [[101, 0, 105, 105, 120], [0, 0, 0, 0, 140], [103, 103, 103, 103, 103], [999, 102, 0, 101, 102]]
)
WEIGHTS = np.random.default_rng(1).uniform(0.2, 1, HISTORIES.shape).astype(np.float32)


def expected_of(form, exponent=0.5):
    rows = np.where((HISTORIES > 100) & (HISTORIES < 141), HISTORIES - 100, 0)
    return reference_scores(form, rows, WEIGHTS, recency_exponent=exponent)[:, 1:]


@pytest.mark.parametrize("form", [vectors("als"), vectors("bpr"), neighbour_tables()])
def test_the_graph_answers_what_the_formula_says(tmp_path, form):
    engine = served(tmp_path, form)
    candidates = np.tile(np.arange(101, 141), (4, 1))
    answer = engine.run(Question(HISTORIES, WEIGHTS, candidates=candidates))
    expected = expected_of(form)
    np.testing.assert_allclose(
        answer.scores, np.where(np.isfinite(expected), expected, np.nan), atol=2e-3
    )
    best = engine.run(Question(HISTORIES, WEIGHTS, k=np.full(4, 5)))
    assert best.item_keys is not None
    assert (best.item_keys != 0).all()
    np.testing.assert_allclose(best.scores[:, 0], expected.max(axis=1), atol=2e-3)


@pytest.mark.parametrize("method", ["als", "bpr"])
def test_a_model_of_vectors_knows_all_items_but_no_strangers(tmp_path, method):
    engine = served(tmp_path, vectors(method))
    history, weight = np.array([[101], [999]]), np.ones((2, 1), np.float32)
    asked = np.tile(np.array([[102, 140, 999]]), (2, 1))
    answer = engine.run(Question(history, weight, candidates=asked))
    assert np.isfinite(answer.scores).tolist() == [[True, True, False], [False] * 3]


def test_a_dislike_speaks_against_what_is_like_it(tmp_path):
    engine = served(tmp_path, vectors("als", repeat=0.0))
    history, like = np.array([[105]]), np.ones((1, 1), np.float32)
    asked = np.array([[105]])
    liked, disliked = (
        engine.run(Question(history, sign * like, candidates=asked)).scores[0, 0]
        for sign in (1, -1)
    )
    assert disliked < 0 < liked


def test_neighbourhoods_answer_alike_in_a_large_catalogue(tmp_path):
    form = neighbour_tables()
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir(), large.mkdir()
    engines = served(small, form), served(large, form, index_from=10)
    assert isinstance(engines[1], NeighbourEngine)
    asked = Question(HISTORIES, WEIGHTS, k=np.full(4, 20))
    first, second = (engine.run(asked) for engine in engines)
    np.testing.assert_allclose(second.scores, first.scores, atol=1e-5)
    np.save(large / "offsets.npy", np.zeros(3, np.float32))
    with pytest.raises(ArtifactCorrupt, match=r"offsets\.npy.*train the version anew"):
        open_saved(large, Manifest(engine="neighbours"), form.keys)


def test_an_items_similarities_add_up_to_one_where_they_are_normalised():
    found = knn.similar(matrix(), most=20, shrinkage=2.0)
    weights = knn.neighbourhoods(found, most=7, normalisation=1.0).weights
    np.testing.assert_allclose(np.asarray(weights.sum(axis=0)).ravel(), 1, atol=1e-5)
    assert np.diff(weights.tocsc().indptr).max() == 7


def test_users_with_many_items_can_be_made_to_count_less():
    x = sparse.csr_matrix(np.array([[1, 1, 1, 1], [1, 0, 0, 0]], np.float32))
    weighted = user_weighted(x, -1.0)
    # (4 / 2.5)^-1 and (1 / 2.5)^-1 in X'X
    np.testing.assert_allclose((weighted.T @ weighted)[0, 0], 2.5 / 4 + 2.5, rtol=1e-6)
    assert user_weighted(x, 0.0) is x
