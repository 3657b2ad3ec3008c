"""A rough look at all items finds what exact scoring of all finds."""

from pathlib import Path

import numpy as np
import pytest

from artifacts.engine import Scores
from artifacts.engines.nearest import TABLE
from artifacts.engines.scan import BALANCE, SCAN, ZERO, ScanSearch
from artifacts.errors import ArtifactCorrupt
from models.codes import Codes, build_codes
from models.index import save_index


def shop(size: int, width: int, seed: int = 0) -> tuple[Scores, Scores]:
    """Return item vectors in clumps and of unlike length, and users near some of them."""
    random = np.random.default_rng(seed)
    clumps = random.standard_normal((20, width))
    items = clumps[random.integers(0, 20, size)] + 0.4 * random.standard_normal((size, width))
    items *= random.uniform(0.3, 1.5, (size, 1))
    users = clumps[random.integers(0, 20, 40)] + 0.4 * random.standard_normal((40, width))
    return items.astype(np.float32), users.astype(np.float32)


def opened(directory: Path, items: Scores, users: Scores) -> tuple[ScanSearch, Codes]:
    codes = build_codes(items, users)
    save_index(directory, items, codes)
    return ScanSearch(directory), codes


def exact(items: Scores, users: Scores, k: int) -> tuple[np.ndarray, np.ndarray]:
    products = users.astype(np.float64) @ items.T.astype(np.float64)
    rows = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return rows + 1, np.take_along_axis(products, rows, axis=1)


@pytest.mark.parametrize(("size", "width"), [(5, 3), (300, 8), (3_000, 16), (2_500, 384)])
@pytest.mark.parametrize("k", [1, 7, 200])
def test_what_is_found_is_what_exact_scoring_finds(tmp_path, size, width, k):
    items, users = shop(size, width, seed=size + k)
    search, codes = opened(tmp_path, items, users[:20])
    found, scores = search.search(users, k)
    rows, products = exact(items, users, min(k, size))
    assert codes.recall == 1.0
    assert (found[:, : rows.shape[1]] == rows).mean() > 0.999  # float32 may swap neighbours
    np.testing.assert_allclose(scores[:, : rows.shape[1]], products, rtol=1e-4, atol=1e-4)
    assert not found[:, size:].any()
    assert np.isneginf(scores[:, size:]).all()


def test_a_coordinate_that_is_large_on_one_side_costs_the_others_nothing(tmp_path):
    # As the sequence model's: what sells, from -12 to -3, beside vectors of small numbers.
    items, users = shop(3_000, 16)
    random = np.random.default_rng(1)
    items = np.column_stack([0.05 * items, random.uniform(-12, -3, 3_000)]).astype(np.float32)
    users = np.column_stack([4 * users, np.ones(40)]).astype(np.float32)
    search, _ = opened(tmp_path, items, users[:20])
    rows, _ = exact(items, users, 100)
    found, _ = search.search(users, 100)
    assert np.isin(found, rows).all()
    assert (found == rows).mean() > 0.999


def test_one_item_of_great_length_hides_no_other(tmp_path):
    items, users = shop(3_000, 16)
    items[7] *= 40
    search, _ = opened(tmp_path, items, users[:20])
    assert (search.search(users, 50)[0] == exact(items, users, 50)[0]).mean() > 0.999


def test_a_user_unlike_those_that_were_measured_is_served_as_well(tmp_path):
    items, users = shop(3_000, 16)
    strangers = users * np.geomspace(1e-3, 1e3, 16, dtype=np.float32)
    search, _ = opened(tmp_path, items, users)
    assert (search.search(strangers, 50)[0] == exact(items, strangers, 50)[0]).mean() > 0.999


def test_products_further_apart_than_the_margin_have_the_order_of_the_scores(tmp_path):
    items, users = shop(2_000, 32)
    search, found = opened(tmp_path, items, users)
    codes, margins = search.codes(users)
    rough = (codes.astype(np.int64) - ZERO) @ found.items.T.astype(np.int64)
    products = users @ items.T
    for user in range(40):
        order = np.argsort(-rough[user])
        apart = np.searchsorted(-rough[user][order], -rough[user][order] + margins[user], "right")
        # The greatest of all scores from each place on, against the score of what is above.
        rest = np.append(np.maximum.accumulate(products[user][order][::-1])[::-1], -np.inf)
        assert (products[user][order] >= rest[apart] - 1e-5).all()


def test_of_equals_the_first_comes_first_and_there_may_be_any_number(tmp_path):
    items, users = shop(50, 8)
    many = np.tile(items, (40, 1))
    search, _ = opened(tmp_path, many, users)
    rows, _ = search.search(users, 60)
    assert (np.diff(rows[:, :40]) == 50).all()
    assert (np.diff(rows[:, 40:60]) == 50).all()


def test_whom_nothing_is_known_of_gets_nothing(tmp_path):
    items, users = shop(300, 8)
    users[3] = 0
    search, _ = opened(tmp_path, items, users)
    assert search.search(users, 0)[0].shape == (40, 0)
    rows, scores = search.search(users, 10)
    assert not rows[3].any()
    assert np.isneginf(scores[3]).all()
    assert rows[[2, 4]].all()


@pytest.mark.parametrize("items", [np.ones((30, 4)), np.zeros((30, 4)), np.ones((1, 4))])
def test_items_that_are_all_alike_are_found(tmp_path, items):
    search, _ = opened(tmp_path, items.astype(np.float32), np.zeros((0, 4), np.float32))
    rows, scores = search.search(np.ones((2, 4), np.float32), 5)
    many = min(5, len(items))
    assert rows[0, :many].tolist() == list(range(1, many + 1))
    assert scores[0, :many].tolist() == [items[0].sum()] * many


def test_scores_below_zero_are_in_order(tmp_path):
    items, users = shop(500, 8)
    search, _ = opened(tmp_path, items, users)
    rows, scores = search.search(users, 500)
    assert (np.diff(scores) <= 0).all()
    assert (scores[:, -1] < 0).all()
    assert (np.sort(rows) == np.arange(1, 501)).all()


def test_damage_is_named(tmp_path):
    items, users = shop(300, 8)
    opened(tmp_path, items, users)
    np.save(tmp_path / TABLE, items[:299])
    with pytest.raises(ArtifactCorrupt, match=r"scan\.onnx: 300 items.*train the version anew"):
        ScanSearch(tmp_path)
    (tmp_path / BALANCE).write_bytes(b"no")
    with pytest.raises(ArtifactCorrupt, match=r"scan\.npz cannot be read"):
        ScanSearch(tmp_path)
    opened(tmp_path, items, users)
    (tmp_path / SCAN).write_bytes(b"no")
    with pytest.raises(ArtifactCorrupt, match=r"scan\.onnx: ONNX Runtime cannot load it"):
        ScanSearch(tmp_path)
