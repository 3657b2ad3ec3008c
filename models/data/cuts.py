"""Two moments of the global clock, T1 < T2, that cut events into three parts by time."""

from bisect import bisect_right
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from models.data.errors import SplitError

# Part of the events that validation takes, and test, where nothing else is wanted.
FRACTION = 0.1
# Train, validation and test need one each.
FEWEST_MOMENTS = 3


def cut_by_days(times: pl.Series, valid_days: float, test_days: float) -> tuple[datetime, datetime]:
    """Return T1 and T2, the given days back from the last time; raises SplitError."""
    _check_positive(valid_days=valid_days, test_days=test_days)
    t2 = _moment(times.sort(), -1) - timedelta(days=test_days)
    return t2 - timedelta(days=valid_days), t2


def cut_by_fractions(
    times: pl.Series, valid_fraction: float, test_fraction: float
) -> tuple[datetime, datetime]:
    """Return T1 and T2 with these parts of the times between and after them, nearly.

    No part is empty. There must be FEWEST_MOMENTS; raises SplitError for wrong fractions.
    """
    _check_positive(valid_fraction=valid_fraction, test_fraction=test_fraction)
    if valid_fraction + test_fraction >= 1:
        raise SplitError("valid_fraction and test_fraction must leave something to train on")
    ordered, count = times.sort(), len(times)
    wanted = (
        int(count * (1 - test_fraction - valid_fraction)),
        min(int(count * (1 - test_fraction)), count - 1),
    )
    # The first event of each moment: nothing else can begin a part.
    starts = np.flatnonzero(np.append(True, (ordered.diff()[1:].dt.total_microseconds() > 0)))
    t1, t2 = _apart(starts.tolist(), *wanted)
    return _moment(ordered, t1), _moment(ordered, t2)


def _apart(starts: list[int], t1: int, t2: int) -> tuple[int, int]:
    """Return the starts of the moments that hold t1 and t2; where a part would be empty, near ones.

    There are three starts at least.
    """
    first, second = (bisect_right(starts, at) - 1 for at in (t1, t2))
    first = max(first, 1)
    if first < second:
        return starts[first], starts[second]
    near = [(starts[n], starts[n + 1]) for n in (first - 1, first) if 0 < n < len(starts) - 1]
    return min(near, key=lambda cuts: abs(cuts[0] - t1) + abs(cuts[1] - t2))


def _moment(times: pl.Series, index: int) -> datetime:
    moment = times[min(index, len(times) - 1)]
    if not isinstance(moment, datetime):
        raise SplitError(f"{moment!r} is no time")
    return moment


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise SplitError(f"{name} is {value}, must be positive")
