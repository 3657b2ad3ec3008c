"""What an evaluation found, as data: the command prints it, JSON keeps it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One model, or one way to fuse."""

    name: str
    metrics: Mapping[str, float]
    seconds_train: float | None = None  # None: reused or nothing to train
    seconds_rank: float = 0.0  # all users
    version: int | None = None  # of the artifact
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation on the test part of a split."""

    dataset: str
    protocol: str
    split: str  # how the parts were made
    ks: tuple[int, ...]
    users: int
    users_without_history: int  # had targets but no history; not asked
    targets: int
    catalogue: int  # items ranked
    exclude_seen: bool
    trained_on: str  # "train" or "train and validation"
    lines: tuple[Line, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # model -> why
    fusion: Mapping[str, Any] = field(default_factory=dict)  # weights, settings, validation
    machine: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)
