"""Is what sells just now shown where a shop's range follows the seasons?

A made-up shop: four of five purchases are of a month's fifty items, the others of anything.
It is imported and judged as any shop is; the models learn up to the middle of a month.

python -m benchmarks.seasons [--work DIR]
"""

import argparse
import csv
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from artifacts.disk import naming
from benchmarks.command import ended, plait
from cli.writable import check_directory

USERS, VISITS, ITEMS, DAYS = 800, 14, 1_200, 300
# Items of a month, how much of what is bought is of them, and on which day months begin.
_OF_MONTH, _SEASONAL, _BEGINS = 50, 0.8, 13
_START = datetime(2024, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, import and judge the shop; return 0, or the first exit code that is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/seasons"))
    options = parser.parse_args(arguments)
    return ended(lambda: _work(options.work))


def _work(work: Path) -> int:
    check_directory(work)
    raw, data = work / "raw", work / "data"
    with naming(raw):
        write(raw)
    return plait([
        # Anew each time, which takes a moment: an earlier run may have made another shop.
        ["import", "csv", str(raw), str(data)],
        [
            "evaluate", str(data), "--protocol", "time-split", "--include-seen",
            "--preset", "quick", "--models", "popular-7d,cf,content,convex,fused",
            "--work", str(work / "parts"), "--json", str(work / "report.json"),
        ],
    ])  # fmt: skip


def write(raw: Path, *, users: int = USERS, seed: int = 1) -> None:
    """Write the shop's items.csv and events.csv."""
    raw.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(seed)  # noqa: S311 -- a made-up shop is no secret
    with (raw / "items.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("item_id", "title", "category", "brand", "price"))
        for n in range(ITEMS):
            rows.writerow((f"i{n}", f"Thing {n}", f"kind {n % 20}", f"brand {n % 30}", 1 + n % 17))
    with (raw / "events.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("user_id", "item_id", "type", "time"))
        for user in range(users):
            for _ in range(VISITS):
                day = drawn.random() * DAYS
                for minute in range(drawn.randint(2, 5)):
                    when = _START + timedelta(days=day, minutes=minute)
                    rows.writerow(
                        (f"u{user}", f"i{_item(day, drawn)}", "purchase", when.isoformat())
                    )


def _item(day: float, drawn: random.Random) -> int:
    if drawn.random() >= _SEASONAL:
        return drawn.randrange(ITEMS)
    month = int((day + _BEGINS) // 30)
    return (100 * month + min(_OF_MONTH - 1, int(drawn.expovariate(1 / 12)))) % ITEMS


if __name__ == "__main__":
    sys.exit(main())
