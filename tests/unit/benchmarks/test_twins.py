"""Data without what is listed in two domains are a dataset like any other."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks import twins
from models.data.dataset import INFO, load_dataset, write_dataset
from models.data.importers.base import numbered
from tests.support.lively import lively


def test_what_is_left_says_how_much_it_is_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = lively(tmp_path / "made")
    events, items = shop.events, shop.items
    one = events["item_key"].mode()[0]
    domain = items.row(by_predicate=pl.col("item_key") == one, named=True)["domain"]
    other = items.filter(pl.col("domain") != domain)["item_key"][0]
    same = events.filter(pl.col("item_key") == one)
    listed_twice = pl.concat([
        events.filter(pl.col("item_key") != other),
        same.with_columns(pl.lit(other, events.schema["item_key"]).alias("item_key")),
    ])  # fmt: skip
    source, dest = tmp_path / "source", tmp_path / "dest"
    found = numbered(listed_twice.sort("user_id", "time", maintain_order=True))
    write_dataset(source, items=items, events=found, info=shop.info)

    monkeypatch.setattr(sys, "argv", ["twins", str(source), str(dest)])
    assert twins.main() == 0
    left = load_dataset(dest)
    assert {one, other}.isdisjoint(left.items["item_key"])
    said = json.loads((dest / INFO).read_text())
    assert (said["items"], said["events"]) == (left.items.height, left.events.height)
    dropped = found.height - left.events.height
    assert said["report"][-1]["dropped"] == dropped >= 2 * same.height


def test_data_do_not_replace_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["twins", str(tmp_path), str(tmp_path)])
    assert twins.main() == 1
    assert "is the dataset itself" in capsys.readouterr().err
