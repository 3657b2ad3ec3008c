"""Accuracy for variety: the fused ranking at several settings of each mechanism.

The one idea: the candidates' scores do not depend on how places are given, so everybody
is scored once, and the places are given anew for every setting.
"""

from dataclasses import dataclass, replace

import numpy as np

from artifacts.fusion import FusionSettings
from cli.offline import OfflineFusion
from gateway.fusion.diversify import diversify
from gateway.fusion.order import order
from models.evaluate.fused import Shopper
from models.evaluate.judge import Entry, Measure, compared
from models.evaluate.looks import Looks, beyond
from models.evaluate.metrics import Keys, per_user
from models.evaluate.report import Point, Sweep
from models.evaluate.task import Task
from models.fusion.variety import DIVERSITIES


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way to vary a slate: a setting of the fusion, from nothing to much."""

    name: str  # the field of FusionSettings, and of Query
    what: str
    off: float
    settings: tuple[float, ...]


MECHANISMS = (
    Mechanism(
        "diversity", "unlike items (MMR over item vectors)", 0.0,
        (*DIVERSITIES, 0.5),
    ),
    Mechanism(
        "domain_calibration", "the history's mix of domains (Steck 2018)", 0.0,
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9),
    ),
    Mechanism(
        "provider_share", "at most this share of the places for one provider", 1.0,
        (0.5, 0.4, 0.3, 0.2, 0.1),
    ),
)  # fmt: skip


def relevant(settings: FusionSettings) -> FusionSettings:
    """Return settings without any variety: most relevant first."""
    return replace(settings, diversity=0.0, domain_calibration=0.0, provider_share=1.0)


def changes() -> list[dict[str, float]]:
    """Return every combination of settings that is tried, most relevant first to begin with."""
    plain = {mechanism.name: mechanism.off for mechanism in MECHANISMS}
    return [plain, *({**plain, m.name: setting} for m in MECHANISMS for setting in m.settings)]


class Varied:
    """Ranks for one shopper with every one of `changes`, one after another."""

    def __init__(self, fusion: OfflineFusion) -> None:
        """`fusion` scores; its own variety is not asked for."""
        self._fusion = fusion

    def __call__(self, shopper: Shopper, k: int) -> Keys:
        """Return the best of all changes, int64 [k]: each has an equal part, 0-padded."""
        every = changes()
        each = k // len(every)
        query, pool = self._fusion.scored(shopper, each)
        found = np.zeros((len(every), each), np.int64)
        for number, change in enumerate(every):
            asked = query._replace(**change)  # type: ignore[arg-type]
            placed = order(asked, diversify(asked, pool))
            best = query.columns.keys[placed.rows[placed.order[:each]]]
            found[number, : len(best)] = best
        return found.ravel()


def sweeps(
    ranked: Keys, task: Task, looks: Looks, by: Measure, served: FusionSettings
) -> tuple[Sweep, ...]:
    """Judge `Varied`'s rankings, int64 [U, C * k]: a curve for each mechanism.

    Every point is compared with the most relevant order, paired by user.
    """
    points = iter(_points(ranked, task, looks, by))
    first = next(points)
    found = []
    for m in MECHANISMS:
        others = (replace(next(points), setting=setting) for setting in m.settings)
        curve = (replace(first, setting=m.off), *others)
        found.append(Sweep(m.name, m.what, float(getattr(served, m.name)), curve))
    return tuple(found)


def _points(ranked: Keys, task: Task, looks: Looks, by: Measure) -> list[Point]:
    """Measure the rankings of every change, in their order; settings are left out."""
    size = len(changes())
    parts = ranked.reshape(len(ranked), size, -1)
    each, totals = [], []
    for number in range(size):
        keys = parts[:, number]
        more, total = beyond(keys, looks, task.history, by.ks)
        each.append({**per_user(keys, task.targets, by.ks), **more})
        totals.append(total)
    entries = [Entry(str(number), "fusion", parts[:, number]) for number in range(size)]
    rows, differences = compared(entries, each, totals, by)
    gaps = {d.row: (d.difference, d.low, d.high, d.relative) for d in differences
            if d.against == rows[0].name}  # fmt: skip
    return [Point(0.0, row.metrics, *gaps.get(row.name, ())) for row in rows]
