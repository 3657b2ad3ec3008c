"""Which protocols fit a dataset: have somebody to ask, who did something before and after.

What a refusal advises comes from here, so that no protocol sends to another that
would refuse too.
"""

import polars as pl

from models.data.cuts import FEWEST_MOMENTS, FRACTION, cut_by_fractions
from models.data.dataset import Dataset
from models.data.errors import SplitError

# Events that a user needs for the last two to be left out.
SHORTEST = 3


def has_split(events: pl.DataFrame) -> bool:
    """Say whether the data came with a split for every event."""
    return events.height > 0 and events["split"].null_count() == 0


def check_users(dataset: Dataset) -> None:
    """Raise SplitError where no user has two events, which no protocol can judge by."""
    if _longest(dataset) < 2:
        raise SplitError(
            f"{dataset.path}: no user has two events or more (dislikes aside), and whatever the "
            "protocol, a model is asked with a user's earlier events and judged by later ones; "
            "import more events of each user, and if user_id is that of an order or a visit, the "
            "shopper's instead (from csv or parquet: --map user_id=COLUMN)"
        )


def remedy(dataset: Dataset, but: str = "") -> str:
    """Say what to do: use a protocol, other than `but`, that has somebody to ask, or import."""
    names = [name for name, asks in _ASKING.items() if name != but and asks(dataset)]
    if names:
        return f"use the protocol {' or '.join(names)}"
    if dataset.info.times == "none" and not has_split(dataset.events):
        return (
            "as no protocol fits, import the data anew, from csv or parquet, with times "
            "(--map time=COLUMN) or with a split (--map split=COLUMN)"
        )
    return (
        "as no protocol fits, import more events of each user: three for leave-one-out, for the "
        "others some before and some after what is held out"
    )


def _wanted(dataset: Dataset) -> pl.DataFrame:
    """Return the events that may be history or target; dislikes are neither."""
    return dataset.events.filter(pl.col("type") != "dislike")


def _longest(dataset: Dataset) -> int:
    """Return the most events that a user has."""
    return max(_wanted(dataset)["user_id"].value_counts()["count"], default=0)


def _asks_by_time(dataset: Dataset) -> bool:
    """Say whether a user has events on both sides of the second cutoff."""
    times = dataset.events["time"]
    if dataset.info.times != "time" or times.null_count() or times.n_unique() < FEWEST_MOMENTS:
        return False
    _, t2 = cut_by_fractions(times, FRACTION, FRACTION)
    return _some_on_both_sides(dataset, pl.col("time") >= t2)


def _asks_last(dataset: Dataset) -> bool:
    """Say whether a user's last events can be left out."""
    return dataset.info.times != "none" and _longest(dataset) >= SHORTEST


def _asks_as_given(dataset: Dataset) -> bool:
    """Say whether a user has events in the test part and outside of it."""
    return has_split(dataset.events) and _some_on_both_sides(dataset, pl.col("split") == "test")


def _some_on_both_sides(dataset: Dataset, later: pl.Expr) -> bool:
    sides = _wanted(dataset).group_by("user_id").agg(any=later.any(), all=later.all())
    return bool((sides["any"] & ~sides["all"]).any())


_ASKING = {
    "time-split": _asks_by_time,
    "leave-one-out": _asks_last,
    "given-split": _asks_as_given,
}
