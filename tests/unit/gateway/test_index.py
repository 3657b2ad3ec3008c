"""Keys find their rows while the catalogue grows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.index import RowIndex

keys = st.lists(st.integers(1, 2**62), unique=True, max_size=60)


@given(keys, st.integers(0, 60), st.integers(1, 7))
def test_every_key_ever_added_finds_its_row(known: list[int], first: int, step: int) -> None:
    start = np.array(known[:first], np.int64)
    index = RowIndex(start)
    for at in range(len(start), len(known), step):
        part = np.array(known[at : at + step], np.int64)
        index.add(part, np.arange(at, at + len(part), dtype=np.int32))
    asked = np.array([*known, 0, -1, 2**62 + 1], np.int64)
    assert index.rows(asked).tolist() == [*range(len(known)), -1, -1, -1]


def test_a_table_that_grows_loses_nothing() -> None:
    index = RowIndex(np.arange(10, 20, dtype=np.int64))
    index.add(np.arange(100, 5100, dtype=np.int64), np.arange(10, 5010, dtype=np.int32))
    index.add(np.array([5], np.int64), np.array([5010], np.int32))
    assert index.rows(np.array([19, 5099, 5, 7], np.int64)).tolist() == [9, 5009, 5010, -1]


@given(st.integers(1, 62), st.integers(1, 2_000))
def test_keys_that_differ_only_in_some_bits_are_told_apart(shift: int, count: int) -> None:
    many = np.unique((np.arange(1, count + 1, dtype=np.int64) << shift) & (2**62 - 1))
    many = many[many > 0]
    assert RowIndex(many).rows(many).tolist() == list(range(len(many)))
