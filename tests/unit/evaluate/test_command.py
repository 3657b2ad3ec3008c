"""`plait evaluate` on a small shop: real models, real splits, a report that adds up."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from artifacts import layout, manifest
from artifacts.errors import ArtifactMissing
from artifacts.fusion import load_fusion
from artifacts.loader import load
from cli.main import plait
from models.data.dataset import load_dataset
from models.fusion.train import Config, held_out, load_sources, train
from models.progress import silent
from tests.unit.evaluate.shop import DAYS, ITEMS, USERS, write_shop
from tests.unit.fusion.test_position_bias import followed, page, write


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of shoppers, each with its own half of the items, for a month."""
    path = tmp_path_factory.mktemp("shop") / "data"
    write_shop(path)
    return path


def evaluate(shop: Path, *more: str) -> Result:
    arguments = [
        "evaluate", str(shop), "--protocol", "time-split", "--models",
        "cf,text,popular,popular-7d,rrf,convex,fused", "--preset", "quick", "--k", "5",
        "--work", str(shop.parent / "work"), "--draws", "50", "--include-seen",
    ]  # fmt: skip
    return CliRunner().invoke(plait, [*arguments, *more], catch_exceptions=False)


@pytest.fixture(scope="module")
def evaluated(shop: Path) -> Iterator[tuple[Result, Path]]:
    """One run of the command; the report and the page lie beside its work."""
    home = shop.parent
    files = ("--json", str(home / "report.json"), "--html", str(home / "report.html"))
    yield evaluate(shop, *files), home


def artifacts(home: Path, source: str) -> Path:
    """The repository in which the evaluation keeps a model."""
    return next((home / "work").glob(f"{source}-*"))


def test_a_report_names_what_was_judged_and_on_what(evaluated: tuple[Result, Path]) -> None:
    result, home = evaluated
    assert result.exit_code == 0, result.output
    report = json.loads((home / "report.json").read_text())
    table = report["tables"][0]
    names = [row["name"] for row in table["rows"]]
    assert names[:5] == ["popular-7d", "popular", "cf", "rrf", "convex"]
    assert "fused" in names
    assert table["users"] == USERS
    assert table["catalogue"] == ITEMS
    assert report["split"].startswith("by time")
    assert report["machine"]["versions"]["numpy"]
    assert report["settings"]["seed"] == 0
    assert "text left out: the items have neither titles nor text" in result.output
    for row in table["rows"]:
        assert {"recall@5", "ndcg@5", "mrr@5", "hit@5", "coverage@5"} <= set(row["metrics"])
        assert row["intervals"]["ndcg@5"][0] <= row["metrics"]["ndcg@5"]
        assert row["name"] in result.output
    assert {part["group"] for part in table["slices"]} == {"items"}
    assert table["calibration"]["cf"]
    assert not table["subsets"]
    assert table["fusion"]["weights"] == {"cf": 1.0}


def test_the_models_beat_the_best_sellers_where_tastes_differ(
    evaluated: tuple[Result, Path],
) -> None:
    table = json.loads((evaluated[1] / "report.json").read_text())["tables"][0]
    ndcg = {row["name"]: row["metrics"]["ndcg@5"] for row in table["rows"]}
    assert ndcg["cf"] > 1.3 * ndcg["popular"]
    assert ndcg["fused"] > 1.3 * ndcg["popular"]
    gap = next(d for d in table["differences"] if (d["row"], d["against"]) == ("cf", "popular"))
    assert gap["low"] > 0


def test_one_source_alone_is_the_same_fused_as_by_itself(evaluated: tuple[Result, Path]) -> None:
    table = json.loads((evaluated[1] / "report.json").read_text())["tables"][0]
    ndcg = {row["name"]: row["metrics"]["ndcg@5"] for row in table["rows"]}
    assert ndcg["rrf"] == ndcg["convex"] == ndcg["cf"]


def test_finished_parts_are_found_again_and_give_the_same_numbers(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    home = evaluated[1]
    before = {p: p.stat().st_mtime_ns for p in (home / "work").rglob("*") if p.is_file()}
    result = evaluate(shop, "--json", str(home / "again.json"))
    assert {p: p.stat().st_mtime_ns for p in (home / "work").rglob("*") if p.is_file()} == before
    assert "train cf" not in result.stderr
    one, other = (json.loads((home / n).read_text()) for n in ("report.json", "again.json"))
    assert one["tables"] == other["tables"]


def test_work_cut_short_goes_on_where_it_stopped(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    home = evaluated[1]
    kept = artifacts(home, "cf") / "cf" / "1" / "model.onnx"
    made = kept.stat().st_mtime_ns
    lost = sorted((home / "work").glob("ranking-*/arrays.npz"))
    lost[0].write_bytes(b"half a ranki")
    lost[1].unlink()
    result = evaluate(shop)
    assert result.exit_code == 0
    assert "train cf" not in result.stderr
    assert result.stderr.count("rank ") == 2
    assert kept.stat().st_mtime_ns == made


def test_fresh_does_every_part_again(evaluated: tuple[Result, Path], shop: Path) -> None:
    made = artifacts(evaluated[1], "cf").stat().st_ctime_ns
    result = evaluate(shop, "--fresh")
    assert "train cf" in result.stderr
    assert artifacts(evaluated[1], "cf").stat().st_ctime_ns != made


def test_another_metric_depth_or_row_trains_nothing_again(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    result = evaluate(shop, "--k", "3,5", "--models", "cf,popular", "--users", "20")
    assert "train" not in result.stderr
    assert "N@3" in result.output


def test_a_variant_is_a_row_with_settings_of_its_own(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    models = ("--models", "cf,small=cf", "--set", "small.top_weights=2")
    result = evaluate(shop, *models, "--json", "-")
    assert "train small" in result.stderr
    assert "train cf" not in result.stderr
    rows = json.loads(result.stdout)["tables"][0]["rows"]
    assert [(row["name"], row["note"]) for row in rows] == [("cf", ""), ("small", "top_weights=2")]
    assert rows[0]["metrics"] != rows[1]["metrics"]


def test_with_validation_trains_once_more_on_what_comes_before_the_test(
    evaluated: tuple[Result, Path], shop: Path
) -> None:
    result = evaluate(shop, "--models", "cf", "--with-validation", "--json", "-")
    assert result.stderr.count("train cf") == 1
    report = json.loads(result.stdout)
    assert report["trained_on"] == "train and validation"
    known = sorted(
        load(layout.find(home, "cf")).manifest.event_count
        for home in (evaluated[1] / "work").glob("cf-*")
    )
    assert known[-1] > known[0]


def test_the_cross_domain_term_is_judged_at_several_weights_when_asked_for(shop: Path) -> None:
    result = evaluate(shop, "--models", "cf,crossing", "--json", "-")
    rows = json.loads(result.stdout)["tables"][0]["rows"]
    names = [row["name"] for row in rows]
    assert names[:3] == ["cf", "cross-domain 0", "cross-domain 0.01"]
    assert names[-1] == "cross-domain 0.5"


def test_validation_is_judged_without_the_test(evaluated: tuple[Result, Path], shop: Path) -> None:
    result = evaluate(shop, "--models", "cf,popular", "--judge", "validation", "--json", "-")
    report = json.loads(result.stdout)
    assert report["judged"] == "validation"
    assert "the test part is left out" in report["split"]


def test_the_fusion_learned_what_can_be_loaded(evaluated: tuple[Result, Path]) -> None:
    artifact = load_fusion(layout.find(artifacts(evaluated[1], "fusion"), "fusion"))
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
    repository = artifacts(evaluated[1], "fusion")
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
    repository = artifacts(evaluated[1], "fusion")
    known = held_out(data, load_sources(repository)).known
    shown = type(data)(data.path, data.items, known, None, data.info)
    directory = train(Config(), shown, repository, silent)
    assert load_fusion(directory).weights["HOME"] == {"cf": 1.0}


def test_the_fusion_says_how_far_down_an_exposure_log_shows_shoppers_to_look(
    evaluated: tuple[Result, Path], shop: Path, tmp_path: Path
) -> None:
    data, repository = load_dataset(shop), artifacts(evaluated[1], "fusion")
    window = held_out(data, load_sources(repository))
    log = write(tmp_path / "log.jsonl", shown_and_bought(window.wanted))
    config = Config(exposures=(str(log),), moments=1, least_questions=20)
    directory = train(config, data, repository, silent, window)
    metrics = manifest.read(directory).metrics
    assert metrics["HOME.examination.place_1"] == 1
    assert metrics["HOME.examination.place_2"] == pytest.approx(0.5, abs=0.15)
    assert metrics["HOME.ranker.questions"] > 20


def shown_and_bought(bought: pl.DataFrame) -> list[Any]:
    """Two items on every page; what was bought had stood first, or second half as often."""
    lines: list[Any] = []
    for number, event in enumerate(bought.sort("time").iter_rows(named=True)):
        item, user = str(event["item_key"]), event["user_id"]
        time = event["time"].timestamp()
        other = f"other{number}"
        for visit, place in enumerate((0, 1, 1, 0)):
            name = f"r{number}-{visit}"
            lines.append(page(name, user, [item, other] if place == 0 else [other, item]))
            # At the second place one in two is seen, at the first all are.
            if place == 0 or (visit + number) % 2:
                lines.append(followed(name, user, item, time))
    return lines


def test_a_fusion_needs_a_source(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="plait train"):
        train(Config(), load_dataset(shop), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "time-split", "--models", "cf,oracle"], "'oracle' is not one of popular"),
        (["--protocol", "time-split", "--models", "cf,cf"], "'cf' is named twice"),
        (["--protocol", "time-split", "--domain", "TOYS"], "leave it out"),
        (["--protocol", "time-split", "--models", " , "], "no row is named"),
        (["--protocol", "time-split", "--models", "cf", "--set", "als.x=1"], "'als.x=1' is not"),
        (["--protocol", "time-split", "--models", "cf", "--set", "cf.size=1"], "no setting 'size'"),
        (
            ["--protocol", "time-split", "--models", "cf", "--set", "cf.top_weights=many"],
            "top_weights is 'many', expected something like 128",
        ),
        (["--protocol", "time-split", "--models", "popular,fused"], "nothing to fuse"),
        (
            ["--protocol", "time-split", "--judge", "validation", "--with-validation"],
            "cannot be trained on",
        ),
        (["--protocol", "cross-domain", "--domain", "TOYS"], "no item is of the domain TOYS"),
        (["--protocol", "search", "--models", "cf"], "needs the text model"),
        (["--protocol", "leave-one-out", "--users", "0"], "0 is not in the range"),
        (["--protocol", "time-split", "--k", "0"], "'0' is no list of numbers"),
        (["--protocol", "leave-one-out", "--ablate", "live"], "use --protocol time-split"),
        (["--protocol", "time-split", "--models", "cf", "--ablate", "utility"], "name fused"),
        (["--protocol", "guess"], "'guess' is not one of"),
        (["--protocol", "given-split"], "came without a split"),
    ],
)
def test_a_wrong_request_says_what_there_is(shop: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(
        plait, ["evaluate", str(shop), "--work", str(shop.parent / "wrong"), *arguments]
    )
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())


# No item has so many events.
MANY = ("--set", "cf.min_item_events=100000")


def test_a_model_that_cannot_learn_is_left_out_by_its_name(shop: Path) -> None:
    models = ("--models", "popular,cf,wide=cf,convex", "--set", "wide.min_item_events=100000")
    report = json.loads(evaluate(shop, *models, "--json", "-").stdout)
    assert [row["name"] for row in report["tables"][0]["rows"]] == ["popular", "cf", "convex"]
    assert "fewer than two items" in report["skipped"]["wide"]


@pytest.mark.parametrize("more", [(), ("--with-validation",)], ids=["train", "all that is known"])
def test_what_would_fuse_models_that_cannot_learn_is_left_out_too(
    shop: Path, more: tuple[str, ...]
) -> None:
    models = ("--models", "popular,cf,rrf,fused", *MANY, "--ablate", "utility")
    report = json.loads(evaluate(shop, *models, *more, "--json", "-").stdout)
    assert [row["name"] for row in report["tables"][0]["rows"]] == ["popular"]
    assert set(report["skipped"]) == {"cf", "rrf", "fused", "--ablate utility"}


def test_where_no_row_is_left_every_reason_is_told(shop: Path) -> None:
    models = ("--models", "cf,wide=cf", *MANY, "--set", "wide.min_item_events=100000")
    result = evaluate(shop, *models)
    assert result.exit_code == 1
    assert result.stderr.count("fewer than two items") == 2
    assert "cf: events: " in result.stderr
    assert "wide: events: " in result.stderr


def test_without_visits_their_ablation_is_left_out_and_the_report_stays(tmp_path: Path) -> None:
    write_shop(tmp_path / "data", visit=1)
    models = ("--models", "cf,fused", "--ablate", "live", "--ablate", "utility")
    report = json.loads(evaluate(tmp_path / "data", *models, "--json", "-").stdout)
    assert "has a visit of more than 5 items" in report["skipped"]["--ablate live"]
    assert {found["kind"] for found in report["tables"][0]["ablations"]} == {"utility"}


def test_the_numbers_are_kept_where_the_page_fails(
    evaluated: tuple[Result, Path], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr("cli.evaluate.page", fails)
    kept, lost = evaluated[1] / "kept.json", evaluated[1] / "lost.html"
    with pytest.raises(RuntimeError, match="no page"):
        evaluate(shop, "--models", "popular", "--json", str(kept), "--html", str(lost))
    assert json.loads(kept.read_text())["tables"]


def test_a_missing_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    arguments = ["evaluate", str(tmp_path / "no"), "--protocol", "time-split"]
    result = CliRunner().invoke(plait, arguments)
    assert result.exit_code == 1
    assert "plait import" in result.output


def test_rows_that_need_a_model_or_another_domain_are_named(tmp_path: Path) -> None:
    write_shop(tmp_path / "data")
    items = tmp_path / "data" / "items.parquet"
    pl.read_parquet(items).with_columns(domain=pl.lit("DELI")).write_parquet(items)
    skipped = []
    for models in ("popular,rrf", "cf,crossing"):
        report = json.loads(evaluate(tmp_path / "data", "--models", models, "--json", "-").stdout)
        assert len(report["tables"][0]["rows"]) == 1
        skipped.append(report["skipped"])
    assert skipped == [
        {"rrf": "there is no model to fuse"}, {"crossing": "all items are of one domain"},
    ]  # fmt: skip


def test_every_subset_of_the_sources_is_judged_where_it_is_asked_for(
    shop: Path, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    result = evaluate(shop, "--subsets", "--json", str(file), "--work", str(tmp_path / "work"))
    table = json.loads(file.read_text())["tables"][0]
    subset, nobody = table["subsets"]
    assert subset["sources"] == ["cf"]
    assert nobody["sources"] == []
    assert nobody["metrics"]["rrf"] == 0
    assert nobody["metrics"]["convex"] > 0
    fused = next(row for row in table["rows"] if row["name"] == "fused")
    assert subset["metrics"]["fused"] == fused["metrics"]["ndcg@5"]
    assert set(subset["metrics"]) == {"rrf", "convex", "fused"}
    assert "if only these answer" in result.output


def test_one_thing_is_changed_at_a_time_where_it_is_asked_for(tmp_path: Path) -> None:
    write_shop(tmp_path / "data", visit=8)
    file, page = tmp_path / "report.json", tmp_path / "report.html"
    kinds = ("live", "history", "utility")
    result = evaluate(
        tmp_path / "data", *(part for kind in kinds for part in ("--ablate", kind)),
        "--models", "cf,fused", "--json", str(file), "--html", str(page),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = json.loads(file.read_text())["tables"][0]
    found = {one["title"]: one for one in table["ablations"]}
    assert {one["kind"] for one in found.values()} == set(kinds)
    ways = found["Live events by way: SESSION, weighted sum"]
    named = {setting["name"]: setting for setting in ways["settings"]}
    # Of an unknown shopper a few events say which of the two groups it is.
    assert named["model inputs"]["differences"]["ndcg@5"][0] > 0
    served, *others = found["History: length and half-life"]["settings"]
    fused = next(row for row in table["rows"] if row["name"] == "fused")
    assert served["metrics"]["fused"] == pytest.approx(fused["metrics"]["ndcg@5"], rel=1e-12)
    assert len(others) > 10
    for title, one in found.items():
        assert title in page.read_text()
        assert not one["settings"][0]["differences"]
    assert "difference" in result.output


def test_live_events_need_visits(shop: Path) -> None:
    result = evaluate(shop, "--ablate", "live")
    assert "nobody judged has a visit of more than 5 items" in " ".join(result.output.split())
