"""The baseline every model must beat: the same best sellers for everyone."""

import numpy as np
import polars as pl

from artifacts.engine import Answer, Question
from plait.v1.manifest_pb2 import Manifest


class PopularityEngine:
    """Answers every question with what sold most; speaks as an Engine does."""

    def __init__(self, events: pl.DataFrame) -> None:
        counts = (
            events.filter(pl.col("type") != "dislike")
            .group_by("item_key")
            .agg(count=pl.len())
            .sort(["count", "item_key"], descending=[True, False])
        )
        self.manifest = Manifest(source="popularity", engine="popularity", version=1)
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
