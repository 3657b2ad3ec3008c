"""The baselines every model must beat: best sellers, of all time and of the last days."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from artifacts.engine import Answer, Question
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists, rank
from models.evaluate.task import Task, of_users
from models.progress import Progress, silent
from plait.v1.manifest_pb2 import Manifest

_DAY = 86_400.0


class PopularityEngine:
    """Answers every question with what sold most; speaks as an Engine does."""

    def __init__(self, events: pl.DataFrame) -> None:
        counts = (
            events.filter(pl.col("type") != "dislike")
            .group_by("item_key")
            .agg(count=pl.len())
            .sort(["count", "item_key"], descending=[True, False])
        )
        self.manifest = Manifest(source="popular", engine="popularity", version=1)
        self._keys = counts["item_key"].to_numpy().astype(np.int64)
        self._counts = counts["count"].to_numpy().astype(np.float32)

    def run(self, question: Question) -> Answer:
        """Retrieve only: the best sellers, scored by their number of events."""
        if question.k is None:
            raise ValueError("the popularity baseline answers retrieve questions only")
        rows, top = len(question.history), int(question.k.max())
        found = min(top, len(self._keys))
        keys = np.zeros((rows, top), np.int64)
        scores = np.full((rows, top), np.nan, np.float32)
        keys[:, :found] = self._keys[:found]
        scores[:, :found] = self._counts[:found]
        return Answer(scores=scores, item_keys=keys)


def recently_popular(
    known: pl.DataFrame, task: Task, depth: int, *, days: float, progress: Progress = silent
) -> Lists:
    """Return for every user what sold most in the `days` before asking.

    Where all are asked at one moment that is one list; else one a day, from what
    happened before that day. Raises ValueError where events have no times.
    """
    if not task.timed:
        raise ValueError("events have no times, so there are no last days")
    known = known.sort("time")
    time = known["time"].dt.epoch("us").to_numpy() / 1e6
    keys = np.zeros((len(task.user_ids), depth), np.int64)
    scores = np.full(keys.shape, np.nan, np.float32)
    done = 0
    for moment, users in _moments(task):
        start, stop = np.searchsorted(time, [moment - days * _DAY, moment])
        engine = PopularityEngine(known[int(start) : int(stop)])
        found = rank(engine, of_users(task, users), depth, Asking())
        keys[users], scores[users] = found.keys, found.scores
        done += len(users)
        progress(done, len(task.user_ids), f"popular in {days:g} days")
    return Lists(keys, scores)


def _moments(task: Task) -> Iterator[tuple[float, Keys]]:
    """Yield up to when what sold counts, and for which users."""
    together = len(np.unique(task.now)) == 1
    moments = task.now if together else task.now // _DAY * _DAY
    order = np.argsort(moments, kind="stable")
    distinct, first = np.unique(moments[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(order, first[1:]), strict=True)
