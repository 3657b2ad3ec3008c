"""The rows that share a vector are named together, best vector first."""

from pathlib import Path

import numpy as np
import pytest

from artifacts.engines.distinct import WHERE, Distinct
from artifacts.errors import ArtifactCorrupt


def shared(directory: Path, where: list[int]) -> Distinct:
    np.save(directory / WHERE, np.array(where, np.int32))
    return Distinct(directory / WHERE, len(where))


def test_a_vector_stands_for_all_its_rows(tmp_path):
    distinct = shared(tmp_path, [2, 0, 2, 1, 2])
    assert len(distinct) == 3
    found = np.array([[3, 1], [2, 0]])
    cosines = np.array([[0.9, 0.5], [0.7, -np.inf]], np.float32)
    rows, scores = distinct.rows(found, cosines, 4)
    assert rows.tolist() == [[1, 3, 5, 2], [4, 0, 0, 0]]
    np.testing.assert_array_equal(scores[0], np.array([0.9, 0.9, 0.9, 0.5], np.float32))
    assert scores[1, 0] == np.float32(0.7)
    assert np.isneginf(scores[1, 1:]).all()


def test_the_best_k_vectors_name_the_best_k_rows(tmp_path):
    draw = np.random.default_rng(0)
    for vectors, k in ((1, 1), (5, 3), (30, 40), (200, 60)):
        where = np.concatenate([np.arange(vectors), draw.integers(0, vectors, 300)])
        distinct = shared(tmp_path, where.tolist())
        cosines = draw.random((6, vectors), np.float32)
        order = np.argsort(-cosines, axis=1)[:, : min(k, vectors)]
        rows, scores = distinct.rows(order + 1, np.take_along_axis(cosines, order, 1), k)
        by_row = cosines[:, where]
        np.testing.assert_array_equal(scores, -np.sort(-by_row, axis=1)[:, :k])
        np.testing.assert_array_equal(np.take_along_axis(by_row, rows - 1, 1), scores)
        assert all(len(set(row)) == k for row in rows.tolist())


def test_another_catalogues_file_is_refused(tmp_path):
    np.save(tmp_path / WHERE, np.zeros(3, np.int32))
    with pytest.raises(ArtifactCorrupt, match="for 4 items; train the version anew"):
        Distinct(tmp_path / WHERE, 4)
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        Distinct(tmp_path / "absent.npy", 4)
