"""`plait evaluate --new-items`: rankings judged by items that training never saw."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import plait
from models.evaluate.fused import Shopper, rank_fused
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists
from models.evaluate.task import looking_for, make_task, within
from tests.unit.evaluate.builders import events
from tests.unit.evaluate.shop import USERS, write_shop

LATE = 12


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A shop whose items of the last days are all new."""
    home = tmp_path_factory.mktemp("new")
    write_shop(home / "shop", late=LATE)
    arguments = [
        "evaluate", str(home / "shop"), "--protocol", "time-split", "--preset", "quick", "--k", "3",
        "--models", "popular,cf,content,rrf,fused", "--include-seen", "--draws", "20",
        "--set", "content.batch=32", "--set", "content.negatives=40", "--set",
        "content.further_steps=4", "--new-items", "--work", str(home / "work"), "--json",
        str(home / "report.json"),
    ]  # fmt: skip
    result = CliRunner().invoke(plait, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Items without an event before asking left out" in result.output
    found: list[dict[str, Any]] = json.loads((home / "report.json").read_text())["tables"]
    return found


def test_new_items_are_judged_among_all_items_and_among_themselves(
    tables: list[dict[str, Any]],
) -> None:
    _, all_items, alone = tables
    assert all_items["title"] == "Items first seen after training, among all items"
    assert alone["title"] == "Items first seen after training, among themselves"
    assert alone["catalogue"] == LATE < all_items["catalogue"]
    assert all_items["users"] == alone["users"] == USERS
    assert [r["name"] for r in all_items["rows"]] == [r["name"] for r in alone["rows"]]
    assert all(r["intervals"]["recall@3"] for r in alone["rows"])


def test_what_was_never_trained_on_is_placed_by_what_it_is(tables: list[dict[str, Any]]) -> None:
    ndcg = {row["name"]: row["metrics"]["ndcg@3"] for row in tables[2]["rows"]}
    assert ndcg["cf"] == 0.0
    # Half of the new items are of the shopper's kind: chance finds half as much.
    assert ndcg["content"] > 0.45
    assert ndcg["rrf"] == ndcg["content"]


def test_what_validation_taught_is_not_new(tmp_path: Path) -> None:
    # All late items come in validation, which the models that are judged learn from as well.
    write_shop(tmp_path / "shop", late=LATE)
    arguments = [
        "evaluate", str(tmp_path / "shop"), "--protocol", "time-split", "--preset", "quick",
        "--k", "3", "--models", "cf", "--include-seen", "--draws", "20", "--new-items",
        "--with-validation", "--work", str(tmp_path / "work"), "--json", str(tmp_path / "r.json"),
    ]  # fmt: skip
    result = CliRunner().invoke(plait, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert [table["title"] for table in report["tables"]] == ["What users did next"]
    assert report["skipped"] == {"Items first seen after training": "nobody asked had one next"}


def test_users_without_such_a_target_are_not_asked() -> None:
    known = events(("a", 1, 0.0), ("b", 1, 0.0), ("c", 2, 0.0))
    wanted = events(("a", 3, 1.0), ("a", 4, 1.0), ("b", 4, 1.0), ("c", 3, 1.0))
    task, users = looking_for(make_task(known, wanted), np.array([3]))
    assert task.user_ids == ("a", "c")
    assert users.tolist() == [0, 2]
    assert task.targets.keys.tolist() == [3, 3]
    assert task.history.keys.tolist() == [1, 2]
    none, nobody = looking_for(make_task(known, wanted), np.array([9]))
    assert none.user_ids == ()
    assert not len(nobody)


def test_a_fusion_shows_nothing_that_does_not_compete() -> None:
    task = make_task(events(("a", 1, 0.0)), events(("a", 3, 1.0)), exclude_seen=False)

    def fuse(shopper: Shopper, k: int) -> Keys:
        # As the learned ranker, it brings in what the shopper had before.
        named = np.concatenate([np.unique(shopper.past), shopper.answers["cf"][0]])
        return named[:k]

    lists = {"cf": Lists(np.array([[3, 4]]), np.array([[2, 1]], np.float32))}
    only = within(task, np.array([3, 4]), history=False)
    assert rank_fused(fuse, only, lists, k=2, asking=Asking()).tolist() == [[3, 4]]
    assert rank_fused(fuse, task, lists, k=2, asking=Asking()).tolist() == [[1, 3]]
