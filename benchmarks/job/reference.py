"""The job in one process, without a server: the expected answers, and the floor.

Nothing that serves these models can cost less than running them here: no network,
no other process, batches as large as one likes.

python -m benchmarks.job.reference --repository DIR   prints the cost at batch 1, 16 and 64
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.job import SOURCES
from benchmarks.job.merge import Keys, Scores, merge
from benchmarks.job.models import Model
from benchmarks.job.world import world

BATCHES = (1, 16, 64)


class Reference:
    """The four models and the merge."""

    def __init__(self, repository: Path) -> None:
        self._models = [Model(repository, source) for source in SOURCES]

    def answer(self, histories: Keys) -> list[tuple[Keys, Scores]]:
        """Return the top 20 of each history [B, L]: item keys and scores, best first."""
        found = [model.best(histories) for model in self._models]
        keys = np.stack([keys for keys, _ in found], axis=1)  # [B, S, k]
        scores = np.stack([scores for _, scores in found], axis=1)
        return [merge(k, s) for k, s in zip(keys, scores, strict=True)]


def cost(reference: Reference, histories: Keys, batch: int, seconds: float) -> dict[str, float]:
    """Return milliseconds (wall and CPU) a request, asked `batch` at a time."""
    reference.answer(histories[:batch])
    cuts = range(0, len(histories) - batch + 1, batch)
    done, cpu, began = 0, time.process_time(), time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        at = cuts[done // batch % len(cuts)]
        reference.answer(histories[at : at + batch])
        done += batch
    spent = time.process_time() - cpu
    return {"wall_ms_per_request": 1000 * took / done, "cpu_ms_per_request": 1000 * spent / done}


def main() -> None:
    """Run as `python -m benchmarks.job.reference`; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    reference = Reference(arguments.repository)
    histories = world(arguments.seed).histories(512)
    costs = {str(b): cost(reference, histories, b, arguments.seconds) for b in BATCHES}
    json.dump(costs, sys.stdout)


if __name__ == "__main__":
    main()
