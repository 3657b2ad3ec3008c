"""The application and what starts it.

Throughput settings (RAY_SERVE_THROUGHPUT_OPTIMIZED, HAProxy in front) come from
the environment, see benchmarks/systems/ray_serve.py.

python -m benchmarks.peers.ray_serve.app REPOSITORY PORT READY_FILE TEMPORARY
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.job import SOURCES
from benchmarks.job.merge import Keys, Scores, merge
from benchmarks.job.models import Model

_SMALL = {"num_cpus": 0.1}
# Whether requests that wait for the merge are asked as one batch, or each by itself.
_BATCHED = os.environ.get("JOB_BATCHED", "1") == "1"


@serve.deployment(max_ongoing_requests=512, ray_actor_options=_SMALL)
class Source:
    """One model; calls that wait form the next batch, without a timer."""

    def __init__(self, repository: str, source: str) -> None:
        self._model = Model(Path(repository), source)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def best(self, batches: list[Keys]) -> list[tuple[Keys, Scores]]:
        """Answer what waits, each of it histories int64 [B, L]."""
        keys, scores = self._model.best(np.concatenate(batches))
        ends = np.cumsum([len(b) for b in batches])[:-1]
        return list(zip(np.split(keys, ends), np.split(scores, ends), strict=True))


@serve.deployment(max_ongoing_requests=512, ray_actor_options=_SMALL)
class Job:
    """Asks the four at once and merges; what waits here is asked as one batch."""

    def __init__(self, *sources: Any) -> None:
        self._sources = sources

    async def __call__(self, request: Request) -> Response:
        """Take a history as raw int64, return keys and scores as raw bytes."""
        history = np.frombuffer(await request.body(), np.int64)
        keys, scores = await (self.answer(history) if _BATCHED else self._alone(history))
        return Response(keys.tobytes() + scores.tobytes())

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def answer(self, histories: list[Keys]) -> list[tuple[Keys, Scores]]:
        """Do the job for all that wait: one call to each model."""
        return await self._ask(np.stack(histories))

    async def _alone(self, history: Keys) -> tuple[Keys, Scores]:
        (answer,) = await self._ask(history[None])
        return answer

    async def _ask(self, whole: Keys) -> list[tuple[Keys, Scores]]:
        answers = await asyncio.gather(*(s.best.remote(whole) for s in self._sources))
        keys = np.stack([k for k, _ in answers], axis=1)  # [B, S, k]
        scores = np.stack([s for _, s in answers], axis=1)
        return [merge(k, s) for k, s in zip(keys, scores, strict=True)]


def main() -> None:
    """Serve until a signal."""
    repository, port, ready, temporary = sys.argv[1:]
    stop = threading.Event()
    # More "cores" than there are, so that every replica is placed; none is pinned.
    ray.init(num_cpus=8, include_dashboard=False, _temp_dir=temporary, log_to_driver=False)
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray's own handlers
        signal.signal(number, lambda *_: stop.set())
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    sources = [Source.options(name=name).bind(repository, name) for name in SOURCES]  # type: ignore[attr-defined]
    serve.run(Job.bind(*sources), name="job", route_prefix="/")  # type: ignore[attr-defined]
    Path(ready).touch()
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
