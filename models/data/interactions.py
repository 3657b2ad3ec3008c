"""Events as arrays: the form in which the models train.

A user is an index, an item is a row 1 .. n (row 0 pads), as in
artifacts.keys.KeyIndex over the same keys, so what a model learns and what it
serves count alike.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from artifacts.keys import KeyIndex
from models.data.errors import DatasetError
from models.data.schema import EVENT_TYPES

Rows = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Types = npt.NDArray[np.int8]

# How much an event says that the user wants the item. A dislike says the
# opposite: it is no positive interaction and left out here.
EVENT_WEIGHTS = {"view": 1.0, "click": 2.0, "cart": 3.0, "purchase": 4.0, "like": 4.0}
# The types by which models are told of events: numbers of plait.v1.EventType.
TYPE_NUMBERS = {name: number for number, name in enumerate(EVENT_TYPES, start=1)}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Interactions:
    """E events of U users on n items, sorted by (user, time, order)."""

    user_ids: tuple[str, ...]  # U, ascending; only users with events
    item_keys: Rows  # int64 [n], ascending
    user: Indices  # int32 [E], index into user_ids
    row: Rows  # int64 [E], 1 .. n: KeyIndex(item_keys).rows(key)
    weight: Weights  # float32 [E], EVENT_WEIGHTS of the event's type
    time: Times  # float64 [E], seconds since epoch; the event's order where there is no time
    domain: Indices  # int32 [n], index into domain_names
    domain_names: tuple[str, ...]
    starts: Rows  # int64 [U + 1]: user u has the events starts[u] .. starts[u + 1]
    type: Types  # int8 [E], numbers of plait.v1.EventType
    timed: bool  # whether `time` is a time

    def histories(self) -> list[tuple[Rows, Weights, Times]]:
        """Return (rows, weights, times) of every user, oldest event first; views, not copies."""
        cuts = self.starts[1:-1]
        return list(
            zip(
                np.split(self.row, cuts),
                np.split(self.weight, cuts),
                np.split(self.time, cuts),
                strict=True,
            )
        )[: len(self.user_ids)]

    def matrix(self, *, weighted: bool = False) -> sparse.csr_matrix:
        """Return users by items, float32 [U, n], item row r in column r - 1.

        1 where there is an event, or the sum of the weights if `weighted`.
        """
        values = self.weight if weighted else np.ones(len(self.row), np.float32)
        shape = (len(self.user_ids), len(self.item_keys))
        found = sparse.csr_matrix((values, (self.user, self.row - 1)), shape=shape)
        found.sum_duplicates()
        if not weighted:
            found.data[:] = 1.0
        return found


def interactions(
    items: pl.DataFrame, events: pl.DataFrame, *, min_item_events: int = 1
) -> Interactions:
    """Turn event frames into arrays.

    The item vocabulary is every item of `items` with at least `min_item_events`
    positive events (0 takes all items), in ascending key order; events on other
    items are left out. Raises DatasetError if an event's type is unknown.
    """
    positive = _positive(events)
    keys = _vocabulary(items, positive, min_item_events)
    known = positive.filter(pl.col("item_key").is_in(pl.Series(keys).implode()))
    users = known["user_id"].unique().sort()
    index = pl.DataFrame({"user_id": users, "user": pl.int_range(len(users), eager=True)})
    # Times mean something only if all events have one.
    timed = known.height > 0 and known["time"].null_count() == 0
    clock = pl.col("time").dt.epoch("us") / 1e6 if timed else pl.col("order").cast(pl.Float64)
    table = (
        known.join(index, on="user_id", how="left", maintain_order="left")
        .with_columns(clock.cast(pl.Float64).alias("clock"))
        .sort("user", "clock", "order", maintain_order=True)
    )
    user = table["user"].to_numpy().astype(np.int32)
    domain, domain_names = _domains(items, keys)
    return Interactions(
        user_ids=tuple(users.to_list()),
        item_keys=keys,
        user=user,
        row=KeyIndex(keys).rows(table["item_key"].to_numpy()),
        weight=table["weight"].to_numpy().astype(np.float32),
        time=table["clock"].to_numpy().astype(np.float64),
        domain=domain,
        domain_names=domain_names,
        starts=np.searchsorted(user, np.arange(len(users) + 1)).astype(np.int64),
        type=type_numbers(table),
        timed=timed,
    )


def type_numbers(events: pl.DataFrame) -> Types:
    """Return the number of each event's type, int8 [E]."""
    numbers = events["type"].replace_strict(TYPE_NUMBERS, return_dtype=pl.Int8)
    return numbers.to_numpy().astype(np.int8)


def _positive(events: pl.DataFrame) -> pl.DataFrame:
    """Leave out dislikes and add the column `weight`."""
    wanted = events.filter(pl.col("type") != "dislike")
    wanted = wanted.with_columns(
        pl.col("type")
        .replace_strict(EVENT_WEIGHTS, default=None, return_dtype=pl.Float64)
        .alias("weight")
    )
    if wanted["weight"].null_count():
        odd = wanted.filter(pl.col("weight").is_null())["type"][0]
        raise DatasetError(f"events, column type: {odd!r} is not one of {', '.join(EVENT_WEIGHTS)}")
    return wanted


def _vocabulary(items: pl.DataFrame, positive: pl.DataFrame, min_item_events: int) -> Rows:
    """Return the keys of the items with enough events, int64 [n] ascending."""
    known = items.select("item_key")
    if min_item_events > 0:
        counts = positive.group_by("item_key").len().filter(pl.col("len") >= min_item_events)
        known = known.join(counts, on="item_key", how="semi")
    return known["item_key"].sort().to_numpy().astype(np.int64)


def _domains(items: pl.DataFrame, keys: Rows) -> tuple[Indices, tuple[str, ...]]:
    """Return the domain index of every key, int32 [n], and the domains' names."""
    names = items["domain"].unique().sort().to_list()
    place = {name: i for i, name in enumerate(names)}
    ordered = pl.DataFrame({"item_key": keys}).join(
        items.select("item_key", "domain"), on="item_key", how="left", maintain_order="left"
    )
    index = [place[name] for name in ordered["domain"].to_list()]
    return np.array(index, np.int32), tuple(names)
