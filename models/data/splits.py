"""Splits: which events a model may learn from, and which judge it.

Nothing in train may be later than what it is judged on. Where there are times,
two cutoffs T1 < T2 over the global clock do that for everyone at once; leaving
each user's last event out does it only within the user, and is kept for
comparison with published numbers.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from models.data.cuts import FEWEST_MOMENTS, FRACTION, cut_by_days, cut_by_fractions
from models.data.dataset import Dataset
from models.data.errors import SplitError
from models.data.fitting import SHORTEST, check_users, has_split, remedy
from models.data.schema import SPLITS

PROTOCOLS = ("time-split", "leave-one-out", "given-split")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Split:
    """Three disjoint parts of a dataset's events; test may be empty only if none was given."""

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    note: str  # how the parts were made, for reports
    # The cutoffs of a time split: train < t1 <= valid < t2 <= test.
    t1: datetime | None = None
    t2: datetime | None = None


def make_split(dataset: Dataset, protocol: str, *, seed: int = 0) -> Split:
    """Split by the name of a protocol (PROTOCOLS), with its defaults.

    Raises SplitError if there is no such protocol or it does not fit the data.
    """
    if not dataset.events.height:
        raise SplitError(
            f"{dataset.path}: there are no events to hold out; import some, or judge rated "
            "queries with the protocol search"
        )
    check_users(dataset)
    if protocol == "time-split":
        return time_split(dataset)
    if protocol == "leave-one-out":
        return leave_one_out(dataset)
    if protocol == "given-split":
        return given_split(dataset, seed=seed)
    raise SplitError(f"{protocol!r} is no protocol; there are: {', '.join(PROTOCOLS)}")


def time_split(
    dataset: Dataset,
    *,
    valid_fraction: float = FRACTION,
    test_fraction: float = FRACTION,
    valid_days: float | None = None,
    test_days: float | None = None,
) -> Split:
    """Cut at two moments of the global clock: train < T1 <= valid < T2 <= test.

    The cutoffs leave `test_fraction` of the events after T2 and `valid_fraction`
    between T1 and T2, as nearly as events at one moment, never separated, allow; or
    they span the given days back from the last event. Raises SplitError if an event
    has no time, if there are fewer than three moments, or if the days leave a part empty.
    """
    events = dataset.events
    if dataset.info.times != "time" or events["time"].null_count() or not events.height:
        raise SplitError(
            f"{dataset.path}: events have no time, so they cannot be split by it; {remedy(dataset)}"
        )
    if (valid_days is None) != (test_days is None):
        raise SplitError("give both valid_days and test_days, or neither")
    if valid_days is not None and test_days is not None:
        t1, t2 = cut_by_days(events["time"], valid_days, test_days)
    else:
        _check_moments(dataset)
        t1, t2 = cut_by_fractions(events["time"], valid_fraction, test_fraction)
    time = pl.col("time")
    split = Split(
        train=events.filter(time < t1),
        valid=events.filter((time >= t1) & (time < t2)),
        test=events.filter(time >= t2),
        note=f"by time: train < {t1:%Y-%m-%d %H:%M} <= valid < {t2:%Y-%m-%d %H:%M} <= test",
        t1=t1,
        t2=t2,
    )
    for name in ("train", "valid", "test"):
        if not getattr(split, name).height:
            raise SplitError(
                f"{dataset.path}: no event falls into {name} ({split.note}); choose other days"
            )
    return split


def leave_one_out(dataset: Dataset) -> Split:
    """Hold out the last event of every user for test and the one before for validation.

    Users with fewer than three events stay in train whole. A dislike is no
    target: it goes with the part its place in the order belongs to. Raises
    SplitError if the data has no order or no user is long enough.
    """
    if dataset.info.times == "none":
        raise SplitError(
            f"{dataset.path}: events have no order, so no event is a user's last; {remedy(dataset)}"
        )
    later = _with_places(dataset.events)
    wanted, place, enough = pl.col("wanted"), pl.col("left"), pl.col("all") >= SHORTEST
    train = later.filter(~enough | (place > 2) | ((place == 2) & ~wanted))
    valid = later.filter(enough & (((place == 2) & wanted) | ((place == 1) & ~wanted)))
    test = later.filter(enough & (((place == 1) & wanted) | (place == 0)))
    if not test.height:
        raise SplitError(
            f"{dataset.path}: no user has three events or more; "
            f"{remedy(dataset, but='leave-one-out')}"
        )
    short = later.filter(~enough)["user_id"].n_unique()
    note = (
        "leave one out: a user's last event is test, the one before validation; "
        f"{short:,} users with fewer than three events are in train only"
    )
    helpers = ("wanted", "left", "all")
    return Split(train.drop(helpers), valid.drop(helpers), test.drop(helpers), note)


def given_split(dataset: Dataset, *, valid_fraction: float = 0.1, seed: int = 0) -> Split:
    """Use the split the data came with; carve validation out of train where there is none.

    Carving takes `valid_fraction` of each user's train events at random, rounded,
    and always leaves one. Raises SplitError if the data came without a split.
    """
    events = dataset.events
    if not has_split(events):
        raise SplitError(
            f"{dataset.path}: the data came without a split for every event; "
            f"{remedy(dataset, but='given-split')}"
        )
    train, valid, test = (events.filter(pl.col("split") == name) for name in SPLITS)
    if valid.height:
        return Split(train, valid, test, "train, validation and test as given")
    if not 0 < valid_fraction < 1:
        raise SplitError(f"valid_fraction is {valid_fraction}, must lie between 0 and 1")
    lot = pl.Series("lot", np.random.default_rng(seed).random(train.height))
    count = pl.len().over("user_id")
    wanted = (count * valid_fraction + 0.5).floor().clip(upper_bound=count - 1)
    chosen = train.select(lot.rank("ordinal").alias("rank"), "user_id").select(
        (pl.col("rank").rank("ordinal").over("user_id") <= wanted).alias("chosen")
    )["chosen"]
    note = (
        f"train and test as given; {valid_fraction:.0%} of each user's train events, drawn with "
        f"seed {seed}, are validation"
    )
    return Split(train.filter(~chosen), train.filter(chosen), test, note)


def _with_places(events: pl.DataFrame) -> pl.DataFrame:
    """Add to events, in order: wanted (no dislike), left and all.

    `left` counts the user's wanted events from the last up to this one, `all`
    all of them. A dislike after the last wanted event has none left: it is as
    late as test.
    """
    backwards = events.sort("user_id", "order", descending=[False, True], maintain_order=True)
    counted = backwards.with_columns(wanted=pl.col("type") != "dislike").with_columns(
        left=pl.col("wanted").cast(pl.Int64).cum_sum().over("user_id"),
        all=pl.col("wanted").cast(pl.Int64).sum().over("user_id"),
    )
    return counted.sort("user_id", "order", maintain_order=True)


def _check_moments(dataset: Dataset) -> None:
    """Raise SplitError where there are too few moments to cut between."""
    moments = dataset.events["time"].n_unique()
    if moments < FEWEST_MOMENTS:
        raise SplitError(
            f"{dataset.path}: all events are of {moments} moment{'s'[: moments > 1]}, and three "
            "are needed to cut train, valid and test by time; import finer times, or "
            f"{remedy(dataset, but='time-split')}"
        )
