import numpy as np
import polars as pl
import pytest

from artifacts.keys import KeyIndex
from models.data.errors import DatasetError
from models.data.interactions import EVENT_WEIGHTS, interactions
from tests.unit.data.builders import START, dataset


def test_events_are_sorted_by_user_then_time() -> None:
    made = dataset([("b", "3"), ("a", "2"), ("b", "1"), ("a", "1")], hours=[5, 4, 1, 2])
    found = interactions(made.items, made.events.sample(fraction=1, shuffle=True, seed=1))
    assert found.user_ids == ("a", "b")
    assert found.user.tolist() == [0, 0, 1, 1]
    assert found.item_keys[found.row - 1].tolist() == [1, 2, 1, 3]
    assert found.time.tolist() == [START.timestamp() + 3600 * h for h in (2, 4, 1, 5)]


def test_without_times_the_order_is_the_time() -> None:
    made = dataset([("a", "5"), ("a", "4"), ("a", "9")])
    found = interactions(made.items, made.events)
    assert found.time.tolist() == [0, 1, 2]
    assert found.item_keys[found.row - 1].tolist() == [5, 4, 9]


def test_rows_are_those_of_a_key_index_over_ascending_keys() -> None:
    made = dataset([("a", "30"), ("a", "10"), ("b", "20")])
    found = interactions(made.items, made.events)
    assert found.item_keys.tolist() == [10, 20, 30]
    assert found.row.tolist() == KeyIndex(found.item_keys).rows(np.array([30, 10, 20])).tolist()


def test_types_have_weights_and_dislikes_are_left_out() -> None:
    made = dataset(
        [("a", str(i)) for i in range(1, 7)],
        types=["view", "click", "cart", "purchase", "like", "dislike"],
    )
    found = interactions(made.items, made.events)
    assert found.weight.tolist() == list(EVENT_WEIGHTS.values())
    assert 6 not in found.item_keys


def test_rare_items_leave_the_vocabulary_and_their_events_go() -> None:
    made = dataset([("a", "1"), ("b", "1"), ("b", "2")])
    found = interactions(made.items, made.events, min_item_events=2)
    assert found.item_keys.tolist() == [1]
    assert found.row.tolist() == [1, 1]


def test_all_items_can_be_in_the_vocabulary() -> None:
    made = dataset([("a", "1"), ("b", "2")])
    found = interactions(made.items, made.events.head(1), min_item_events=0)
    assert found.item_keys.tolist() == [1, 2]
    assert found.user_ids == ("a",)


def test_a_matrix_is_binary_or_summed_weights() -> None:
    made = dataset([("a", "1"), ("a", "1"), ("b", "2")], types=["view", "purchase", "click"])
    found = interactions(made.items, made.events)
    assert found.matrix().toarray().tolist() == [[1, 0], [0, 1]]
    assert found.matrix(weighted=True).toarray().tolist() == [[5, 0], [0, 2]]
    assert found.matrix().dtype == np.float32


def test_histories_are_the_users_slices() -> None:
    made = dataset([("a", "1"), ("b", "2"), ("a", "3"), ("c", "1")])
    found = interactions(made.items, made.events)
    assert [rows.tolist() for rows, _, _ in found.histories()] == [[1, 3], [2], [1]]
    assert found.starts.tolist() == [0, 2, 3, 4]


def test_domains_are_indexed_by_name() -> None:
    made = dataset([("a", "1"), ("a", "2")])
    items = made.items.with_columns(domain=pl.Series(["toys", "books"]))
    found = interactions(items, made.events)
    assert [found.domain_names[d] for d in found.domain] == ["toys", "books"]


def test_no_events_make_empty_arrays() -> None:
    made = dataset([("a", "1")])
    found = interactions(made.items, made.events.head(0))
    assert found.histories() == []
    assert found.matrix().shape == (0, 0)


def test_an_unknown_type_is_named() -> None:
    made = dataset([("a", "1")], types=["stare"])
    with pytest.raises(DatasetError, match="'stare' is not one of view"):
        interactions(made.items, made.events)
