"""What an import kept, what it dropped and why: one step after another.

Cleaning is a list of small counted steps, so that anyone can read how many
events a rule costs and argue with the rule.
"""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class CleaningStep:
    """One step of an import."""

    name: str  # for example "zero quantities"
    kept: int  # rows after the step
    dropped: int  # rows the step took out
    reason: str  # why, in words
    unit: str = "events"  # what a row is: "events", "items", "lines", "judgements"


@dataclass(frozen=True, slots=True)
class Report:
    """All steps of an import, in order."""

    steps: tuple[CleaningStep, ...] = ()

    def add(self, *steps: CleaningStep) -> "Report":
        """Return a report with more steps at its end."""
        return Report((*self.steps, *steps))


def keep(
    frame: pl.DataFrame, condition: pl.Expr, name: str, reason: str, unit: str = "events"
) -> tuple[pl.DataFrame, CleaningStep]:
    """Keep the rows of a frame where `condition` is true; null counts as false."""
    kept = frame.filter(condition)
    return kept, CleaningStep(name, kept.height, frame.height - kept.height, reason, unit)
