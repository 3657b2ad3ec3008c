"""For each surface the question it asks and the events that answer it.

HOME: what is bought in a visit, given all that the shopper did before it. LIVE: the
rest of the visit, given its first events as well; here the weight of the session
term is tuned. SESSION: the same, given these first events alone. CART: the item
left out of a basket. What SESSION's ranker learns from is cut after one to five events.
A surface's task is made from held-out events by renaming: every question gets a user of
its own.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from models.data.interactions import TYPE_NUMBERS
from models.evaluate.task import Task, in_session, make_task

# First events of a visit that stand for the session so far.
SESSION = 5
_TARGETS = 20
# From this part of repeated events on, an item a user had is worth showing again.
_AGAIN = 0.05
# Events without a break this long belong to one visit.
_BREAK = 30 * 60
# Where there is an order but no time, this many events in a row stand for a visit.
_RUN = 10


def buys_again(known: pl.DataFrame, wanted: pl.DataFrame) -> bool:
    """Say whether users come back to items they had: at least one event in twenty."""
    both = wanted.join(known.select("user_id").unique(), on="user_id", how="semi")
    again = both.join(known, on=["user_id", "item_key"], how="semi")
    return again.height >= _AGAIN * max(both.height, 1)


def session_task(
    visits: pl.DataFrame, users: int | None, seed: int, *, most: int | None = _TARGETS
) -> Task:
    """The next items of a visit, `most` of them, from its first five alone."""
    told, rest = cut(visits, SESSION, most)
    task = make_task(told, rest, exclude_seen=False, users=users, seed=seed, together=False)
    return in_session(task)


def begun_task(visits: pl.DataFrame, seed: int) -> Task:
    """What a visit holds after its first items, from these alone: one to five, drawn (seeded).

    What it began with competes too, and is no target. Events of one moment, as the lines of
    a basket, have no order: which of them come first is drawn.
    """
    chance = np.random.default_rng(seed)
    mixed = moments_shuffled(visits, chance)
    ids = mixed["user_id"].unique().sort()
    lot = pl.DataFrame({"user_id": ids, "lot": chance.random(len(ids))})
    most = pl.min_horizontal(_items() - 1, SESSION)
    begun = mixed.join(lot, on="user_id", maintain_order="left")
    begun = begun.with_columns(order=_row(visits), given=1 + (pl.col("lot") * most).floor())
    told, rest = cut(begun, pl.col("given"), None)
    columns = visits.columns
    task = make_task(
        told.select(columns), rest.select(columns), exclude_seen=False, seed=seed, together=False
    )
    return in_session(task)


def cut(
    visits: pl.DataFrame, given: int | pl.Expr, most: int | None = _TARGETS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the events of each visit until its first `given` items, and its next `most` items.

    Shoppers come back to what they saw: what happens before the next item is told too, as a
    session in serving holds it. Of the items that are looked for the first event is given.
    """
    liked = pl.col("type") != "dislike"
    first = liked & pl.struct("user_id", "item_key", liked).is_first_distinct()
    place = first.cast(pl.Int64).cum_sum().over("user_id") - 1
    placed = visits.with_columns(_place=place, _first=first)
    at = pl.col("_place")
    rest = pl.col("_first") & (at >= given)
    if most is not None:
        rest &= at < given + most
    told, wanted = placed.filter(at < given), placed.filter(rest)
    return told.drop("_place", "_first"), wanted.drop("_place", "_first")


def each_once(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the first event of each item that a visit holds, dislikes apart."""
    liked = visits.filter(pl.col("type") != "dislike")
    return liked.unique(["user_id", "item_key"], keep="first", maintain_order=True)


def _items() -> pl.Expr:
    """How many items a visit has that were not merely disliked."""
    liked = pl.col("item_key").filter(pl.col("type") != "dislike")
    return liked.n_unique().over("user_id")


def _row(visits: pl.DataFrame) -> pl.Expr:
    """The place of each event in its visit, as the column `order`."""
    return pl.int_range(pl.len()).over("user_id").cast(visits.schema["order"])


def moments_shuffled(visits: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    """Return visits in the order of time, that of events of one moment drawn."""
    drawn = pl.Series("drawn", chance.random(visits.height))
    return visits.with_columns(drawn).sort("user_id", "time", "drawn")


def first_visits(visits: pl.DataFrame) -> pl.DataFrame:
    """Return each shopper's first visit: columns user_id, shopper and start."""
    return (
        visits.group_by("shopper", "user_id").agg(start=pl.col("time").min())
        .sort("start", "user_id").unique("shopper", keep="first", maintain_order=True)
    )  # fmt: skip


def shopper_of(visit: str) -> str:
    """Return whose a visit is, from its name."""
    return visit.rpartition("#")[0]


def visit_task(
    events: pl.DataFrame,
    visits: pl.DataFrame,
    *,
    given: int,
    exclude_seen: bool,
    seed: int,
) -> Task:
    """What a visit holds beyond its first `given` items, from these and all before the visit.

    `events` are everyone's, timed; asked at the moment the visit began.
    """
    starts = visits.group_by("user_id", "shopper", maintain_order=True).agg(
        start=pl.col("time").min()
    )
    past = events.rename({"user_id": "shopper"}).join(starts, on="shopper")
    past = past.filter(pl.col("time") < pl.col("start"))
    columns = [name for name in events.columns if name in visits.columns]
    told, wanted = (part.select(columns) for part in cut(visits, given))
    known = pl.concat([past.select(columns), told])
    return make_task(known, wanted, exclude_seen=exclude_seen, seed=seed, together=False)


def cart_task(
    visits: pl.DataFrame, users: int | None, seed: int, *, exclude_seen: bool = True
) -> Task:
    """One item of a visit, from the others (two or more).

    These are told as a cart is in serving: each counts in full, however the visit came to
    it, and is looked at now. Now is when the visit began: what is left out has not sold yet.
    """
    taken = each_once(visits)
    enough = taken.filter(pl.len().over("user_id") >= 3)
    first = pl.int_range(pl.len()).over("user_id") == 0
    mixed = _shuffled(enough, seed)
    told, left_out = mixed.filter(~first), mixed.filter(first)
    task = make_task(told, left_out, exclude_seen=exclude_seen, users=users, seed=seed)
    size = len(task.history.keys)
    if task.timed:
        began = visits.group_by("user_id").agg(pl.col("time").min().dt.epoch("us") / 1e6)
        moment = dict(began.iter_rows())
        task = replace(task, now=np.array([moment[visit] for visit in task.user_ids], np.float64))
    return replace(
        task,
        history_weight=np.ones(size, np.float32),
        history_type=np.full(size, TYPE_NUMBERS["view"], np.int64),
        history_time=task.now[task.history.users] if task.timed else task.history_time,
        session=None,
        session_weight=None,
    )


def visits(
    events: pl.DataFrame, times: str, *, most: int, seed: int, least: int = 2
) -> pl.DataFrame:
    """Return events by visit: `user_id` names the visit, `shopper` who; `least` items in each.

    All events are there, dislikes and those of an item again as well.

    `times` is the dataset's ("time", "order" or "none"); at most `most` visits, drawn
    at random (seeded). Without times a visit is ten events in a row, without an
    order all events of a user.
    """
    ordered = events.sort("user_id", "time", "order")
    if times == "time":
        pause = pl.col("time").diff().dt.total_seconds().over("user_id").fill_null(0)
        number = (pause > _BREAK).cum_sum().over("user_id")
    elif times == "order":
        number = pl.int_range(pl.len()).over("user_id") // _RUN
    else:
        number = pl.lit(0)
    named = ordered.with_columns(
        user_id=pl.col("user_id") + "#" + number.cast(pl.String), shopper="user_id"
    )
    named = named.filter(_items() >= least)
    ids = named["user_id"].unique().sort()
    drawn = ids.sample(min(most, len(ids)), seed=seed)
    return named.filter(pl.col("user_id").is_in(drawn.implode()))


def _shuffled(visits: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Mix the order within each visit."""
    mixed = visits.sample(fraction=1.0, shuffle=True, seed=seed)
    return mixed.sort("user_id", maintain_order=True)
