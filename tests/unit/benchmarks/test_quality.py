"""The quality runs are commands that exist, and their summary says what the JSON says."""

from pathlib import Path

import click
import pytest

from benchmarks.quality import RUNS, Run, chosen, commands, main, summary
from cli.main import plait
from models.data.importers import FORMATS


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_run_is_a_command_that_plait_understands(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    imported, evaluated = commands(run, "somewhere", fresh=True)
    assert imported[1] in FORMATS
    command = plait.get_command(click.Context(plait), evaluated[0])
    assert command is not None
    assert command.make_context("evaluate", evaluated[1:]).params["protocol"]


def test_data_that_are_there_are_not_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = Path("var/data") / RUNS[0].dataset
    there.mkdir(parents=True)
    (there / "dataset.json").write_text("{}")
    assert [command[0] for command in commands(RUNS[0], "package")] == ["evaluate"]


def test_runs_are_chosen_by_name_and_a_wrong_name_says_which_there_are() -> None:
    assert [run.name for run in chosen("beauty, amazon-cds")] == ["beauty", "amazon-cds"]
    assert chosen("") == list(RUNS)
    with pytest.raises(SystemExit, match="no run beautiful; there are: complete-journey"):
        chosen("beautiful")


def test_a_set_that_is_not_there_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--only", "beauty"]) == 0
    assert "beauty: left out" in capsys.readouterr().out


def test_a_summary_has_a_line_for_every_row() -> None:
    row = {
        "name": "cf", "cpu_ms": 1.25, "intervals": {"ndcg@10": [0.1, 0.3]},
        "metrics": {"ndcg@10": 0.2, "recall@10": 0.4, "ndcg@20": 0.25, "recall@20": 0.5},
    }  # fmt: skip
    table = {"title": "T", "unit": "users", "users": 5, "targets": 9, "catalogue": 7, "rows": [row]}
    text = summary({"x": {"main": "ndcg@10", "tables": [table]}})
    assert "| cf | .2000 | .4000 | .2500 | .5000 | .1000 to .3000 | 1.25 |" in text
