"""Searches are answered by meaning and by words, whatever the query's characters."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from artifacts import loader
from artifacts import manifest as manifests
from artifacts.engine import Question
from artifacts.engines.encoder import MAX_TOKENS, TextEncoder
from artifacts.engines.lexical import LexicalIndex, build_lexical, compact_forms
from artifacts.engines.query_weight import FED_BACK
from artifacts.engines.text import TextEngine
from artifacts.errors import ArtifactCorrupt
from artifacts.item_text import item_text
from models.progress import silent
from models.text.train import Config, train

ITEMS = (
    ("Greek yogurt, vanilla, 6 oz", "Yogurt", "Creamline", ""),
    ("Strawberry yogurt drink, 8 oz", "Yogurt", "Creamline", ""),
    ("Whole milk, 1 gal", "Milk", "Meadow", ""),
    ("Dry dog food, chicken, 20 lb", "Pet food", "Bark", ""),
    ("Canned cat food, tuna", "Pet food", "Purr", ""),
    ("Frozen pizza, pepperoni", "Frozen meals", "Napoli", ""),
    ("DV7-1211ea notebook, 17 inch", "Computers", "HP", "Laptop with 4 GB. Metal case"),
    ("Wi-Fi router AX20", "Network", "Link", "Wireless access for the home"),
    ("Café crème capsules", "Coffee", "Aroma", ""),
    ("Café crème capsules", "Coffee", "Aroma", ""),
)
KEYS = tuple(range(100, 100 + len(ITEMS)))


def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    items = pl.DataFrame(
        {
            "item_key": KEYS,
            "title": [title for title, *_ in ITEMS],
            "category": [category for _, category, *_ in ITEMS],
            "brand": [brand for *_, brand, _ in ITEMS],
            "text": [text for *_, text in ITEMS],
            "domain": "Shop",
            "attributes": '{"organic": "no", "sold": "online"}',
        }
    )
    events = pl.DataFrame(
        schema={
            "user_id": pl.String,
            "item_key": pl.Int64,
            "time": pl.Datetime("us", "UTC"),
            "order": pl.Int64,
            "query": pl.String,
        }
    )
    return items, events


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    items, events = frames()
    return train(Config(), items, events, tmp_path_factory.mktemp("repository"), silent)


@pytest.fixture(scope="module")
def engine(artifact: Path) -> TextEngine:
    loaded = loader.load(artifact)
    assert isinstance(loaded, TextEngine)
    return loaded


def search(*queries: str, k: int = 5, candidates: tuple[int, ...] = ()) -> Question:
    rows = len(queries)
    return Question(
        history=np.zeros((rows, 0), np.int64),
        history_weight=np.zeros((rows, 0), np.float32),
        query=queries,
        k=np.full(rows, k),
        candidates=np.tile(candidates, (rows, 1)) if candidates else None,
    )


def best(engine: TextEngine, query: str) -> int:
    keys = engine.run(search(query)).item_keys
    assert keys is not None
    return int(keys[0, 0])


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("greek yogurt", 0),
        ("GREEK YOGURTS", 0),
        ("something to feed my puppy", 3),
        ("kitten", 4),
        ("laptop", 6),
        ("dv71211ea", 6),
        ("dv7 1211ea", 6),
        ("wifi", 7),
        ("wi fi", 7),
        ("cafe creme", 8),
        ("peperoni piza", 5),
        ("yogu", 0),
    ],
)
def test_the_right_product_comes_first(engine, query, place):
    found = {KEYS[place], KEYS[9] if place == 8 else KEYS[place]}
    if query == "yogu":
        found = {KEYS[0], KEYS[1]}
    assert best(engine, query) in found


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \t\n",
        "title:foo",
        'a AND (b OR "c',
        '+-!(){}[]^"~*?:\\/',
        "brand:* OR *:*",
        "\ud800\udfff yogurt",
        "\x00\x01",
        "e\u0301\u0301\u0301",
        "😀😀",
        "йогурт 酸奶 زبادي",
        "a" * 5_000,
        "yogurt " * 2_000,
        "x y z " * 500,
        "%s %d {0} ${HOME}",
    ],
)
def test_no_query_is_too_strange_to_answer(engine, query):
    answer = engine.run(search(query, k=len(ITEMS)))
    assert answer.item_keys is not None
    asked = any(c.isprintable() and c != " " for c in query)
    assert np.isfinite(answer.scores).any() == asked
    scores = answer.scores[np.isfinite(answer.scores)]
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores) <= 1e-6).all()
    shown = answer.item_keys[answer.item_keys != 0].tolist()
    assert len(shown) == len(set(shown)) == (len(ITEMS) if asked else 0)


def test_query_syntax_has_no_meaning(engine):
    plain = engine.run(search("yogurt NOT greek", k=10))
    marked = engine.run(search("yogurt -greek +NOT", k=10))
    assert plain.item_keys is not None
    assert KEYS[0] in plain.item_keys[0, :2]
    assert marked.item_keys is not None
    assert KEYS[0] in marked.item_keys[0, :2]


def test_given_candidates_score_as_they_do_when_retrieved(engine):
    retrieved = engine.run(search("vanilla yogurt", "pet food", k=len(ITEMS)))
    assert retrieved.item_keys is not None
    for row, query in enumerate(("vanilla yogurt", "pet food")):
        keys = tuple(retrieved.item_keys[row].tolist())
        scored = engine.run(search(query, candidates=keys))
        np.testing.assert_allclose(scored.scores[0], retrieved.scores[row], atol=1e-5)


def test_a_query_asked_before_is_not_encoded_again(artifact):
    engine = loader.load(artifact)
    first = engine.run(search("oat milk", "oat milk", "", "rye bread"))
    again = engine.run(search("oat milk", candidates=KEYS[:2]))
    assert (first.queries_kept, first.queries_encoded) == (1, 2)
    assert (again.queries_kept, again.queries_encoded) == (1, 0)


def test_an_unknown_candidate_has_no_score(engine):
    answer = engine.run(search("yogurt", candidates=(KEYS[0], 7, 0)))
    assert np.isfinite(answer.scores[0]).tolist() == [True, False, False]
    assert answer.unknown_items == 1


def test_an_answer_does_not_depend_on_who_else_is_in_the_batch(engine):
    alone = engine.run(search("dog food", k=4))
    beside = engine.run(search("pizza", "dog food", "", "milk", k=4))
    assert alone.item_keys is not None
    assert beside.item_keys is not None
    assert beside.item_keys[1].tolist() == alone.item_keys[0].tolist()
    np.testing.assert_allclose(beside.scores[1], alone.scores[0], atol=1e-6)
    assert not beside.item_keys[2].any()


def test_each_row_gets_as_many_items_as_it_asked_for(engine):
    question = search("yogurt", "milk")
    answer = engine.run(
        Question(question.history, question.history_weight, ("yogurt", "milk"), k=np.array([1, 30]))
    )
    assert answer.item_keys is not None
    assert answer.item_keys.shape == (2, 30)
    assert (answer.item_keys != 0).sum(axis=1).tolist() == [1, len(ITEMS)]


def test_without_a_query_the_history_is_the_question(engine):
    history = np.array([[KEYS[3], 999]])
    weight = np.ones((1, 2), np.float32)
    answer = engine.run(Question(history, weight, ("",), k=np.array([3])))
    assert answer.item_keys is not None
    assert answer.item_keys[0, :2].tolist() == [KEYS[3], KEYS[4]]
    assert answer.unknown_items == 1
    with_query = engine.run(Question(history, weight, ("milk",), k=np.array([3])))
    assert with_query.item_keys is not None
    assert with_query.item_keys[0, 0] == KEYS[2]


def test_neither_query_nor_history_gives_no_opinion(engine):
    answer = engine.run(search("", k=3))
    assert answer.item_keys is not None
    assert not answer.item_keys.any()
    assert answer.embedding is not None
    assert not answer.embedding.any()


def test_the_embedding_finds_an_item_that_was_added_a_moment_ago(engine, artifact):
    encoder = TextEncoder(artifact)
    fresh = encoder.encode([item_text("Goat milk, 1 qt", "", "Milk", "Shop", "")])
    other = encoder.encode([item_text("Motor oil 5W-30", "", "Car care", "Shop", "")])
    vector = engine.run(search("goat milk")).embedding
    assert vector is not None
    assert float((vector @ fresh.T)[0, 0]) > 0.6 > float((vector @ other.T)[0, 0])


def test_vectors_are_unit_bounded_in_length_and_zero_without_a_word(artifact):
    encoder = TextEncoder(artifact)
    vectors = encoder.encode(["milk", "", "milk " * 10_000, "milk " * MAX_TOKENS])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1], atol=1e-5)
    assert np.array_equal(vectors[2], vectors[3])


def test_a_vector_stays_the_same_while_a_small_cache_overflows_in_many_threads(artifact):
    encoder = TextEncoder(artifact, cache_size=2)
    texts = ["milk", "dog food", "pizza", "coffee"] * 5
    expected = TextEncoder(artifact).encode(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: encoder.encode(texts), range(4)):
            assert np.array_equal(vectors, expected)


def with_feedback(artifact: Path, feedback: float) -> TextEngine:
    manifest, keys = manifests.verify(artifact)
    manifest.engine_parameters[FED_BACK] = feedback
    return TextEngine(artifact, manifest, keys)


def test_a_query_is_moved_to_what_it_finds_best(artifact):
    once, twice = with_feedback(artifact, 0.0), with_feedback(artifact, 0.3)
    for query in ("yogurt", "food for animals", "кофе"):
        plain, moved = once.run(search(query, k=3)), twice.run(search(query, k=3))
        assert plain.item_keys is not None
        assert plain.embedding is not None
        assert moved.embedding is not None
        like_these = Question(plain.item_keys, np.ones((1, 3), np.float32), k=np.array([1]))
        mean = once.run(like_these).embedding
        assert mean is not None
        expected = 0.7 * plain.embedding + 0.3 * mean
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(moved.embedding, expected, atol=1e-5)


def test_queries_of_one_batch_are_moved_as_each_alone(artifact):
    together = with_feedback(artifact, 0.3).run(search("yogurt", "", "dog", "yogurt", "laptop"))
    for row, query in enumerate(("yogurt", "", "dog", "yogurt", "laptop")):
        alone = with_feedback(artifact, 0.3).run(search(query))
        assert together.embedding is not None
        assert alone.embedding is not None
        np.testing.assert_allclose(together.embedding[row], alone.embedding[0], atol=1e-5)


def test_an_artifact_of_before_asks_once(artifact):
    manifest, keys = manifests.verify(artifact)
    del manifest.engine_parameters[FED_BACK]
    before = TextEngine(artifact, manifest, keys).run(search("yogurt"))
    np.testing.assert_array_equal(
        before.scores, with_feedback(artifact, 0.0).run(search("yogurt")).scores
    )


def test_the_artifact_is_not_touched_by_being_read(artifact):
    before = {p: p.stat().st_mtime_ns for p in artifact.rglob("*")}
    loader.load(artifact)
    assert {p: p.stat().st_mtime_ns for p in artifact.rglob("*")} == before


def test_a_broken_index_or_tokenizer_names_its_file(artifact, tmp_path):
    (tmp_path / "lexical").mkdir()
    with pytest.raises(ArtifactCorrupt, match="lexical"):
        LexicalIndex(tmp_path / "lexical")
    (tmp_path / "encoder.onnx").symlink_to(artifact / "encoder.onnx")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactCorrupt, match=r"tokenizer\.json"):
        TextEncoder(tmp_path)


def test_holding_all_words_beats_holding_one_of_them_often(tmp_path):
    titles = ["red wine red wine red wine red", "red cheese", "blue cheese", "wine rack", "bread"]
    build_lexical(tmp_path / "lexical", [{"title": title} for title in titles])
    index = LexicalIndex(tmp_path / "lexical")
    query = index.parse("red cheese")
    assert query is not None
    rows, scores = index.search(query, 5)
    assert rows[0] == 2
    np.testing.assert_allclose(index.score(query, rows), scores)
    assert index.score(query, np.array([5, 0, 99])).tolist() == [0, 0, 0]


def test_inner_marks_are_left_out_of_a_word():
    assert compact_forms("Wi-Fi 6, DV7-1211ea") == ["wifi", "dv71211ea"]
    assert compact_forms("Wi-Fi™ 6") == ["wifi"]
    assert "wifi" in compact_forms("wi fi", pairs=True)


def test_an_item_is_worded_once_and_without_its_specifications():
    text = item_text(
        "Oat milk, 1 l", "Oatly", "Milk", "Grocery", "A drink from oats. 3% fat. Vegan"
    )
    assert text == "Oat milk, 1 l, Oatly, A drink from oats"
    assert item_text("Thing", "", "", "Garden", "") == "Thing, Garden"
    assert item_text("", "", "", "", "") == ""
