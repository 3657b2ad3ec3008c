"""The made-up shop of seasons is one."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import seasons
from benchmarks.seasons import write


def test_most_of_what_is_bought_within_a_month_is_of_its_fifty_items(tmp_path: Path) -> None:
    write(tmp_path, users=60)
    with (tmp_path / "events.csv").open(encoding="utf-8") as file:
        events = [*csv.DictReader(file)]
    with (tmp_path / "items.csv").open(encoding="utf-8") as file:
        items = {row["item_id"] for row in csv.DictReader(file)}
    assert {event["item_id"] for event in events} <= items
    # The middle of a month is the begin of the next in the calendar.
    month = [e["item_id"] for e in events if e["time"].startswith("2024-03-1")]
    most = Counter(month).most_common(50)
    assert sum(count for _, count in most) > 0.7 * len(month)
    assert min(int(item[1:]) for item, _ in most[:10]) >= 200
    before = tmp_path / "again"
    write(before, users=60)
    assert (before / "events.csv").read_text() == (tmp_path / "events.csv").read_text()


def test_where_nothing_can_be_written_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert seasons.main(["--work", str(tmp_path / "file" / "work")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_shop_of_an_earlier_run_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").touch()
    told: list[Sequence[str]] = []

    def plait(commands: Sequence[Sequence[str]]) -> int:
        told.extend(commands)
        return 0

    monkeypatch.setattr(seasons, "plait", plait)
    assert seasons.main(["--work", str(tmp_path)]) == 0
    assert [command[0] for command in told] == ["import", "evaluate"]
