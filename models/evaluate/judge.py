"""From rankings to a table: every row by the same users, metrics, slices and draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from artifacts.formulas import Floats, calibrate
from models.evaluate.bootstrap import Resampling, interval, resampled_means
from models.evaluate.looks import Looks, beyond
from models.evaluate.metrics import Doubles, Keys, of_hits, places
from models.evaluate.ranking import Lists
from models.evaluate.report import Bin, Difference, Row, SliceResult
from models.evaluate.slices import Slice
from models.evaluate.task import Task

_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One way to rank and what it ranked."""

    name: str
    kind: str
    ranked: Keys  # [U, K], best first, 0-padded
    note: str = ""
    version: int | None = None
    seconds_train: float | None = None
    seconds_rank: float = 0.0
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured, and how surely."""

    ks: tuple[int, ...]
    main: str  # "ndcg@10"
    how: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of a table, and how they compare."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    slices: tuple[SliceResult, ...]


def judge(
    entries: Sequence[Entry], task: Task, looks: Looks, slices: Sequence[Slice], by: Measure
) -> Judged:
    """Measure every entry on the task; intervals and differences share their draws."""
    found = [places(_wide(e.ranked, by), task.targets) for e in entries]
    each, totals = [], []
    for entry, place in zip(entries, found, strict=True):
        values = of_hits(place >= 0, task.targets.lengths, by.ks)
        more, total = beyond(_wide(entry.ranked, by), looks, task.history, by.ks)
        each.append({**values, **more})
        totals.append(total)
    rows, differences = compared(entries, each, totals, by)
    parts = [_slice(entries, found, task, part, by) for part in slices]
    return Judged(rows, differences, tuple(parts))


def compared(
    entries: Sequence[Entry],
    each: Sequence[Mapping[str, Doubles]],
    totals: Sequence[Mapping[str, float]],
    by: Measure,
) -> tuple[tuple[Row, ...], tuple[Difference, ...]]:
    """Return rows and paired differences from values per user; all entries have the same names."""
    names = list(each[0])
    values = np.stack([row[name] for row in each for name in names], axis=1)
    draws = resampled_means(values, by.how)
    low, high = interval(draws, by.how)
    rows = []
    for number, (entry, total) in enumerate(zip(entries, totals, strict=True)):
        at = number * len(names)
        metrics = {n: float(values[:, at + i].mean()) for i, n in enumerate(names)}
        intervals = {n: (float(low[at + i]), float(high[at + i])) for i, n in enumerate(names)}
        rows.append(_row(entry, {**metrics, **total}, intervals))
    main = draws[:, names.index(by.main) :: len(names)]
    return tuple(rows), tuple(_differences(rows, main, by))


def _differences(rows: Sequence[Row], draws: Doubles, by: Measure) -> list[Difference]:
    """Every row against every other; draws [B, R] of the main metric."""
    found = []
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            if i == j:
                continue
            low, high = interval((draws[:, i] - draws[:, j])[:, None], by.how)
            base = other.metrics[by.main]
            gap = row.metrics[by.main] - base
            relative = gap / base if base else None
            ends = (float(low[0]), float(high[0]))
            found.append(Difference(row.name, other.name, by.main, gap, *ends, relative))
    return found


def _slice(
    entries: Sequence[Entry], found: Sequence[Keys], task: Task, part: Slice, by: Measure
) -> SliceResult:
    """All entries over the targets of one slice, for the users who have any."""
    wanted = np.bincount(task.targets.users[part.targets], minlength=len(task.user_ids))
    users = wanted > 0
    metrics, mains = {}, []
    for entry, place in zip(entries, found, strict=True):
        hit = (place[users] >= 0) & part.targets[place[users]]
        values = of_hits(hit, wanted[users], by.ks)
        metrics[entry.name] = {name: float(v.mean()) for name, v in values.items()}
        mains.append(values[by.main])
    low, high = interval(resampled_means(np.stack(mains, axis=1), by.how), by.how)
    ends = {e.name: (float(low[i]), float(high[i])) for i, e in enumerate(entries)}
    return SliceResult(
        group=part.group,
        name=part.name,
        what=part.what,
        users=int(users.sum()),
        targets=int(part.targets.sum()),
        metrics=metrics,
        intervals=ends,
    )


def reliability(lists: Lists, task: Task, quantiles: tuple[Floats, Floats]) -> tuple[Bin, ...]:
    """Return how often candidates of each calibrated score (0..1, as served) were targets."""
    score = calibrate(lists.scores, [quantiles] * len(lists.scores))
    named = np.isfinite(score) & (lists.keys != 0)
    hit = (places(lists.keys, task.targets) >= 0)[named]
    score = score[named]
    part = np.minimum((score * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(part, minlength=_BINS)
    total, hits = (np.bincount(part, w, _BINS) for w in (score, hit.astype(np.float64)))
    return tuple(
        Bin(float(total[i] / count[i]), float(hits[i] / count[i]), int(count[i]))
        for i in range(_BINS)
        if count[i]
    )


def _wide(ranked: Keys, by: Measure) -> Keys:
    """Cut or pad rankings to the greatest k."""
    most = max(by.ks)
    return np.pad(ranked[:, :most], ((0, 0), (0, max(0, most - ranked.shape[1]))))


def _row(
    entry: Entry, metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> Row:
    return Row(
        name=entry.name,
        kind=entry.kind,
        metrics=metrics,
        intervals=intervals,
        note=entry.note,
        version=entry.version,
        seconds_train=entry.seconds_train,
        seconds_rank=entry.seconds_rank,
        cpu_ms=entry.cpu_ms,
    )
