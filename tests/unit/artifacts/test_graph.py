"""Histories reach a graph known items only, newest last."""

import numpy as np

from artifacts.engines.graph import left_pad


def test_unknown_items_leave_no_gap_and_the_newest_stay_at_the_right():
    rows = np.array([[3, 0, 5, 0], [0, 0, 0, 0], [1, 2, 3, 4]])
    weight = np.array([[1, 9, 2, 9], [9, 9, 9, 9], [1, 2, 3, 4]], np.float32)
    padded, weights = left_pad(rows, weight, 3)
    assert padded.tolist() == [[0, 3, 5], [0, 0, 0], [2, 3, 4]]
    assert weights.tolist() == [[0, 1, 2], [0, 0, 0], [2, 3, 4]]


def test_an_empty_history_still_has_one_padded_place():
    rows, weight = left_pad(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32), 10)
    assert rows.shape == weight.shape == (2, 1)
