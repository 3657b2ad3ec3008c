"""The simulation shows what the weighted sum puts first, and follows what was looked at."""

import numpy as np

from artifacts.ranker.features import names
from benchmarks.position_bias import shown
from models.fusion.tables import Table

SOURCES, CANDIDATES = ("cf", "text"), 30


def asked(number: int, rng: np.random.Generator) -> Table:
    columns = names(SOURCES)
    # What else sources say of an item has no weight.
    features = rng.random((CANDIDATES, len(columns))).astype(np.float32)
    features[:, columns.index("cf.score")] = np.linspace(1, 0, CANDIDATES)
    target = np.arange(CANDIDATES) < 3
    return Table(f"u{number}", features, target, 3, np.arange(CANDIDATES, dtype=np.int32))


def test_what_is_bought_is_followed_as_often_as_its_place_is_looked_at() -> None:
    rng = np.random.default_rng(0)
    questions = [asked(number, rng) for number in range(600)]
    lines, clicked = shown(questions, np.array([1.0, 0.0]), rng, (1, 1.0))
    pages = [line for line in lines if "event" not in line]
    assert len(pages) == len(clicked) == 600
    assert all(len(page["item_ids"]) == 20 for page in pages)
    assert pages[1]["item_ids"][0] == str(1 + 1_000_000)
    often = np.mean([table.target for table in clicked], axis=0)
    np.testing.assert_allclose(often[:3], [1, 1 / 2, 1 / 3], atol=0.07)
    assert not often[3:].any()
    assert sum("event" in line for line in lines) == sum(int(t.target.sum()) for t in clicked)


def test_pages_are_ordered_by_the_scores_of_all_sources() -> None:
    rng = np.random.default_rng(2)
    question = asked(0, rng)
    lines, _ = shown([question], np.array([0.3, 0.7]), rng, (1, 1.0))
    scores = dict(zip(names(SOURCES), question.features.T, strict=True))
    summed = np.float32(0.3) * scores["cf.score"] + np.float32(0.7) * scores["text.score"]
    assert lines[0]["item_ids"] == [str(1 + row) for row in np.argsort(-summed)[:20]]


def test_pages_without_some_sources_come_before_the_last_which_has_all() -> None:
    rng = np.random.default_rng(1)
    lines, _ = shown([asked(0, rng)], np.array([0.5, 0.5]), rng, (6, 1.0))
    pages = [line for line in lines if "event" not in line]
    assert [page["time"] for page in pages] == [-5.0, -4.0, -3.0, -2.0, -1.0, 0.0]
    assert len({tuple(page["item_ids"]) for page in pages}) > 1
