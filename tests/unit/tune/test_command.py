"""`plait tune` on a small shop: real models, real trials, a line that can be pasted."""

import errno
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from artifacts.errors import NoRoom
from cli.evaluation.training import Stages
from cli.main import plait
from cli.tuning.trials import Bench
from tests.unit.evaluate.shop import write_shop

# A tenth of the events are the last days'; the test part begins on day 27.
TEST_FROM = 27
JUDGED = ("--protocol", "time-split", "--include-seen", "--preset", "quick", "--k", "5")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(plait, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def tune(data: Path, work: Path, trials: int, *more: str) -> dict[str, Any]:
    arguments = ("--trials", str(trials), "--draws", "50", "--work", str(work), "--json", "-")
    output = run("tune", str(data), "cf", *JUDGED, *arguments, *more)
    return json.loads(output[output.index("{") :])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuned")
    write_shop(path / "data")
    write_shop(path / "other-future", changes=TEST_FROM)
    return path


@pytest.fixture(scope="module")
def tuned(home: Path) -> dict[str, Any]:
    return tune(home / "data", home / "work", 3)


def told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(t["number"], t["settings"], t["value"]) for t in found["trials"]]


def trained(work: Path) -> set[Path]:
    return set(work.glob("cf-*"))


def test_the_best_trial_stands_beside_the_default(tuned: dict[str, Any]) -> None:
    default, best = (row["metrics"]["ndcg@5"] for row in tuned["table"]["rows"])
    assert len(tuned["trials"]) == 3
    assert best == max(t["value"] for t in tuned["trials"]) == tuned["best"]["value"]
    gap = tuned["difference"]
    assert gap["difference"] == pytest.approx(best - default)
    assert gap["low"] <= gap["difference"] <= gap["high"]
    assert tuned["better"] is (gap["low"] > 0)


def test_a_search_goes_on_from_the_trials_there_are(home: Path, tuned: dict[str, Any]) -> None:
    before = trained(home / "work")
    again = tune(home / "data", home / "work", 4)
    assert told(again)[:3] == told(tuned)
    assert before < trained(home / "work")
    assert len(trained(home / "work") - before) == 1


def test_a_trial_is_a_row_of_an_evaluation_of_validation(home: Path, tuned: dict[str, Any]) -> None:
    before = trained(home / "work")
    sets = [x for n, v in tuned["best"]["settings"].items() for x in ("--set", f"tuned.{n}={v}")]
    output = run(
        "evaluate", str(home / "data"), *JUDGED, "--judge", "validation", "--models",
        "cf,tuned=cf", *sets, "--work", str(home / "work"), "--draws", "50", "--json", "-",
    )  # fmt: skip
    rows = json.loads(output[output.index("{") :])["tables"][0]["rows"]
    ours = [row["metrics"] for row in tuned["table"]["rows"]]
    assert [row["metrics"] for row in rows] == ours
    assert trained(home / "work") == before


def test_the_test_part_changes_nothing(home: Path, tuned: dict[str, Any]) -> None:
    other = tune(home / "other-future", home / "other-work", 2)
    assert told(other) == told(tuned)[:2]
    assert other["table"]["rows"][0]["metrics"] == tuned["table"]["rows"][0]["metrics"]


def test_the_line_at_the_end_trains_what_was_found(home: Path, tuned: dict[str, Any]) -> None:
    shown = run(
        "tune", str(home / "data"), "cf", *JUDGED, "--trials", "3", "--draws", "50",
        "--work", str(home / "work"),
    )  # fmt: skip
    line = next(text for text in shown.splitlines() if text.startswith("  plait train "))
    words = shlex.split(line.replace("var/models", shlex.quote(str(home / "models"))))
    output = run(*words[1:], "--json")
    made = json.loads(output[output.index("{") :])["trained"]
    assert [one["source"] for one in made] == ["cf"]
    assert all(f"cf.{n}={v}" in words for n, v in tuned["settings"].items())
    assert words[words.index("--seed") + 1] == str(tuned["seed"])


def test_a_search_without_success_says_why(home: Path) -> None:
    arguments = ("--work", str(home / "work"), "--trials", "1", "--search", "min_item_events=99999")
    result = CliRunner().invoke(plait, ["tune", str(home / "data"), "cf", *JUDGED, *arguments])
    assert result.exit_code == 1
    assert "no trial succeeded; the last: DatasetError" in result.output


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "arrays.npz"), "arrays.npz: No space"),
        (NoRoom("lexical: the index of words cannot be written"), "lexical: the index of words"),
    ],
    ids=["a file", "an index of words"],
)
def test_a_full_disk_ends_the_search_and_is_no_trial(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    evaluated = Bench.entry

    def full(bench: Bench, settings: Mapping[str, str], stages: Stages) -> Any:
        if settings:
            raise error
        return evaluated(bench, settings, stages)

    study = ("--trials", "2", "--draws", "50", "--study", str(tmp_path / "trials.journal"))
    arguments = ("--work", str(home / "work"), *study)
    with monkeypatch.context() as patched:
        patched.setattr(Bench, "entry", full)
        result = CliRunner().invoke(plait, ["tune", str(home / "data"), "cf", *JUDGED, *arguments])
    assert result.exit_code == 1
    assert said in result.output
    found = tune(home / "data", home / "work", 2, *study)
    assert all(trial["value"] is not None for trial in found["trials"])


def test_a_field_there_is_not_is_answered_with_those_there_are(home: Path) -> None:
    for option in ("--set", "--search"):
        arguments = ["tune", str(home / "data"), "cf", *JUDGED, option, "depth=3"]
        result = CliRunner().invoke(plait, arguments)
        assert result.exit_code == 1
        assert "no setting 'depth'; there are: als_regularisations" in result.output
