"""The made-up shop has the shape of a real one, and is the same every time."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.indexes import measure
from benchmarks.large_data import events_of, items_of, main, write
from models.data.importers import import_dataset
from tests.support.disks import short_files


def test_items_differ_and_some_sell_far_more_than_others() -> None:
    items = items_of(3_000)
    assert items["item_id"].n_unique() == items.height
    assert items["title"].n_unique() > 2_900
    events = events_of(items, 500, 40)
    counts = events["item_id"].value_counts()["count"].sort(descending=True).to_numpy()
    assert counts[: len(counts) // 10].sum() > 0.4 * counts.sum()


def test_shoppers_have_tastes() -> None:
    items = items_of(3_000)
    events = events_of(items, 300, 40).join(items.select("item_id", "category"), on="item_id")
    shares = [
        part["category"].value_counts()["count"].sort(descending=True)[:4].sum() / part.height
        for part in events.partition_by("user_id")
    ]
    assert np.mean(np.array(shares, np.float64)) > 0.7


def test_the_same_seed_makes_the_same_shop() -> None:
    first, again = (events_of(items_of(500), 50, 10) for _ in range(2))
    assert first.equals(again)


def test_the_lists_find_what_exact_search_finds() -> None:
    lines = {line["index"]: line for line in measure(2_000, 16, 8)}
    assert lines["exact"]["recall@100"] == 1.0
    assert lines["8 bits"]["recall@100"] == 1.0
    assert max(v["recall@100"] for n, v in lines.items() if n.startswith("lists")) > 0.97


def test_the_shop_can_be_imported(tmp_path) -> None:
    write(tmp_path / "raw", 400, (50, 10), seed=0)
    found = import_dataset("parquet", tmp_path / "raw", tmp_path / "data")
    assert found.items.height == 400
    assert found.info.times == "time"
    assert found.events["user_id"].n_unique() == 50


def test_a_shop_that_does_not_fit_on_the_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["large_data", str(tmp_path), "--items", "2000"])
    with short_files(4_096):
        assert main() == 1
    assert "items.parquet: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
