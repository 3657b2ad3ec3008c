"""A search that is cut short goes on as if it had not been."""

from pathlib import Path

import pytest

from cli.tuning.run import best_of
from cli.tuning.study import Study, Trial
from models.cf.config import Config
from models.data.errors import OptionError
from models.space import Between, OneOf, Space

SPACE: dict[str, Space] = {
    "half_life_days": Between(7, 1000, log=True),
    "method": OneOf(("ease", "knn")),
}
TRIALS = 12  # the first ten are drawn at random


def opened(file: Path, name: str = "search", *, fresh: bool = False) -> Study:
    return Study(file, name, SPACE, Config(), fresh=fresh)


def go_on(study: Study, until: int) -> None:
    while len(study.trials()) < until:
        attempt = study.ask(seed=3)
        days = float(attempt.settings["half_life_days"])
        if attempt.settings["method"] == "knn" and days < 20:
            study.tell(attempt, None, seconds=0.0, why="too short")
        else:
            study.tell(attempt, -abs(days - 100), seconds=0.0)


def test_a_search_cut_short_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    go_on(whole, TRIALS)
    for until in (3, 10):
        study = opened(tmp_path / "parts")
        go_on(study, until)
        study.ask(seed=3)  # is never concluded
    again = opened(tmp_path / "parts")
    go_on(again, TRIALS)
    assert again.trials() == whole.trials()
    assert [t.number for t in whole.trials()] == list(range(1, TRIALS + 1))


def test_a_journal_whose_end_was_not_written_whole_goes_on_before_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    go_on(opened(file), 3)
    file.write_bytes(file.read_bytes()[:-20])  # of the third trial's end
    assert len(opened(file).trials()) == 2
    go_on(opened(file), 4)
    assert len(opened(file).trials()) == 4


def test_a_file_of_another_kind_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    for text in ("a,b\n1,2", '{"a": 1}'):
        file.write_text(text)
        with pytest.raises(OptionError, match=r"sales\.csv, line 1: not a line of a study's"):
            opened(file)
        assert file.read_text() == text


def test_a_search_begins_again_and_leaves_others_in_its_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        go_on(opened(tmp_path / "file", name), 2)
    assert opened(tmp_path / "file", "a", fresh=True).trials() == []
    assert len(opened(tmp_path / "file", "b").trials()) == 2


def test_what_failed_counts_as_tried_and_keeps_its_reason(tmp_path: Path) -> None:
    study = opened(tmp_path / "file")
    study.tell(study.ask(seed=0), None, seconds=1.5, why="no memory")
    (trial,) = opened(tmp_path / "file").trials()
    assert (trial.value, trial.why, trial.seconds) == (None, "no memory", 1.5)


def test_one_file_holds_several_searches(tmp_path: Path) -> None:
    first, second = (opened(tmp_path / "file", name) for name in ("a", "b"))
    first.tell(first.ask(seed=0), 0.5, seconds=0.0)
    assert len(first.trials()) == 1
    assert second.trials() == []


def test_of_equal_trials_the_earliest_is_the_best() -> None:
    trials = tuple(Trial(n, {}, value) for n, value in enumerate((0.1, None, 0.3, 0.3), start=1))
    assert best_of(trials).number == 3
