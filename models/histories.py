"""Some users' histories, and the requests made from them that an artifact promises answers to."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from artifacts.engine import Scores
from artifacts.engines.told import AGE, TYPE
from artifacts.keys import Keys
from models.data.interactions import type_numbers
from plait.v1.manifest_pb2 import Sample


@dataclass(frozen=True, slots=True)
class Histories:
    """Some users' histories, to sample requests from."""

    # Oldest to newest, 0-padded, int64 [S, L].
    keys: Keys
    # float32 [S, L], 0 where padded.
    weight: Scores
    # Search texts for models that read them; empty otherwise.
    queries: tuple[str, ...] = ()
    # EventType numbers int64 [S, L] and seconds from each event to the newest of all events
    # float32 [S, L], for models that read them; None otherwise, or where events have no times.
    types: Keys | None = None
    ages: Scores | None = None


def sample_requests(keys: Keys, histories: Histories, *, newest: int = 20) -> list[Sample]:
    """Return requests without answers: retrieve, score, unknown items, no history, queries."""
    rows = [
        (h[h != 0][-newest:], w[h != 0][-newest:])
        for h, w in zip(histories.keys[:3], histories.weight[:3], strict=True)
    ]
    unknown = int(np.setdiff1d(np.arange(1, len(keys) + 2), keys)[0])
    spread = keys[:: max(1, len(keys) // 8)][:8]
    samples = [Sample(history=h, history_weight=w, k=10) for h, w in rows]
    # What a model is told beside items; without, it is asked as it may be by any caller.
    for at, sample in enumerate(_told_samples(histories, newest)):
        sample.history.extend(rows[at][0])
        sample.history_weight.extend(rows[at][1])
        samples.append(sample)
    history, weight = rows[0]
    samples += [
        Sample(history=history, history_weight=weight, candidates=[*spread, unknown]),
        Sample(history=[*history, unknown], history_weight=[*weight, 1.0], k=10),
        Sample(history=[unknown], history_weight=[1.0], k=5),
        Sample(k=5),
    ]
    for query in histories.queries[:3]:
        samples.append(Sample(query=query, k=10))
        samples.append(Sample(query=query, candidates=[*spread, unknown]))
    if histories.queries:
        query = histories.queries[0]
        samples.append(Sample(query=query, history=history, history_weight=weight, k=10))
    return samples


def _told_samples(histories: Histories, newest: int) -> Iterator[Sample]:
    """Yield the first rows' types and ages as samples that lack their history."""
    if histories.types is None and histories.ages is None:
        return
    for row, keys in enumerate(histories.keys[:3]):
        sample = Sample(k=10)
        real = keys != 0
        if histories.types is not None:
            sample.history_type.extend(histories.types[row][real][-newest:].tolist())
        if histories.ages is not None:
            sample.history_age.extend(histories.ages[row][real][-newest:].tolist())
        yield sample


def sample_histories(
    events: pl.DataFrame,
    *,
    users: int = 200,
    newest: int = 50,
    seed: int = 0,
    queries: Sequence[str] = (),
    told: Collection[str] = (),
) -> Histories:
    """Draw users and return the newest events of each, in (time, order) order.

    `events` needs user_id, item_key, time, order, and type where that is told; the draw
    depends on the seed and on who is in the data, not on the order of the rows. Dislikes are
    left out, as they are from the histories that a model is asked with.
    """
    if "type" in events.columns:
        liked = events.filter(pl.col("type") != "dislike")
        events = liked if liked.height else events
    names = events["user_id"].unique().sort()
    drawn = np.random.default_rng(seed).choice(len(names), min(users, len(names)), replace=False)
    drawn_events = events.filter(
        pl.col("user_id").is_in(names.gather(np.sort(drawn)).implode())
    ).sort("user_id", "time", "order", maintain_order=True)
    keys = _newest(drawn_events, "item_key", newest).astype(np.int64)
    types: Keys | None = None
    ages: Scores | None = None
    if TYPE in told:
        numbers = drawn_events.with_columns(number=pl.Series(type_numbers(drawn_events)))
        types = _newest(numbers, "number", newest).astype(np.int64)
    if AGE in told and events.height and events["time"].null_count() == 0:
        age = (pl.lit(events["time"].max()) - pl.col("time")).dt.total_microseconds() / 1e6
        ages = _newest(drawn_events.with_columns(age=age), "age", newest).astype(np.float32)
    return Histories(keys, (keys != 0).astype(np.float32), tuple(queries), types, ages)


def _newest(sorted_events: pl.DataFrame, column: str, newest: int) -> npt.NDArray[Any]:
    """Return each user's last values of a column, 0-padded on the left [S, L]."""
    lists = (
        sorted_events.group_by("user_id", maintain_order=True)
        .agg(pl.col(column).tail(newest))[column]
        .to_list()
    )
    kind = np.int64 if sorted_events[column].dtype.is_integer() else np.float64
    rows = np.zeros((len(lists), max(map(len, lists), default=1)), kind)
    for row, values in enumerate(lists):
        rows[row, rows.shape[1] - len(values) :] = values
    return rows
