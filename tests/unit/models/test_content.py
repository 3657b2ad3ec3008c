"""The content model: features, the bounded own part, learning, and new items."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from artifacts import layout
from artifacts.engine import Question
from artifacts.engines.item_tower import ItemTower, hash_features
from artifacts.item_text import item_text
from artifacts.loader import load
from artifacts.manifest import verify
from models.content.fit import item_vectors
from models.content.model import Content, Items, Shape, Tower, user_vectors
from models.content.prepare import Moments, catalogue
from models.content.train import Config, _steps, build, train
from models.data.errors import DatasetError, OptionError
from models.data.interactions import interactions
from models.options import with_options
from tests.support.shop import popularity, shop

TINY = Config(
    width=16, hash_buckets=512, steps=150, further_steps=5, batch=64, negatives=48, length=20,
    learning_rate=0.01, own_dropout=0.5, validation_users=60, passes=1_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    items, events = shop()
    # One item has never been bought.
    lonely = int(items["item_key"][0])
    events = events.filter(pl.col("item_key") != lonely)
    path = train(TINY, items, events, tmp_path_factory.mktemp("models"))
    return path, items, lonely


def test_the_artifact_replays_and_learned_something(trained):
    path, items, _ = trained
    manifest, keys = verify(path)
    assert keys.tolist() == items["item_key"].to_list()
    assert len(manifest.score_quantiles) == 101
    assert manifest.metrics["ndcg@10"] > popularity(*shop())["ndcg@10"]
    assert manifest.metrics["export_difference"] <= manifest.export_tolerance
    assert [tuple(o.shape) for o in manifest.outputs if o.name == "embedding"] == [(-1, 16)]
    load(path)


def test_a_score_is_the_product_of_embedding_and_item_vector(trained):
    path, items, _ = trained
    vectors = np.load(path / "item_vectors.npy")
    keys = items["item_key"].to_numpy()
    answer = load(path).run(
        Question(
            history=keys[None, 5:9], history_weight=np.ones((1, 4), np.float32),
            candidates=keys[None],
        )
    )  # fmt: skip
    np.testing.assert_allclose(answer.embedding @ vectors.T, answer.scores, atol=1e-5)


def tower_of(path):
    return ItemTower(path, verify(path)[0])


def encode(tower, frame):
    parts = frame.select("title", "brand", "category", "domain", "text")
    texts = [item_text(*row) for row in parts.iter_rows()]
    columns = [frame[n].to_list() for n in ("category", "brand", "domain")]
    price = frame["price"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return tower.encode(texts, *columns, price)


def test_an_item_nobody_bought_is_where_the_tower_alone_puts_it(trained):
    path, items, lonely = trained
    frame = items.filter(pl.col("item_key") == lonely)
    row = items["item_key"].to_list().index(lonely)
    vectors = np.load(path / "item_vectors.npy")
    np.testing.assert_allclose(encode(tower_of(path), frame)[0], vectors[row], atol=1e-4)


def test_an_item_that_was_only_disliked_has_no_part_of_its_own(trained, tmp_path):
    _, items, lonely = trained
    bought = shop()[1].filter(pl.col("item_key") != lonely)
    dislike = bought.head(1).with_columns(item_key=pl.lit(lonely, pl.Int64), type=pl.lit("dislike"))
    events = pl.concat([bought, dislike])
    path = train(replace(TINY, steps=20), items, events, tmp_path)
    frame = items.filter(pl.col("item_key") == lonely)
    row = items["item_key"].to_list().index(lonely)
    vectors = np.load(path / "item_vectors.npy")
    np.testing.assert_allclose(encode(tower_of(path), frame)[0], vectors[row], atol=1e-4)


def test_a_new_yogurt_lies_among_yogurts(trained):
    path, items, _ = trained
    new = items.head(1).with_columns(
        title=pl.lit("blueberry yogurt, 6 oz"), text=pl.lit("blueberry yogurt"),
        category=pl.lit("Yogurt"), domain=pl.lit("Dairy"), brand=pl.lit("never seen"),
    )  # fmt: skip
    vectors = np.load(path / "item_vectors.npy")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ encode(tower_of(path), new)[0]
    yogurt = items["category"].to_numpy() == "Yogurt"
    assert likeness[yogurt].mean() > likeness[~yogurt].mean() + 0.05


def test_prices_texts_and_fields_may_be_missing(trained):
    tower = tower_of(trained[0])
    prices = np.array([np.nan, 3.0], np.float32)
    found = tower.encode(["", "soap"], ["", ""], ["", ""], ["", ""], prices)
    assert not found[0].any()
    np.testing.assert_allclose(np.linalg.norm(found[1]), 1, atol=1e-5)


def test_hashes_do_not_depend_on_case_company_or_process():
    one = hash_features(["Oat Milk, oat"], ["Dairy"], [""], [""], [""], buckets=1000)
    none = ["", ""]
    two = hash_features(["x", "oat milk"], ["", "DAIRY "], none, none, none, buckets=1000)
    np.testing.assert_array_equal(one.fields[0], two.fields[1])
    np.testing.assert_array_equal(one.words[0], two.words[1])
    assert one.fields[0].tolist() == [one.fields[0, 0], 0, 0, 0]
    # CRC-32 of "category=dairy", modulo 1000, plus 1: the same in every release.
    assert one.fields[0, 0] == 1 + 4_157_830_573 % 1000


def small(own_norm=0.5, image=0):
    torch.manual_seed(0)
    shape = Shape(items=3, buckets=8, width=4, text=5, image=image, own_norm=own_norm)
    return Content(shape, Tower(shape))


def test_the_own_part_is_never_longer_than_its_limit():
    model = small()
    with torch.no_grad():
        model.own.weight[1:] *= 1000
    assert model.own_part(torch.tensor([1, 2, 3])).norm(dim=1).max() <= 0.5 + 1e-6
    assert not model.own_part(torch.tensor([0])).any()


def features(n=3, image=0):
    return Items(
        text=torch.randn(n, 5), fields=torch.ones(n, 4, dtype=torch.int64),
        words=torch.zeros(n, 24, dtype=torch.int64), price=torch.tensor([1.0, float("nan"), 9.0]),
        image=torch.randn(n, image),
    )  # fmt: skip


def test_items_without_events_have_unit_vectors():
    model = small()
    trained_on = torch.tensor([True, False, True])
    length = item_vectors(model, features(), trained_on).norm(dim=1)
    assert length[1] == pytest.approx(1, abs=1e-6)


def test_image_vectors_count_where_a_dataset_has_them():
    model = small(image=6)
    given = features(image=6)
    none = torch.tensor([False] * 3)
    with_images = item_vectors(model, given, none)
    without = item_vectors(model, given._replace(image=torch.zeros(3, 6)), none)
    assert not torch.allclose(with_images, without)


def test_padding_does_not_change_a_user():
    model = small()
    history = torch.randn(1, 3, 4)
    weight = torch.tensor([[1.0, 0.5, 2.0]])
    padded = torch.cat([torch.zeros(1, 2, 4), history], 1)
    more = torch.tensor([[0.0, 0.0, 1.0, 0.5, 2.0]])
    exponent = torch.tensor(0.7)
    torch.testing.assert_close(
        user_vectors(model.user, history, weight, exponent),
        user_vectors(model.user, padded, more, exponent),
    )


def test_targets_come_after_the_history_and_are_not_in_it():
    items, events = shop(users=10)
    found = interactions(items, events, min_item_events=0)
    batch = Moments(found, length=30, targets=5, timed=True).draw(np.random.default_rng(0), 200)
    known = (batch.history[:, :, None] == batch.targets[:, None]).any(1) & (batch.targets != 0)
    assert ((batch.targets != 0).any(1)).all()
    # Only where everything that follows is known already is it a target.
    assert (known.any(1) <= (known | (batch.targets == 0)).all(1)).all()
    assert ((batch.history == 0) == (batch.weight == 0)).all()


def test_ids_for_titles_are_not_read(tmp_path):
    items, _ = shop()
    nameless = items.with_columns(title=pl.col("item_id"), text=pl.lit(""))
    found = catalogue(nameless, buckets=64, encoder=tmp_path)
    assert not found.features.text.any()
    assert not found.features.words.any()
    assert found.features.fields.any()
    assert build(TINY, found).shape.items == items.height


@pytest.mark.parametrize("price", [1.0, 2.5, 3.49])
def test_where_all_prices_are_equal_none_stands_out(price, tmp_path):
    items, _ = shop()
    bare = items.with_columns(
        title=pl.col("item_id"), text=pl.lit(""), price=pl.lit(price, pl.Float64)
    )
    found = catalogue(bare, buckets=64, encoder=tmp_path)
    # Not what rounding leaves between equal prices, which would blow any difference up.
    assert found.price_scale == 1.0


def test_nothing_to_learn_from_is_refused(tmp_path):
    items, events = shop()
    with pytest.raises(DatasetError, match="empty"):
        train(TINY, items, events.clear(), tmp_path)
    with pytest.raises(DatasetError, match="nothing but dislikes"):
        train(TINY, items, events.with_columns(type=pl.lit("dislike")), tmp_path)


def test_a_training_that_diverges_publishes_nothing(tmp_path):
    items, events = shop()
    hasty = replace(TINY, learning_rate=1e9)
    with pytest.raises(OptionError, match="content: the trained model gives no numbers"):
        train(hasty, items, events, tmp_path)
    assert layout.versions(tmp_path, "content") == []


def test_a_size_of_nothing_is_refused_before_any_work() -> None:
    with pytest.raises(OptionError, match="content: batch is 0, expected at least 1"):
        with_options(TINY, "content", {"batch": "0"})


def test_few_events_are_not_gone_through_until_they_are_known_by_heart() -> None:
    config = Config(steps=300, further_steps=60, batch=512, passes=5.0)
    steps = [(_steps(config, n, further=False), _steps(config, n, further=True))
             for n in (100, 10_000, 1_000_000)]  # fmt: skip
    assert steps == [(40, 8), (98, 19), (300, 60)]
