"""A model's artifacts answer alike, whether all items are looked through or lists of them."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import models.content.train as content
import models.sequence.train as sequence
import models.text.train as text
from artifacts.engine import Question
from artifacts.engines.indexed import with_history
from artifacts.engines.nearest import LISTS, TABLE, NearestSearch
from artifacts.errors import ArtifactCorrupt
from artifacts.loader import load
from artifacts.manifest import read
from models.fusion.config import readers
from models.index import RECALL, build_index, exact_best, recall, save_index
from models.progress import silent
from tests.support.disks import small_disk
from tests.support.shop import shop

TRAINERS: dict[str, tuple[Any, Any]] = {
    "content": (
        content.train,
        content.Config(width=16, hash_buckets=512, steps=20, further_steps=2, batch=32,
                       negatives=32, length=20, validation_users=20),
    ),
    "sequence": (
        sequence.train,
        sequence.Config(width=16, blocks=1, heads=1, max_history=30, batch=16, places=4,
                        horizon=10, targets=4, negatives=32, steps=20, evaluations=1,
                        validation_users=20, finishing_steps=2),
    ),
    "text": (text.train, text.Config(most_lists=1.0)),
}  # fmt: skip


@pytest.fixture(scope="module", params=TRAINERS)
def both(request, tmp_path_factory):
    """One model twice, looked through and with lists, and its items."""
    train, config = TRAINERS[request.param]
    items, events = shop(per_aisle=30)
    paths = [
        train(
            replace(config, index_from=least), items, events, tmp_path_factory.mktemp("m"), silent
        )
        for least in (10**9, 1)
    ]
    return [load(path) for path in paths], paths, items["item_key"].to_numpy()


def asked(keys, *, k=None, candidates=None):
    history = np.stack([keys[5:15], keys[50:60], np.zeros(10, np.int64)])
    history[0, :3] = (0, 2**62, history[0, 4])  # a gap, an unknown item, a repeated one
    weight = np.linspace(0.5, 1, 30, dtype=np.float32).reshape(3, 10)
    if candidates is not None:
        candidates = np.tile(candidates, (3, 1))
    wanted = None if k is None else np.array([k, k // 2, k])
    return Question(history=history, history_weight=weight, k=wanted, candidates=candidates)


def test_candidates_are_scored_alike(both):
    (scanned, indexed), _, keys = both
    question = asked(keys, candidates=np.append(keys, [2**62, 0]))
    expected, found = scanned.run(question), indexed.run(question)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-4)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=2e-4)
    assert np.isnan(found.scores[:, -2:]).all()
    assert found.unknown_items == expected.unknown_items


@pytest.mark.parametrize("k", [10, 40])
def test_a_look_through_all_finds_the_best_of_all_scores(both, k):
    (scanned, _), _, keys = both
    every = scanned.run(asked(keys, candidates=keys)).scores
    found = scanned.run(asked(keys, k=k))
    assert found.item_keys is not None
    for row, wanted in enumerate((k, k // 2)):
        order = np.argsort(-every[row], kind="stable")[:wanted]
        # Equal but for the order of sums, so close ones may change places.
        np.testing.assert_allclose(found.scores[row, :wanted], every[row][order], atol=1e-4)
        given = np.searchsorted(keys, found.item_keys[row, :wanted])
        np.testing.assert_allclose(every[row][given], every[row][order], atol=1e-4)
    assert not found.item_keys[2].any(), "nobody is known there"


def test_the_best_are_found_in_order_by_lists_too(both):
    (scanned, indexed), _, keys = both
    expected, found = scanned.run(asked(keys, k=10)), indexed.run(asked(keys, k=10))
    assert found.item_keys.shape == (3, 10)
    assert (found.item_keys[1, 5:] == 0).all()
    assert not found.item_keys[2].any(), "nobody is known there"
    hits = np.isin(found.item_keys[0], expected.item_keys[0]).mean()
    assert hits >= 0.8
    given = found.scores[0]
    assert (np.diff(given) <= 1e-6).all()
    one_by_one = indexed.run(asked(keys, candidates=found.item_keys[0]))
    np.testing.assert_allclose(one_by_one.scores[0], given, atol=1e-4)


def test_more_than_the_catalogue_can_be_asked_for(both):
    (_, indexed), _, keys = both
    answer = indexed.run(asked(keys, k=500))
    named = answer.item_keys[0][answer.item_keys[0] > 0]
    assert answer.item_keys.shape == (3, 500)
    assert len(np.unique(named)) == len(named)
    assert np.isnan(answer.scores[answer.item_keys == 0]).all()


def test_the_manifest_says_how_much_the_index_finds(both):
    _, (scanned, indexed), _ = both
    assert "probes" not in read(scanned).engine_parameters
    assert read(scanned).metrics["index_recall@100"] == 1.0
    assert read(indexed).engine_parameters["probes"] >= 1
    assert read(indexed).metrics["index_recall@100"] >= RECALL


def test_text_reads_queries_only_where_histories_would_read_too_much(tmp_path):
    items, events = shop(per_aisle=30)
    config = text.Config(index_from=1, most_lists=0.02)
    path = text.train(config, items, events, tmp_path, silent)
    manifest = read(path)
    assert {i.name for i in manifest.inputs} == {"query", "k", "candidates"}
    assert not next(i for i in manifest.inputs if i.name == "query").optional
    assert manifest.metrics[text.LEFT_OUT] > config.most_lists
    engine = load(path)
    assert not readers({"text": engine})
    found = engine.run(Question(np.zeros((1, 0), np.int64), np.zeros((1, 0), np.float32),
                                k=np.array([5]), query=(items["title"][3],)))  # fmt: skip
    assert found.item_keys is not None
    assert items["item_key"][3] in found.item_keys[0]


def test_a_damaged_index_is_named(both, tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    save_index(tmp_path, vectors, build_index(vectors, vectors))
    NearestSearch.open(tmp_path, 1)
    np.save(tmp_path / TABLE, vectors[:3])
    with pytest.raises(ArtifactCorrupt, match=r"lists\.npz.*train the version anew"):
        NearestSearch.open(tmp_path, 1)
    (tmp_path / LISTS).write_bytes(b"no")
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        NearestSearch.open(tmp_path, 1)


def crowd(size=3_000, width=12, seed=0):
    """Vectors in clumps and of unlike length."""
    random = np.random.default_rng(seed)
    clumps = random.standard_normal((30, width))
    points = clumps[random.integers(0, 30, size)] + 0.5 * random.standard_normal((size, width))
    return (points * random.uniform(0.3, 1.5, (size, 1))).astype(np.float32)


def test_reading_every_list_is_exact_search():
    vectors, users = crowd(), crowd(50, seed=1)
    index = build_index(vectors, users)
    table = vectors[index.order]
    search = NearestSearch(table, index.lists, 10**6)
    assert recall(search, users, exact_best(table, users, 100)) == 1.0
    rows, scores = search.search(users, 20)
    np.testing.assert_allclose(scores, np.sort(users @ table.T)[:, ::-1][:, :20], rtol=1e-5)
    products = np.take_along_axis(users @ table.T, rows - 1, axis=1)
    np.testing.assert_allclose(products, scores, rtol=1e-5)


def test_a_few_lists_find_nearly_everything_and_no_more_are_read_than_that_takes():
    vectors, users = crowd(), crowd(100, seed=1)
    index = build_index(vectors, users)
    assert sorted(index.order.tolist()) == list(range(len(vectors)))
    assert index.recall >= RECALL
    assert index.probes < len(index.lists.centres)


def test_an_index_is_the_same_every_time():
    first, again = (build_index(crowd(), crowd(20, seed=1), seed=3) for _ in range(2))
    assert first.order.tolist() == again.order.tolist()
    assert first.probes == again.probes


def test_an_item_of_the_history_counts_once_with_its_own_score():
    rows = np.array([[1, 2, 3, 4]])
    scores = np.array([[9.0, 8.0, 7.0, 6.0]], np.float32)
    history = np.array([[0, 3, 7, 3]])
    own = np.array([[np.nan, 10.0, 8.5, 10.0]], np.float32)
    best, values = with_history(rows, scores, history, own)
    assert best.tolist() == [[3, 1, 7, 2]]
    assert values.tolist() == [[10.0, 9.0, 8.5, 8.0]]


def test_a_table_that_does_not_fit_on_the_disk_is_an_error_and_not_the_end(tmp_path):
    """Written through a mapping it ended the process (SIGBUS): hence one of its own."""
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from models.codes import Codes; from models.index import save_index\n"
        "rows = np.zeros((5000, 100), np.float32)\n"
        "save_index(Path(sys.argv[1]), rows, Codes(rows.astype(np.int8), rows[0], 1.0))\n"
    )
    with small_disk(tmp_path / "disk", 1) as disk:
        if disk is None:
            pytest.skip("this process may not mount a file system")
        command = [sys.executable, "-c", code, str(disk.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
