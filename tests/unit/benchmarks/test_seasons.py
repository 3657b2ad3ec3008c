"""The made-up shop of seasons is one."""

import csv
from collections import Counter
from pathlib import Path

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
