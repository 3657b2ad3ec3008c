"""Words count more than meaning in scripts that the encoder was not taught."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from artifacts import loader
from artifacts import manifest as manifests
from artifacts.engine import Question
from artifacts.engines.encoder import TextEncoder
from artifacts.engines.query_weight import CATALOGUE_READ, UNREAD_WEIGHT, weight_read
from artifacts.engines.text import TextEngine
from cli.main import plait
from models.data.dataset import DatasetInfo, keyed, write_dataset
from models.data.schema import EVENTS, ITEMS
from models.progress import silent
from models.text.encode import prepare_encoder
from models.text.evaluate import halves, meaning_alone
from models.text.train import Config, train
from tests.unit.artifacts.test_text_engine import frames, search

_RANDOM = np.random.default_rng(0)
# Words of two or three characters, and titles of one to four of them.
_NOUNS = [
    "".join(map(chr, _RANDOM.integers(0x4E00, 0x9FA0, _RANDOM.integers(2, 4)))) for _ in range(60)
]
_TITLES = [
    "".join(_RANDOM.choice(_NOUNS, _RANDOM.integers(1, 5), replace=False)) for _ in range(400)
]


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = pl.DataFrame({"item_key": range(1, len(_TITLES) + 1), "title": _TITLES}).with_columns(
        pl.lit("").alias(name) for name in ("category", "brand", "text", "domain", "attributes")
    )
    return train(Config(), shop, frames()[1], tmp_path_factory.mktemp("repository"), silent)


def found(engine: TextEngine) -> float:
    """Return which share of the first ten places holds the word, where so many titles have it."""
    shares = []
    for noun in _NOUNS:
        keys = engine.run(search(noun, k=10)).item_keys
        assert keys is not None
        right = sum(noun in _TITLES[key - 1] for key in keys[0].tolist())
        shares.append(right / min(10, sum(noun in title for title in _TITLES)))
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("greek yogurt dv7-1211ea", 1, 1),
        ("Café crème, Müller™", 1, 1),
        ("😀 № 5", 1, 1),
        ("红色运动鞋", 0, 0),
        ("メンズシャツ", 0, 0),
        ("빨간색 청소기", 0, 0),
        ("Пылесос с мешком", 0, 0),
        ("เครื่องดูดฝุ่น", 0, 0),
        ("iphone 手机壳", 0.1, 0.4),
        ("\ud800 手", 0, 0),
    ],
)
def test_an_encoder_knows_what_it_reads(text, least, most):
    assert least <= TextEncoder(prepare_encoder()).reads(text) <= most


def test_a_chinese_shop_finds_what_holds_the_words(chinese):
    served = loader.load(chinese)
    assert isinstance(served, TextEngine)
    assert served.manifest.engine_parameters[CATALOGUE_READ] == 0
    manifest, keys = manifests.verify(chinese)
    manifest.engine_parameters.pop(UNREAD_WEIGHT)
    as_before = TextEngine(chinese, manifest, keys)
    assert found(as_before) < 0.8
    assert found(served) > 0.99


def test_the_halves_stay_halves(chinese):
    both = halves(chinese)
    question = Question(
        np.zeros((1, 0), np.int64),
        np.zeros((1, 0), np.float32),
        query=(_NOUNS[0],),
        candidates=np.arange(1, 11)[None],
    )
    words, meaning, served = (
        both[name].run(question).scores[0] for name in ("lexical", "dense", "hybrid")
    )
    assert np.allclose(served, 0.2 * np.maximum(meaning, 0) + 0.8 * words, atol=1e-5)
    assert np.array_equal(meaning_alone(chinese).run(question).scores[0], meaning)


def test_what_is_read_keeps_its_weight(tmp_path):
    items, events = frames()
    made = train(Config(), items, events, tmp_path, silent)
    manifest, keys = manifests.verify(made)
    assert manifest.engine_parameters[CATALOGUE_READ] == 1
    scores = []
    for _ in range(2):
        engine = TextEngine(made, manifest, keys)
        scores.append(engine.run(search("vanilla yogurt", "café", k=5)).scores)
        manifest.engine_parameters.pop(UNREAD_WEIGHT, None)
    assert np.array_equal(scores[0], scores[1])


@pytest.mark.parametrize(("share", "weight"), [(1, 0.8), (0.5, 0.8), (0.25, 0.5), (0, 0.2)])
def test_the_weight_falls_with_what_is_not_read(share, weight):
    assert weight_read(0.8, 0.2, share) == pytest.approx(weight)
    assert weight_read(0.1, 0.2, share) == 0.1


def test_whoever_trains_is_told_of_an_encoder_that_reads_the_catalogue(tmp_path):
    filled = {n: "" for n, kind in ITEMS.items() if kind == pl.String() and n != "item_id"}
    items = pl.DataFrame({"item_id": map(str, range(40)), **filled}).with_columns(
        title=pl.Series(_TITLES[:40]), attributes=pl.lit("{}"),
        price=pl.lit(None, pl.Float64), available=pl.lit(value=True),
    )  # fmt: skip
    write_dataset(
        tmp_path / "shop", items=keyed(items), events=pl.DataFrame(schema=EVENTS),
        info=DatasetInfo("chinese", "made for this test", "none"),
    )  # fmt: skip
    arguments = ["train", str(tmp_path / "shop"), str(tmp_path / "models"), "--keep-fusion"]
    told = CliRunner().invoke(plait, [*arguments, "--sources", "text"])
    assert told.exit_code == 0, told.output
    assert "reads 0% of the catalogue: --set text.encoder=multilingual" in " ".join(
        told.output.split()
    )
