"""Five services, one process each, as `bentoml serve` starts them."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

from benchmarks.job import SOURCES
from benchmarks.job.merge import merge
from benchmarks.job.models import Model

_REPOSITORY = Path(os.environ["JOB_REPOSITORY"])
# Whether requests that wait for the merge are asked as one batch, or each by itself.
_BATCHED = os.environ.get("JOB_BATCHED", "1") == "1"
_OPTIONS: dict[str, Any] = {
    "workers": 1,
    "traffic": {"timeout": 30},
    "logging": {"access": {"enabled": False}},
}


class Source:
    """One model; what waits is batched by BentoML's dispatcher."""

    source = ""

    def __init__(self) -> None:
        self._model = Model(_REPOSITORY, self.source)

    @bentoml.api(batchable=True, max_batch_size=64)
    def best(self, histories: np.ndarray) -> np.ndarray:
        """Answer int64 [B, L] with float64 [B, 2, 100]: keys (exact below 2**53) and scores."""
        keys, scores = self._model.best(histories)
        return np.stack([keys.astype(np.float64), scores.astype(np.float64)], axis=1)


def _service(name: str) -> Any:
    made = type(name.title(), (Source,), {"source": name})
    return bentoml.service(**_OPTIONS)(made)


Cf, Content, Sequence, Text = (_service(name) for name in SOURCES)


@bentoml.service(**_OPTIONS)
class Job:
    """Asks the four at once and merges; what waits here is asked as one batch."""

    cf = bentoml.depends(Cf)
    content = bentoml.depends(Content)
    sequence = bentoml.depends(Sequence)
    text = bentoml.depends(Text)

    def __init__(self) -> None:
        self._models = [m.to_async for m in (self.cf, self.content, self.sequence, self.text)]
        for model in self._models:
            # Release 1.4.39 closes its connections after 100 requests, also those in use:
            # without this a tenth of all requests fail.
            model._session_manager.max_requests = sys.maxsize

    @bentoml.api(batchable=_BATCHED, max_batch_size=64)
    async def job(self, histories: np.ndarray) -> np.ndarray:
        """Answer int64 [B, L] with float64 [B, 2, 20]: keys and scores."""
        answers = await asyncio.gather(*(m.best(histories=histories) for m in self._models))
        both = np.stack(answers, axis=1)  # [B, S, 2, k]
        merged = (merge(b[:, 0].astype(np.int64), b[:, 1].astype(np.float32)) for b in both)
        return np.array([np.stack([keys, scores]) for keys, scores in merged])
