"""Item keys are a pure function of the shop's id, and map to rows and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from artifacts.keys import NO_ITEM, KeyIndex, catalogue_hash, item_key, item_keys


def test_a_decimal_id_is_its_own_key():
    assert item_key("1095275") == 1095275


def test_ids_that_only_look_alike_have_different_keys():
    assert len({item_key(i) for i in ("7", "07", "7 ", "٧", "seven", "0", "")}) == 7


@given(st.text(max_size=40))
def test_every_id_has_a_stable_positive_key(item_id):
    key = item_key(item_id)
    assert 0 < key < 2**63
    assert key == item_key(item_id)
    assert key != NO_ITEM


@given(st.lists(st.integers(1, 2**62), unique=True, max_size=50), st.integers(1, 2**62))
def test_keys_map_to_rows_and_back_and_unknown_ones_to_zero(keys, stranger):
    index = KeyIndex(np.array(keys, np.int64))
    asked = np.array([[*keys, stranger, 0]], np.int64)
    rows = index.rows(asked)
    known = np.isin(asked, np.array(keys, np.int64))
    assert (rows[~known] == 0).all()
    assert (index.keys_by_row[rows[known]] == asked[known]).all()
    assert rows.shape == asked.shape


def test_the_catalogue_hash_ignores_order_and_sees_every_change():
    a = item_keys(["1", "2", "sku-3"])
    assert catalogue_hash(a) == catalogue_hash(a[::-1])
    assert catalogue_hash(a) != catalogue_hash(a[:2])


def test_an_id_is_the_same_however_its_accents_are_encoded():
    assert item_key("cafe\u0301-김치") == item_key("caf\u00e9-\u1100\u1175\u11b7치")
