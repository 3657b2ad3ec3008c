"""What a search found, as data: the command prints it, JSON keeps it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cli.tuning.study import Trial
from cli.tuning.trials import BEST
from models.evaluate.report import Difference, Row, Table

# Raised when a field changes its meaning or goes.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Tuned:
    """A search: the trials, and the best of them beside the default, by the same users."""

    dataset: str
    source: str
    preset: str
    seed: int
    protocol: str
    split: str  # how the parts were made
    main: str  # the metric that decides
    fixed: Mapping[str, str]  # settings of all trials and of the default
    searched: Mapping[str, str]  # field -> its space, in words
    trials: tuple[Trial, ...]
    best: Trial
    table: Table  # of the default and the best
    study: str  # the file of the trials
    machine: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def difference(self) -> Difference:
        """The best minus the default."""
        return next(d for d in self.table.differences if d.row == BEST)

    @property
    def better(self) -> bool:
        """Whether the best beats the default by more than chance: the interval is above 0."""
        return self.difference.low > 0

    @property
    def settings(self) -> dict[str, str]:
        """What to train with: the fixed settings, and the best ones where they are better."""
        found = self.difference.difference > 0
        return {**self.fixed, **(self.best.settings if found else {})}

    def row(self, name: str) -> Row:
        """Return a row of the table."""
        return next(row for row in self.table.rows if row.name == name)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **asdict(self),
            "difference": asdict(self.difference),
            "better": self.better,
            "settings": self.settings,
        }
