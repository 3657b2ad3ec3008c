"""The packaged encoder is exported faithfully, and every distinct text is encoded once."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from artifacts import manifest as manifests
from artifacts.engine import Answer, Question
from artifacts.engines.encoder import ENCODER, TextEncoder
from artifacts.engines.query_weight import PREFIX
from models.data.dataset import DatasetInfo, keyed, write_dataset
from models.data.errors import DatasetError
from models.data.schema import EVENTS, ITEMS
from models.progress import silent
from models.text import encode
from models.text import train as text_train
from models.text.documents import attribute_words, document
from models.text.encode import encode_texts, keep_vectors, prepare_encoder
from models.text.evaluate import halves, held_out, ndcgs, search_values
from models.text.model import DenseSearch
from models.text.packaged import ENGLISH, EncoderMissing, packaged
from models.text.train import Config, train
from plait.v1.manifest_pb2 import Manifest
from tests.support.disks import small_disk

TITLES = {
    "1": "Greek yogurt",
    "2": "Strawberry yogurt drink",
    "3": "Dry dog food",
    "4": "Canned cat food",
    "5": "Frozen pizza",
    "6": "Whole milk",
}


def dataset(path, queries=None):
    filled = {n: "" for n, kind in ITEMS.items() if kind == pl.String() and n != "item_id"}
    items = pl.DataFrame({"item_id": list(TITLES), **filled, "title": list(TITLES.values())})
    items = items.with_columns(
        attributes=pl.lit("{}"), price=pl.lit(None, pl.Float64), available=pl.lit(value=True)
    )
    info = DatasetInfo("tiny", "made for this test", "none")
    return write_dataset(
        path, items=keyed(items), events=pl.DataFrame(schema=EVENTS), info=info, queries=queries
    )


def test_the_encoder_is_made_once_and_agrees_with_what_it_was_made_from():
    directory = prepare_encoder()
    made = (directory / ENCODER).stat().st_mtime_ns
    assert prepare_encoder() == directory
    assert (directory / ENCODER).stat().st_mtime_ns == made
    texts = ["a cup of vanilla yogurt", "hdmi cable, 2 m", "Dark chocolate 70%, 100 g"]
    model = packaged(ENGLISH).read().encoder()
    encoder = TextEncoder(directory)
    for text, vector in zip(texts, encoder.encode(texts), strict=True):
        ids = torch.tensor([encoder.token_ids(text)])
        with torch.no_grad():
            exact = model(ids, torch.ones_like(ids))[0].numpy()
        assert float(exact @ vector) >= encode.INT8_COSINE


def test_texts_that_mean_the_same_lie_closer_than_texts_that_share_words():
    vectors = encode_texts(["food for a puppy", "dry dog food", "food processor"])
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert near > far + 0.1


def test_each_distinct_text_is_encoded_once_and_progress_reaches_the_end():
    told: list[tuple[int, int]] = []
    vectors = encode_texts(
        ["milk", "bread", "milk", ""], lambda done, total, _: told.append((done, total))
    )
    assert told[-1] == (3, 3)
    assert np.array_equal(vectors[0], vectors[2])
    assert not vectors[3].any()


def test_a_catalogue_seen_before_is_not_encoded_again():
    texts = [
        f"{colour} {thing} {size}"
        for colour in ("red", "blue")
        for thing in ("mug", "cup")
        for size in range(250)
    ]
    told: list[str] = []
    first = encode_texts(texts)
    again = encode_texts(texts, lambda _done, _total, text: told.append(text))
    assert told == ["texts encoded before"]
    assert np.array_equal(first, again)


def test_half_of_what_is_kept_for_later_runs_is_never_there(tmp_path, monkeypatch):
    home = tmp_path / "disk"
    with small_disk(home, 1) as disk:
        if disk is None:
            pytest.skip("may not mount a disk that can be filled")
        with pytest.raises(OSError):
            keep_vectors(["a", "b"], np.zeros((2, 1_000_000), np.float32), home)
        # What the tuning makes of the encoder, without its minutes.
        monkeypatch.setattr(text_train, "fine_tune", lambda model, *_: (model, {}))
        data = dataset(tmp_path / "data")
        config = Config(fine_tune=1, cache=str(home))
        with pytest.raises((OSError, RuntimeError)):  # torch says it in its own way
            train(config, data.items, data.events, tmp_path / "models", silent)
        assert not list(home.iterdir())


def test_a_missing_package_says_what_to_install():
    with pytest.raises(EncoderMissing, match=r"pip install no-such-encoder==0\.1\.0 .*`train`"):
        replace(packaged(ENGLISH), module="no_such_encoder").read()


def test_the_dense_search_reads_the_query_or_else_the_history():
    vectors = torch.eye(3)
    model = DenseSearch(vectors, torch.tensor([0, 1, 2, 2]))
    vector = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    history, weight = torch.tensor([[1, 0], [3, 1]]), torch.tensor([[1.0, 1.0], [3.0, 1.0]])
    candidates, used = model(vector, history, weight, torch.tensor([[2, 1], [4, 1]]))
    torch.testing.assert_close(
        used, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 3.0]]) / torch.tensor([[1.0], [10**0.5]])
    )
    assert candidates[0].tolist() == [1, 0]
    # Rows 3 and 4 share the third text.
    torch.testing.assert_close(candidates[1], torch.tensor([3.0, 1.0]) / 10**0.5)


def test_attributes_become_words():
    assert (
        attribute_words('{"size": "6 OZ", "organic": "yes", "frozen": "no"}') == "size 6 OZ organic"
    )
    assert attribute_words("") == ""


def test_a_long_description_is_split_between_what_and_details():
    item = {
        "title": "T",
        "brand": "",
        "category": "",
        "domain": "D",
        "text": "A cable. Length: 2 m. Colour: red",
        "attributes": '{"weight": "3"}',
    }
    fields = document(item)
    assert fields["text"] == "A cable"
    assert fields["details"] == "Length: 2 m. Colour: red weight 3"


def test_a_search_evaluation_compares_the_halves_with_the_whole(tmp_path):
    keys = keyed(pl.DataFrame({"item_id": list(TITLES)}))["item_key"].to_list()
    queries = pl.DataFrame(
        {
            "query": ["yogurt", "yogurt", "pet food", "pet food", "pet food"],
            "item_key": [keys[0], keys[4], keys[2], keys[3], keys[5]],
            "rating": [3, 0, 3, 3, 0],
        }
    )
    data = dataset(tmp_path / "data", queries)
    artifact = train(Config(), data.items, data.events, tmp_path / "repository", silent)
    assert data.queries is not None
    engines = halves(artifact)
    found = {half: search_values(engines[half], data.queries, (2, 10)) for half in engines}
    assert list(found) == ["lexical", "dense", "hybrid"]
    for values in found.values():
        for kind in ("condensed", "full"):
            assert ((values[f"{kind}_ndcg@10"] >= 0) & (values[f"{kind}_ndcg@10"] <= 1)).all()
    assert found["hybrid"]["condensed_ndcg@10"].tolist() == [1.0, 1.0]
    assert held_out("yogurt") == held_out("yogurt")


def test_a_weight_for_each_query_is_compared_with_one_for_all(tmp_path):
    data = dataset(tmp_path / "data")
    config = Config(feedback=0.0)  # the halves alone are without
    artifact = train(config, data.items, data.events, tmp_path / "repository", silent)
    manifest, keys = manifests.read(artifact), manifests.verify(artifact)[1]
    manifest.engine_parameters[PREFIX + "always"] = -9.0
    manifests.write(artifact, manifest, keys)
    engines = halves(artifact)
    assert list(engines) == ["lexical", "dense", "hybrid, one weight", "hybrid"]
    question = Question(np.zeros((1, 0), np.int64), np.zeros((1, 0), np.float32), ("yogurt",),
                        candidates=keys[None])  # fmt: skip
    scores = {name: engine.run(question).scores[0] for name, engine in engines.items()}
    expected = 0.05 * scores["dense"] + 0.95 * scores["lexical"]
    np.testing.assert_allclose(scores["hybrid"], expected, atol=1e-5)


class Fixed:
    """Ranks 1, 2, 3, ... whatever is asked, and scores accordingly."""

    def __init__(self):
        self.manifest = Manifest(source="text")

    def run(self, question):
        if question.candidates is not None:
            return Answer(scores=-question.candidates.astype(np.float32))
        keys = np.arange(1, int(question.k.max()) + 1)[None]
        return Answer(scores=-keys.astype(np.float32), item_keys=keys)


def test_condensed_ndcg_leaves_out_the_unjudged_and_full_ndcg_counts_them_as_wrong():
    # Judged: item 2 perfect, item 4 useless, item 5 good. The ranking is 1, 2, 3, 4, 5.
    found = ndcgs(Fixed(), "x", np.array([2, 4, 5]), np.array([3.0, 0.0, 1.0]), (1, 10))
    log = math.log2
    ideal = 7 / log(2) + 1 / log(3)
    assert found["condensed_ndcg@10"] == pytest.approx((7 / log(2) + 1 / log(4)) / ideal)
    assert found["full_ndcg@10"] == pytest.approx((7 / log(3) + 1 / log(6)) / ideal)
    assert found["condensed_ndcg@1"] == 1
    assert found["full_ndcg@1"] == 0


def test_ratings_of_any_scale_have_a_quality():
    keys, ratings = np.array([2, 4, 5]), np.array([3.0, 0.0, 1.0])
    far = ndcgs(Fixed(), "x", keys, ratings * 1000, (1, 10))
    assert all(0 <= value <= 1 for value in far.values())
    # Beside so high a rating no other counts for anything.
    assert far == pytest.approx(ndcgs(Fixed(), "x", keys, np.array([100.0, 0.0, 1.0]), (1, 10)))


def test_a_rating_below_0_is_worth_what_0_is():
    keys = np.array([2, 4, 5])
    below, zero = (ndcgs(Fixed(), "x", keys, np.array([3.0, r, 1.0]), (3, 10)) for r in (-1.0, 0.0))
    assert below == zero
    # Item 1, shown first, is the best there is, and item 50, rated -1, is not shown.
    best = ndcgs(Fixed(), "x", np.array([1, 50]), np.array([1.0, -1.0]), (10,))
    assert best["full_ndcg@10"] == 1


def test_a_query_without_a_relevant_product_is_not_asked():
    queries = pl.DataFrame({"query": ["a", "b"], "item_key": [1, 1], "rating": [0, 2]})
    assert search_values(Fixed(), queries, (10,))["full_ndcg@10"].tolist() == [1.0]
    assert search_values(Fixed(), queries.head(1), (10,)) == {}


def test_a_catalogue_without_items_cannot_be_searched(tmp_path):
    data = dataset(tmp_path / "data")
    with pytest.raises(DatasetError, match="no"):
        train(Config(), data.items.clear(), data.events, tmp_path / "repository", silent)
