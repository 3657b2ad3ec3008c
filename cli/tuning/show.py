"""A search as tables for people, and as a line to paste."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from cli.evaluation.figures import short
from cli.output import console, counted, table
from cli.tuning.report import Tuned
from cli.tuning.trials import BEST, DEFAULT

# Trials that are listed, from the best.
_LISTED = 10


def show(found: Tuned, dataset: Path) -> None:
    """Print the best trials, the best beside the default, and how to train with it."""
    out = console()
    out.print(f"{found.dataset}: {found.source} by {found.main}; {found.split}")
    out.print(trials_table(found))
    for why in _failures(found):
        out.print(f"  {why}", style="dim")
    out.print(compared_table(found))
    out.print(verdict(found))
    out.print(f"\n  {train_line(found, dataset)}\n", soft_wrap=True)
    out.print(
        "  The best was chosen by these very users, which flatters it; what it is worth "
        "`plait evaluate` says on the test part.",
        style="dim",
    )  # fmt: skip
    out.print(f"  Trials: {found.study}", style="dim", soft_wrap=True)


def trials_table(found: Tuned) -> Table:
    """Return the best trials."""
    made = table("Trial", f">{found.main}", ">Seconds", "Settings")
    good = [t for t in found.trials if t.value is not None]
    for trial in sorted(good, key=lambda t: (-(t.value or 0.0), t.number))[:_LISTED]:
        said = " ".join(f"{name}={value}" for name, value in trial.settings.items())
        made.add_row(str(trial.number), short(trial.value or 0.0), f"{trial.seconds:.1f}", said)
    return made


def compared_table(found: Tuned) -> Table:
    """Return the default, the best, and the paired difference."""
    made = table("", f">{found.main}", ">95 %")
    for name in (DEFAULT, BEST):
        row = found.row(name)
        low, high = row.intervals[found.main]
        made.add_row(name, short(row.metrics[found.main]), f"{short(low)} to {short(high)}")
    gap = found.difference
    made.add_row("difference", f"{gap.difference:+.4f}", f"{gap.low:+.4f} to {gap.high:+.4f}")
    return made


def verdict(found: Tuned) -> str:
    """Say whether the search was worth it."""
    if found.better:
        return "The best is better than the default. To train with it:"
    if found.difference.difference > 0:
        return "The best is not surely better than the default, it may be chance. To train with it:"
    return "The best is not better than the default. To train with the default:"


def train_line(found: Tuned, dataset: Path) -> str:
    """Return the command that trains what came out best."""
    words = ["plait", "train", str(dataset), "var/models", "--sources", found.source]
    words += ["--keep-fusion", "--preset", found.preset, "--seed", str(found.seed)]
    for name, value in found.settings.items():
        words += ["--set", f"{found.source}.{name}={value}"]
    return shlex.join(words)


def _failures(found: Tuned) -> Iterator[str]:
    failed = [t for t in found.trials if t.value is None]
    if failed:
        tried = counted(len(found.trials), "trial")
        yield f"{len(failed)} of {tried} failed; the last: {failed[-1].why}"
