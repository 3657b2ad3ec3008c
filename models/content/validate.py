"""Measuring a content model as it would be served, before there are files."""

from typing import Any

import numpy as np
import torch

from artifacts.engine import Answer, Question
from artifacts.engines.graph import left_pad
from artifacts.keys import KeyIndex, Keys
from models.content.model import Content, Served
from models.validation import Holdout, measure, tasks
from plait.v1.manifest_pb2 import Manifest


class TorchEngine:
    """Answers retrieve questions by the model in torch."""

    def __init__(self, model: Content, vectors: torch.Tensor, keys: Keys, newest: int) -> None:
        """vectors [n, d] of the items keys [n]; `newest` events of a history count."""
        self.manifest = Manifest(source="content")
        self._served = Served(model, vectors).eval()
        self._index = KeyIndex(keys)
        self._newest = newest

    def run(self, question: Question) -> Answer:
        """Answer a batch whose rows all want as many items."""
        rows, weight = left_pad(
            self._index.rows(question.history), question.history_weight, self._newest
        )
        wanted = int(question.k.max()) if question.k is not None else 1
        k = min(wanted, len(self._index))
        none = torch.zeros((len(rows), 1), dtype=torch.int64)
        with torch.no_grad():
            _, users = self._served(torch.from_numpy(rows), torch.from_numpy(weight), none)
            scores, best = torch.topk(users @ self._served.vectors.t(), k, dim=1)
        silent = ~(rows != 0).any(axis=1, keepdims=True)
        keys = np.where(silent, 0, self._index.keys_by_row[best.numpy() + 1])
        return Answer(scores=np.where(silent, np.float32(np.nan), scores.numpy()), item_keys=keys)


def measured(
    model: Content, vectors: torch.Tensor, keys: Keys, held: Holdout, config: Any
) -> dict[str, float]:
    """Return the metrics of models.validation on what was held out; {} if nothing was."""
    if not held.wanted.height or not held.known.height:
        return {}
    engine = TorchEngine(model, vectors, keys, config.max_history)
    both = tasks(held, users=config.validation_users, seed=config.seed)
    return measure(engine, both, len(keys))
