"""One thing changed at a time: what each setting reaches, beside the first of them.

The one idea: all settings answer the same users and share the draws of users, so a
difference has an interval of its own. A mean over all that was shown (a price) is a ratio
of two sums, and is resampled as one: users with more of it count more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.evaluate.bootstrap import Resampling, interval, resampled_means
from models.evaluate.metrics import Doubles
from models.evaluate.report import Setting


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What one setting did for each of U users."""

    name: str
    means: Mapping[str, Doubles]  # metric -> value [U]
    # Metric -> (sum [U], what to divide by [U]), both added up over users first.
    ratios: Mapping[str, tuple[Doubles, Doubles]] = field(default_factory=dict)


def compare(tried: Sequence[Tried], how: Resampling) -> tuple[Setting, ...]:
    """Return what each setting reaches, and its paired difference from the first.

    All settings have the same metrics and users, at least one.
    """
    columns = [column for one in tried for column in _columns(one)]
    values = np.stack(columns, axis=1)
    draws = resampled_means(values, how)
    means, width = values.mean(axis=0)[None], len(columns) // len(tried)
    cuts = [slice(at * width, (at + 1) * width) for at in range(len(tried))]
    first = _metrics(tried[0], means[:, cuts[0]]), _metrics(tried[0], draws[:, cuts[0]])
    found = tuple(
        _setting(one, (_metrics(one, means[:, cut]), _metrics(one, draws[:, cut])), first, how)
        for one, cut in zip(tried, cuts, strict=True)
    )
    return (replace(found[0], differences={}), *found[1:])


def _columns(one: Tried) -> list[Doubles]:
    return [*one.means.values(), *(part for ratio in one.ratios.values() for part in ratio)]


def _metrics(one: Tried, table: Doubles) -> dict[str, Doubles]:
    """Return each metric [B] from the columns' means [B, M] in B resamples."""
    count = len(one.means)
    found = dict(zip(one.means, table.T[:count], strict=True))
    for place, name in enumerate(one.ratios):
        total, over = table.T[count + 2 * place : count + 2 * place + 2]
        found[name] = np.divide(total, over, out=np.zeros_like(total), where=over > 0)
    return found


Both = tuple[Mapping[str, Doubles], Mapping[str, Doubles]]


def _setting(one: Tried, own: Both, first: Both, how: Resampling) -> Setting:
    """`own` and `first` are (metrics as measured [1], metrics in the resamples [B])."""
    intervals, differences = {}, {}
    for name, drawn in own[1].items():
        intervals[name] = _ends(drawn, how)
        gap = float(own[0][name][0] - first[0][name][0])
        differences[name] = (gap, *_ends(drawn - first[1][name], how))
    metrics = {name: float(value[0]) for name, value in own[0].items()}
    return Setting(one.name, metrics, intervals, differences)


def _ends(drawn: Doubles, how: Resampling) -> tuple[float, float]:
    low, high = interval(drawn[:, None], how)
    return float(low[0]), float(high[0])
