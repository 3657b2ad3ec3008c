"""What an evaluation found, as data: the command prints it, JSON keeps it, the page draws it.

docs/evaluation.md explains every field to those who read the JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# Raised when a field changes its meaning or goes.
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One way to rank: a baseline, a model, or a fusion."""

    name: str
    kind: str  # "baseline", "model" or "fusion"
    metrics: Mapping[str, float]  # "ndcg@10" -> mean over users
    intervals: Mapping[str, tuple[float, float]]  # the same names where they are means
    note: str = ""
    version: int | None = None  # of the artifact
    seconds_train: float | None = None  # None: nothing to train
    seconds_rank: float = 0.0  # all users; for a fusion, its own part
    # CPU milliseconds a user, in one process without transport; a fusion's includes the
    # sources'.
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class SliceResult:
    """All rows over one part of the targets."""

    group: str
    name: str
    what: str
    users: int
    targets: int
    metrics: Mapping[str, Mapping[str, float]]  # row -> metric -> mean
    intervals: Mapping[str, tuple[float, float]]  # row -> interval of the main metric


@dataclass(frozen=True, slots=True)
class Difference:
    """Row minus `against`, paired by user."""

    row: str
    against: str
    metric: str
    difference: float
    low: float
    high: float
    relative: float | None  # difference / against; None where that is 0


@dataclass(frozen=True, slots=True)
class Bin:
    """Candidates of one range of calibrated score."""

    score: float  # mean calibrated score
    rate: float  # share of them that were targets
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """The fused ranking at one setting of a sweep, and the main metric's difference.

    The difference is that to the most relevant order, paired by user.
    """

    setting: float
    metrics: Mapping[str, float]
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    relative: float | None = 0.0  # None where the metric is 0 in the most relevant order


@dataclass(frozen=True, slots=True)
class Sweep:
    """The fused ranking by one mechanism of variety, the others off."""

    mechanism: str  # a field of FusionSettings
    what: str
    served: float  # the setting that serves
    points: tuple[Point, ...]  # the first: off, which is the most relevant order


@dataclass(frozen=True, slots=True)
class Subset:
    """Ways to fuse when only some of the sources answer."""

    sources: tuple[str, ...]
    users: int
    metrics: Mapping[str, float]  # way -> mean of the main metric


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of an ablation."""

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    # Metric -> (difference, low, high), this minus the ablation's first setting, paired.
    differences: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Ablation:
    """One thing changed at a time, all else being the same."""

    kind: str  # as --ablate names it
    title: str
    what: str
    users: int
    targets: int
    settings: tuple[Setting, ...]  # the first is what the others are compared with


@dataclass(frozen=True, slots=True)
class Table:
    """Rows judged by the same users and targets."""

    title: str
    unit: str  # what is asked: "users" or "queries"
    users: int
    users_without_history: int  # had targets but no history; not asked
    targets: int
    catalogue: int  # items that compete
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    slices: tuple[SliceResult, ...] = ()
    calibration: Mapping[str, tuple[Bin, ...]] = field(default_factory=dict)  # by row
    variety: tuple[Sweep, ...] = ()  # the fused ranking, by mechanism
    variety_users: int = 0  # how many of the users the sweeps asked
    users_only_seen: int = 0  # wanted nothing but what they had; not asked
    subsets: tuple[Subset, ...] = ()  # where they were asked for
    ablations: tuple[Ablation, ...] = ()  # where they were asked for
    fusion: Mapping[str, Any] = field(default_factory=dict)  # weights, settings, validation
    curves: Mapping[str, Mapping[str, list[tuple[float, float]]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation of one dataset by one protocol."""

    dataset: str
    source: str  # where the data comes from
    protocol: str
    judged: str  # "test" or "validation"
    split: str  # how the parts were made
    trained_on: str
    exclude_seen: bool
    ks: tuple[int, ...]
    main: str  # the metric that slices and differences are about
    confidence: float
    draws: int
    tables: tuple[Table, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # row -> why
    notes: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)
