"""The encoder learns what its catalogue can teach, and keeps what it had where that is better."""

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from artifacts.engines.lexical import LexicalIndex, build_lexical
from artifacts.engines.query_weight import LEAST, MOST, NAMES, PREFIX, learned_in, traits, weight_of
from models.text.documents import document, item_texts
from models.text.model import EncoderShape, SentenceEncoder
from models.text.pairs import known_of, make_pairs
from models.text.pretend import pretend
from models.text.tune import Tuning, fine_tune
from models.text.weigh import weigh

KINDS = ("notebook", "mouse", "keyboard", "camera")
BRANDS = ("Aster", "Birch")
SHAPE = EncoderShape(vocabulary=64, positions=40, width=16, heads=2, hidden=32, layers=2)


def catalogue() -> pl.DataFrame:
    """Six of each kind by two brands, and for each a case that is named after it."""
    rows = []
    for kind in KINDS:
        for number in range(6):
            brand = BRANDS[number % 2]
            rows.append((f"{brand} {kind} x{number}00", brand, kind))
            rows.append((f"{brand} case for {kind} x{number}00", brand, "case"))
    items = pl.DataFrame(rows, schema=["title", "brand", "category"], orient="row")
    return items.with_columns(
        pl.lit("").alias("domain"), pl.lit("").alias("text"), pl.lit("{}").alias("attributes"),
        item_key=pl.int_range(1, pl.len() + 1),
    )  # fmt: skip


EVENTS = pl.DataFrame(
    {
        "user_id": ["a", "a", "b"], "item_key": [1, 3, 5], "type": "purchase",
        "time": [0, 1, 0], "order": [0, 1, 0], "query": ["", "", "portable computer"],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    place = tmp_path_factory.mktemp("lexical") / "index"
    build_lexical(place, map(document, catalogue().iter_rows(named=True)))
    return LexicalIndex(place)


def tokenizer() -> Tokenizer:
    words = " ".join(item_texts(catalogue())).casefold().replace(",", " ").split()
    known = {word: n for n, word in enumerate(["[UNK]", *sorted(set(words))])}
    made = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def test_a_hard_negative_is_never_as_good_as_the_item(index):
    items = catalogue()
    known = known_of(items, item_texts(items))
    pairs = make_pairs(items, EVENTS, (known, index), count=200, seed=0)
    assert len(pairs) > 150
    for pair in pairs:
        assert known.texts[pair.item] != known.texts[pair.wrong]
        if pair.kind:
            assert known.category[pair.item] != known.category[pair.wrong]
    mice = [p for p in pairs if p.text == "mouse" and p.kind]
    assert {str(known.category[p.wrong]) for p in mice} == {"case"}, "words alone would say mouse"


def test_behaviour_pairs_a_search_with_what_was_bought_and_an_item_with_the_next(index):
    items = catalogue()
    known = known_of(items, item_texts(items))
    texts = {p.text: p.item for p in make_pairs(items, EVENTS, (known, index), count=60, seed=0)}
    assert texts["portable computer"] == 4
    assert texts[items["title"][0].casefold()] in {2, 0}


def test_fine_tuning_brings_texts_nearer_to_their_items_and_can_be_repeated(index):
    torch.manual_seed(0)
    items = catalogue()
    known = known_of(items, item_texts(items))
    pairs = make_pairs(items, EVENTS, (known, index), count=300, seed=0)
    model = SentenceEncoder(SHAPE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuning = Tuning(steps=20, rate=3e-3, blocks=2, every=10, held_out=40)
    tuned, metrics = fine_tune(model, tokenizer(), (pairs, known), tuning)
    again, repeated = fine_tune(model, tokenizer(), (pairs, known), tuning)
    assert metrics["tuned.best"] > metrics["tuned.frozen"]
    assert metrics == repeated
    for name, value in tuned.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(before[name], model.state_dict()[name])
    words = "words.weight"
    assert torch.equal(tuned.state_dict()[words], model.state_dict()[words]), "the table stays"


def test_an_encoder_that_only_gets_worse_stays_as_it_was(index):
    torch.manual_seed(0)
    items = catalogue()
    known = known_of(items, item_texts(items))
    pairs = make_pairs(items, EVENTS, (known, index), count=100, seed=0)
    model = SentenceEncoder(SHAPE)
    tuned, metrics = fine_tune(
        model, tokenizer(), (pairs, known), Tuning(steps=1, rate=0.0, every=1)
    )
    assert metrics["tuned.steps"] == 0
    for name, value in tuned.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_what_a_query_is_like_is_read_from_where_its_words_stand(index):
    found = {q: traits(index.words(q), index.size) for q in ("aster", "mouse", "x100", "zebra", "")}
    assert found["aster"]["brand"] > found["mouse"]["brand"] == 0
    assert found["x100"]["number"] == 1
    assert found["zebra"]["known"] == 0
    assert all(0 <= value <= 1 for each in found.values() for value in each.values())
    assert found[""]["always"] == 1


@pytest.mark.parametrize("always", [-1e9, -1.0, 0.0, 1e9])
def test_neither_half_is_ever_left_out(always):
    learned = {**dict.fromkeys(NAMES, 0.0), "always": always}
    assert LEAST <= weight_of(traits((), 10), learned) <= MOST


def test_a_manifest_without_traits_has_one_weight_for_all():
    assert learned_in({"dense_weight": 0.8}) is None
    assert learned_in({PREFIX + "brand": 2.0}) == {**dict.fromkeys(NAMES, 0.0), "brand": 2.0}


def test_a_catalogue_asks_for_its_kinds_brands_and_products():
    items = catalogue()
    searches = pretend(items, each=50, seed=0)
    assert {s.kind for s in searches} == {"kind", "brand", "brand's kind", "product"}
    mouse = next(s for s in searches if s.text == "mouse")
    assert set(items["category"].to_numpy()[mouse.gains == mouse.gains.max()]) == {"mouse"}
    for search in searches:
        assert np.nanmax(search.gains) > 0
    assert [s.text for s in searches] == [s.text for s in pretend(items, each=50, seed=0)]


def test_a_weight_for_each_query_is_learned_where_the_catalogue_names_enough_kinds():
    items = pl.concat(
        [catalogue().with_columns(pl.col("title", "category") + f" {n}") for n in range(6)]
    ).with_columns(item_key=pl.int_range(1, pl.len() + 1))

    def encode(texts):
        return np.ones((len(texts), 4), np.float32) / 2

    vectors = np.random.default_rng(0).random((items.height, 4), np.float32)
    weighed = weigh(items, vectors, encode, each=30, seed=0)
    assert set(weighed.learned) == set(NAMES)
    assert weighed.metrics["made_up.single_weight"] < 0.5, "vectors that mean nothing"
    words_only = weight_of({**dict.fromkeys(NAMES, 0.0), "always": 1.0}, weighed.learned)
    assert words_only < 0.9
    assert weigh(catalogue(), vectors[:48], encode, each=30, seed=0).learned == {}


def test_texts_that_hold_nothing_but_kinds_teach_no_weight():
    items = pl.concat([catalogue().with_columns(pl.col("category") + f" {n}") for n in range(6)])
    items = items.with_columns(
        pl.lit("").alias("brand"),
        item_key=pl.int_range(1, pl.len() + 1),
        title=pl.format("Thing{}", pl.int_range(pl.len())),  # one word: no part of it is asked for
    )
    vectors = np.full((items.height, 4), 0.5, np.float32)
    weighed = weigh(items, vectors, lambda texts: vectors[: len(texts)], each=30, seed=0)
    assert (weighed.learned, weighed.metrics) == ({}, {})
