"""`plait evaluate --visits`: SESSION and CART, judged by visits of shoppers nobody knows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from cli.evaluation.ranking import InVisit
from cli.main import plait
from models.evaluate.fused import Shopper
from models.evaluate.metrics import Keys
from models.fusion.surfaces import first_visits, visits
from tests.unit.evaluate.builders import events
from tests.unit.evaluate.shop import USERS, write_shop


def evaluate(home: Path, *more: str) -> Result:
    arguments = [
        "evaluate", str(home / "shop"), "--preset", "quick", "--k", "5", "--models",
        "popular-7d,cf,rrf,convex,fused", "--include-seen", "--draws", "20", "--set",
        "fusion.least_questions=30", "--set", "fusion.passes=6", "--visits",
        "--work", str(home / "work"), *more,
    ]  # fmt: skip
    return CliRunner().invoke(plait, arguments)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    home = tmp_path_factory.mktemp("visits")
    write_shop(home / "shop", visit=8)
    result = evaluate(home, "--protocol", "time-split", "--json", str(home / "report.json"))
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads((home / "report.json").read_text())["tables"]
    return found


def test_session_and_cart_have_a_table_each_with_every_row(tables: list[dict[str, Any]]) -> None:
    home, session, cart = tables
    assert "first 5 items alone" in session["title"]
    assert session["users"] == cart["users"] == USERS
    # Eight items a visit: five are told, or all but one.
    assert session["targets"] == 3 * USERS
    assert cart["targets"] == USERS
    names = [row["name"] for row in home["rows"]]
    for table in (session, cart):
        assert {row["name"] for row in table["rows"]} >= {*names[:5], "fused"}
        assert all(row["metrics"]["ndcg@5"] > 0 for row in table["rows"])


def test_a_surface_is_ranked_by_its_own_ranker(tables: list[dict[str, Any]]) -> None:
    """Its shoppers keep to their half of the items, which the rest of a basket tells."""
    ndcg = {row["name"]: row["metrics"]["ndcg@5"] for row in tables[2]["rows"]}
    assert "fused, no ranker" in ndcg
    assert ndcg["fused"] > ndcg["popular-7d"]


def test_visits_need_a_moment_that_they_come_after(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop")
    result = evaluate(tmp_path, "--protocol", "leave-one-out")
    assert result.exit_code == 1
    assert "--visits needs" in result.output


def test_shops_of_single_items_have_no_such_table(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", visit=1)
    result = evaluate(tmp_path, "--protocol", "time-split", "--json", str(tmp_path / "report.json"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["tables"]) == 1
    assert report["skipped"]["SESSION"] == report["skipped"]["CART"]


def test_a_shoppers_first_visit_is_the_earliest() -> None:
    bought = events(("a", 1, 5.0), ("a", 2, 5.0), ("a", 3, 1.0), ("a", 4, 1.0), ("b", 1, 3.0))
    every = visits(bought, "time", most=9, seed=0, least=1)
    first = every.join(first_visits(every), on="user_id", how="semi")
    assert first.filter(pl.col("shopper") == "a")["item_key"].sort().to_list() == [3, 4]
    assert first["shopper"].n_unique() == 2


def test_what_is_known_of_a_visit_is_its_session_and_not_shown() -> None:
    seen: list[Shopper] = []

    def fuse(shopper: Shopper, k: int) -> Keys:
        seen.append(shopper)
        return np.array([7, 9, 4, 8, 2])[:k]

    asked = Shopper(
        history=np.array([4, 7]), history_weight=np.array([1, 0.5], np.float32),
        seen=np.zeros(0, np.int64), market="", now=0.0, answers={},
    )  # fmt: skip
    assert InVisit(fuse, "SESSION")(asked, 3).tolist() == [9, 8, 2]
    assert InVisit(fuse, "CART")(asked, 2).tolist() == [9, 8]
    session, cart = seen
    # A rule hides what is in a cart, and so nothing else is measured by it.
    assert session.seen.tolist() == []
    assert cart.seen.tolist() == [4, 7]
