"""The queries of the benchmark over languages are whole, and missed where they are not rated."""

import polars as pl
import pytest

from artifacts.keys import item_key
from artifacts.loader import load
from benchmarks.languages import _rated, _values, translations
from cli.failures import UserError
from models.progress import silent
from models.text.train import Config, train
from tests.unit.models.test_text import dataset


def test_every_query_is_said_in_every_language():
    spoken = translations()
    assert set(spoken) == {"en", "de", "es", "ru", "zh", "ja"}
    for words in spoken.values():
        assert len(words) == 60
        assert all(text == text.strip() != "" for text in words.values())


def test_a_translated_query_has_the_ratings_of_the_english_one(tmp_path):
    rated = {"query": ["fresh milk", "fresh milk", "puppy food"], "rating": [3, 0, 2]}
    keys = [item_key("6"), item_key("3"), item_key("3")]
    data = dataset(tmp_path / "data", pl.DataFrame({**rated, "item_key": keys}))
    engine = load(train(Config(), data.items, data.events, tmp_path / "models", silent))
    said = {"fresh milk": "whole milk", "puppy food": "whole milk"}
    values = _values(engine, _rated(data, said), said)
    assert values["full_ndcg@10"][0] < 1  # whole milk is no food for a puppy
    right = _values(engine, _rated(data, said), {**said, "puppy food": "dry dog food"})
    assert right["full_ndcg@10"][0] == 1
    with pytest.raises(UserError, match="rated queries; import electronics-search"):
        _rated(data, {"tv"})
