"""Items in memory: rows that stay, snapshots that never change."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.fusion import FusionArtifact
from artifacts.keys import item_key
from gateway.catalogue import Catalogue
from gateway.types import Item

FUSION = FusionArtifact(
    item_keys=np.array([1, 2], np.int64),
    vectors=np.eye(2, dtype=np.float32),
    popularity=np.array([0.5, 1.0], np.float32),
    domain_names=("A", "B"),
    domain_transition=np.array([[0.0, 1.0], [2.0, 3.0]], np.float32),
    domain_prior=np.array([0.4, 0.6], np.float32),
    weights={},
    quantiles={},
    tuned_on={"content": 3},
)


def item(item_id: str, **fields: object) -> Item:
    return Item(item_id, item_key(item_id), **fields)  # type: ignore[arg-type]


def test_the_artifact_adds_what_it_learned_and_the_store_the_rest() -> None:
    made = Catalogue(FUSION, [item("9", domain="C"), item("2", domain="B", price=3.0)])
    columns = made.columns
    assert columns.keys.tolist() == [9, 2]
    assert columns.popularity.tolist() == [0.0, 1.0]
    assert columns.vectors.tolist() == [[0, 0], [0, 1]]
    assert columns.domain_names == ("A", "B", "C")
    assert columns.domain.tolist() == [2, 1]
    assert np.isnan(columns.price[0])
    assert columns.price[1] == 3
    assert (made.is_new(9), made.is_new(2)) == (True, False)
    assert made.transition.shape == (3, 3)
    assert made.transition[1, 0] == 2


def test_a_snapshot_never_changes_whatever_happens_afterwards() -> None:
    made = Catalogue(FUSION, [item(str(n), price=float(n)) for n in range(1, 6)])
    old = made.columns
    kept = {name: np.copy(getattr(old, name)) for name in ("price", "available", "keys", "vectors")}
    made.upsert([item("3", price=99.0, available=False), item("new")])
    made.delete([1])
    made.upsert([item(f"more-{n}") for n in range(3000)])
    for name, before in kept.items():
        np.testing.assert_array_equal(getattr(old, name), before)
    assert made.columns.price[2] == 99
    assert len(made.columns.keys) == 3006


def test_an_id_is_known_by_its_own_name_only() -> None:
    made = Catalogue(FUSION, [item("1")])
    assert made.row_of("1") == 0
    assert made.row_of("01") == -1
    assert made.id_of(1) == "1"


def test_ids_and_names_are_known_however_their_accents_are_encoded() -> None:
    made = Catalogue(FUSION, [item("caf\u00e9", brand="Nesco", category="e\u0301te\u0301")])
    assert made.row_of("cafe\u0301") == 0
    assert made.id_of(item_key("cafe\u0301")) == "caf\u00e9"
    assert made.category("\u00e9t\u00e9") == made.category("e\u0301te\u0301") == 0
    assert made.category("ete") == -1
    assert made.upsert([item("cafe\u0301", brand="Nesco")]) == (0, 1)


def test_an_item_of_a_stored_name_joins_it_however_its_accents_are_encoded() -> None:
    made = Catalogue(FUSION, [item("1", category="e\u0301te\u0301", domain="e\u0301te\u0301")])
    made.upsert([item("2", category="\u00e9t\u00e9", domain="\u00e9t\u00e9")])
    assert made.columns.category.tolist() == [0, 0]
    assert made.columns.domain_names == ("A", "B", "e\u0301te\u0301")


def test_words_follow_updates_and_deletions() -> None:
    made = Catalogue(FUSION, [item("1", title="Greek yogurt"), item("2", title="Soap")])
    assert made.find_words("yogurt")[0].tolist() == [0]
    made.upsert([item("1", title="Olives")])
    assert made.find_words("yogurt")[0].tolist() == []
    assert made.find_words("olive")[0].tolist() == [0]
    made.delete([2])
    assert made.find_words("soap")[0].tolist() == []


def test_a_new_item_gets_its_vector_from_the_version_the_fusion_was_tuned_on() -> None:
    made = Catalogue(FUSION, [item("9")])
    old, keys = made.columns, np.array([9], np.int64)
    for source, version, vector in (
        ("content", "4", [0.0, 2.0]),
        ("text", "3", [0.0, 2.0]),
        ("content", "3", [0.0, 2.0, 0.0]),
        ("content", "3", [0.0, 0.0]),
    ):
        made.place(source, version, keys, np.array([vector], np.float32))
        assert not made.columns.vectors.any()
    made.place("content", "3", keys, np.array([[0.0, 2.0]], np.float32))
    assert made.columns.vectors.tolist() == [[0.0, 1.0]]
    assert old.vectors.tolist() == [[0.0, 1.0]], "vectors are set in place"
    # Renamed to nothing that the model reads: the vector of the old name is gone.
    made.place("content", "3", keys, np.array([[0.0, 0.0]], np.float32))
    assert not made.columns.vectors.any()


ids = st.sampled_from([str(n) for n in range(1, 13)] + ["x", "y", "z"])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.lists(ids, unique=True, max_size=5)), max_size=12))
def test_any_sequence_of_changes_leaves_what_a_dictionary_would_hold(
    changes: list[tuple[bool, list[str]]],
) -> None:
    made = Catalogue(FUSION, [])
    model: dict[str, Item] = {}
    rows: dict[str, int] = {}
    for step, (upsert, names) in enumerate(changes):
        if upsert:
            # Some updates change what the word search reads, some the price alone.
            items = [item(name, title=f"{name} t{step % 2}", price=float(step)) for name in names]
            created, updated = made.upsert(items)
            assert created == sum(name not in model for name in names)
            assert updated == len(names) - created
            model |= {i.item_id: i for i in items}
        else:
            made.delete([item_key(name) for name in names])
            for name in names:
                model.pop(name, None)
        assert len(made) == len(model)
        for name in ("x", "y", *model):
            row = made.row_of(name)
            assert (row >= 0) == (name in model)
            if row >= 0:
                assert made.item(row) is model[name]
                assert made.columns.available[row]
                assert made.columns.price[row] == model[name].price
                assert rows.setdefault(name, row) == row
        gone = made.deleted_rows.tolist()
        assert gone == sorted({row for name, row in rows.items() if name not in model})
        for row in gone:
            assert not made.has(row)
            assert not made.columns.available[row]
        keys = np.array([item_key(name) for name in rows], np.int64)
        assert made.rows(keys).tolist() == [rows[n] if n in model else -1 for n in rows]
        for word in ("t0", "t1", "x", "9"):
            assert _found(made, word) == _found(Catalogue(FUSION, model.values()), word)


def _found(made: Catalogue, word: str) -> dict[str, float]:
    """Item id -> how much of the query it holds."""
    rows, coverage = made.find_words(word)
    ids_ = [made.item(row).item_id for row in rows.tolist()]
    return dict(zip(ids_, coverage.tolist(), strict=True))


def test_an_item_that_comes_later_has_what_was_learned_of_it() -> None:
    made = Catalogue(FUSION, [item("2")])
    assert made.columns.sellers.tolist() == [0]
    made.upsert([item("1"), item("7")])
    assert made.columns.vectors.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    assert made.columns.sellers.tolist() == [0, 1]
    assert not made.is_new(item_key("1"))
    assert made.is_new(item_key("7"))


def test_packed_items_come_back_as_they_were() -> None:
    full = item(
        "é-1", title="Käse", text="x" * 500, domain="D", category="C", brand="B", price=2.99,
        available=False, provider="P", attributes={"size": "6 OZ", "ja": "✓"},
    )  # fmt: skip
    others = [item(str(n), price=None) for n in range(1, 5_000)]
    made = Catalogue(FUSION, iter([*others, full]))
    assert made.item(4_999) == full
    assert made.item(4_095) == others[4_095]
    assert made.item(made.row_of("4096")) == others[4_095]
    assert not made.has(5_000)
