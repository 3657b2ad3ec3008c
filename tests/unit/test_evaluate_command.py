"""`plait evaluate` on a small shop: real models, real splits, a report that adds up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from artifacts import layout
from artifacts.errors import ArtifactMissing
from artifacts.fusion import load_fusion
from cli.main import plait
from models.data.dataset import DatasetInfo, load_dataset, write_dataset
from models.data.importers.base import complete_events, complete_items, numbered, with_keys
from models.fusion.train import Config, held_out, load_sources, train
from models.progress import silent

START = datetime(2024, 1, 1, tzinfo=UTC)
USERS, ITEMS, DAYS = 60, 40, 30


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of shoppers, each with its own half of the items, for a month."""
    rng = np.random.default_rng(5)
    ids = [str(i + 1) for i in range(ITEMS)]
    items = complete_items(
        pl.DataFrame(
            {"item_id": ids, "domain": ["DELI" if i % 2 else "DRUG" for i in range(ITEMS)]}
        )
    )
    rows = []
    for user in range(USERS):
        mine = np.arange(user % 2, ITEMS, 2)
        for day in range(0, DAYS, 3):
            for place, item in enumerate(rng.choice(mine, 3, replace=False)):
                when = START + timedelta(days=day, minutes=place)
                rows.append((f"u{user:02d}", ids[item], when))
    frame = pl.DataFrame(
        rows,
        schema={"user_id": pl.String(), "item_id": pl.String(), "time": pl.Datetime("us", "UTC")},
        orient="row",
    )
    events = complete_events(numbered(with_keys(frame, items)))
    path = tmp_path_factory.mktemp("shop") / "data"
    info = DatasetInfo("shop", "made by hand", "time")
    write_dataset(path, items=items, events=events, info=info)
    return path


@pytest.fixture(scope="module")
def evaluated(shop: Path) -> Iterator[tuple[Result, Path]]:
    """One run of the command that keeps its models; the report lies beside them."""
    kept = shop.parent / "models"
    arguments = [
        "evaluate", str(shop), "--protocol", "time-split", "--models", "cf,text,popularity,fused",
        "--preset", "quick", "--k", "5", "--repository", str(kept), "--json",
        str(shop.parent / "report.json"), "--include-seen",
    ]  # fmt: skip
    yield CliRunner().invoke(plait, arguments, catch_exceptions=False), shop.parent


def test_a_report_names_what_was_judged_and_on_what(evaluated: tuple[Result, Path]) -> None:
    result, home = evaluated
    assert result.exit_code == 0, result.output
    report = json.loads((home / "report.json").read_text())
    assert [line["name"] for line in report["lines"]][:3] == ["popularity", "cf", "fused"]
    assert report["users"] == USERS
    assert report["catalogue"] == ITEMS
    assert report["split"].startswith("by time")
    assert report["machine"]["versions"]["numpy"]
    assert report["settings"]["seed"] == 0
    assert "text left out: the items have neither titles nor text" in result.output
    for line in report["lines"]:
        assert {"recall@5", "ndcg@5", "mrr", "coverage@5"} <= set(line["metrics"])
        assert line["name"] in result.output


def test_the_models_beat_the_best_sellers_where_tastes_differ(
    evaluated: tuple[Result, Path],
) -> None:
    report = json.loads((evaluated[1] / "report.json").read_text())
    ndcg = {line["name"]: line["metrics"]["ndcg@5"] for line in report["lines"]}
    assert ndcg["cf"] > 1.3 * ndcg["popularity"]
    assert ndcg["fused"] > 1.3 * ndcg["popularity"]


def test_the_fusion_learned_what_can_be_loaded(evaluated: tuple[Result, Path]) -> None:
    artifact = load_fusion(layout.find(evaluated[1] / "models", "fusion"))
    assert len(artifact.item_keys) == ITEMS
    assert artifact.domain_names == ("DELI", "DRUG")
    # Who buys in one half of the shop comes back to it.
    assert artifact.domain_transition[0, 0] > 0 > artifact.domain_transition[0, 1]
    assert set(artifact.weights) == {"HOME", "SESSION", "ITEM", "CART", "SEARCH", "RANK"}
    assert artifact.tuned_on == {"cf": 1}
    assert len(artifact.quantiles["cf"][0]) == 101


def test_without_a_window_the_events_after_the_sources_data_are_held_out(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    repository = evaluated[1] / "models"
    window = held_out(load_dataset(shop), load_sources(repository))
    assert 0.15 < window.wanted.height / (USERS * DAYS) < 0.25
    last_known, first_wanted = window.known["time"].max(), window.wanted["time"].min()
    assert isinstance(last_known, datetime)
    assert isinstance(first_wanted, datetime)
    assert last_known < first_wanted


def test_weights_are_equal_where_nothing_is_held_out(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    data = load_dataset(shop)
    repository = evaluated[1] / "models"
    known = held_out(data, load_sources(repository)).known
    shown = type(data)(data.path, data.items, known, None, data.info)
    directory = train(Config(), shown, repository, silent)
    assert load_fusion(directory).weights["HOME"] == {"cf": 1.0}


def test_a_fusion_needs_a_source(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="plait train"):
        train(Config(), load_dataset(shop), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "time-split", "--models", "cf,oracle"], "'oracle' given; there are: cf"),
        (["--protocol", "time-split", "--k", "0"], "'0' is no list of numbers"),
        (["--protocol", "guess"], "'guess' is not one of"),
        (["--protocol", "given-split"], "came without a split"),
    ],
)
def test_a_wrong_request_says_what_there_is(shop: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(plait, ["evaluate", str(shop), *arguments])
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())


def test_a_missing_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    arguments = ["evaluate", str(tmp_path / "no"), "--protocol", "time-split"]
    result = CliRunner().invoke(plait, arguments)
    assert result.exit_code == 1
    assert "plait import" in result.output
