import json
from pathlib import Path

import polars as pl
import pytest

from artifacts.keys import item_key
from models.data.dataset import (
    CleaningStep,
    DatasetError,
    DatasetInfo,
    Report,
    keyed,
    load_dataset,
    write_dataset,
)
from tests.support.disks import short_files
from tests.unit.data.builders import dataset, items

INFO = DatasetInfo(
    "shop", "a shop", "order", Report((CleaningStep("read", 3, 1, "why"),)), notes=("a note",)
)


def write_small(path: Path) -> Path:
    made = dataset([("a", "1"), ("a", "2"), ("b", "1")])
    queries = pl.DataFrame({"query": ["q"], "item_key": [1], "rating": [3]})
    write_dataset(path, items=made.items, events=made.events, info=INFO, queries=queries)
    return path


def test_a_dataset_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    read = load_dataset(path)
    assert read.info == INFO
    assert read.items["item_id"].to_list() == ["1", "2"]
    assert read.events["order"].to_list() == [0, 1, 0]
    assert read.queries is not None and read.queries.rows() == [("q", 1, 3)]


def test_the_description_counts_what_is_inside(tmp_path: Path) -> None:
    described = json.loads((write_small(tmp_path / "shop") / "dataset.json").read_text())
    assert (described["users"], described["items"], described["events"]) == (2, 2, 3)


def test_an_older_dataset_is_replaced_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    made = dataset([("z", "9")])
    write_dataset(path, items=made.items, events=made.events, info=INFO)
    read = load_dataset(path)
    assert read.events["user_id"].to_list() == ["z"]
    assert read.queries is None
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]


def test_a_full_disk_is_told_in_one_line_and_the_older_dataset_stays(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    many = dataset([(f"user {n}", str(n)) for n in range(2_000)])
    refused = pytest.raises(DatasetError, match=r"shop: cannot be written \(.*make room")
    with short_files(4_096), refused:
        write_dataset(path, items=many.items, events=many.events, info=INFO)
    assert load_dataset(path).events.height == 3
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]


def test_a_directory_that_is_no_dataset_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    made = dataset([("a", "1")])
    with pytest.raises(DatasetError, match="is no dataset"):
        write_dataset(tmp_path, items=made.items, events=made.events, info=INFO)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_dataset_that_fails_its_check_leaves_the_older_one(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    made = dataset([("a", "1")])
    broken = made.events.with_columns(type=pl.lit("stolen"))
    with pytest.raises(DatasetError, match="column type: 'stolen' is not one of view, click"):
        write_dataset(path, items=made.items, events=broken, info=INFO)
    assert load_dataset(path).events.height == 3


def test_a_missing_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.json: not found; make a dataset with `plait"):
        load_dataset(tmp_path)


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    dataset([("a", "1")]).events.drop("market").write_parquet(path / "events.parquet")
    with pytest.raises(DatasetError, match=r"events\.parquet: column market is missing"):
        load_dataset(path)


def test_a_column_of_another_type_is_named_with_its_file(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    made = dataset([("a", "1")]).events.with_columns(pl.col("quantity").cast(pl.Float32))
    made.write_parquet(path / "events.parquet")
    with pytest.raises(DatasetError, match=r"column quantity: is Float32, must be Float64"):
        load_dataset(path)


def test_gaps_where_none_may_be_are_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    made = dataset([("a", "1")]).events
    made.with_columns(user_id=pl.lit(None, pl.String)).write_parquet(path / "events.parquet")
    with pytest.raises(DatasetError, match="column user_id: 1 values are missing"):
        load_dataset(path)


def test_events_on_unknown_items_are_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    items("1").write_parquet(path / "items.parquet")
    with pytest.raises(DatasetError, match=r"column item_key: 2 .* is no item of items\.parquet"):
        load_dataset(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = write_small(tmp_path / "shop")
    (path / "items.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DatasetError, match=r"items\.parquet: cannot be read"):
        load_dataset(path)


def test_two_items_with_one_key_are_refused() -> None:
    with pytest.raises(DatasetError, match="share one key"):
        keyed(pl.DataFrame({"item_id": ["7", "7"]}))


def test_keys_are_those_of_the_artifacts() -> None:
    made = keyed(pl.DataFrame({"item_id": ["12", "phone:7", "0", "007"]}))
    assert made["item_key"].to_list() == [item_key(i) for i in ("12", "phone:7", "0", "007")]
