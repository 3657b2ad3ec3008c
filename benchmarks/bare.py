"""What the four models cost without Plait around them: one process, no network, no merging.

The same artifacts through the same engines as in the services, one thread, the
same histories and number of candidates as the gateway asks for. The difference
to the serving figures is the price of being five processes.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from artifacts.engine import Engine, Question
from artifacts.layout import find
from artifacts.loader import load

SOURCES = ("cf", "content", "sequence", "text")


def question(histories: list[list[int]], k: int) -> Question:
    """Return one batch of "your best k" for some households, as on HOME."""
    longest = max(len(h) for h in histories)
    keys = np.zeros((len(histories), longest), np.int64)
    for row, history in enumerate(histories):
        keys[row, longest - len(history) :] = history
    return Question(
        history=keys,
        history_weight=(keys > 0).astype(np.float32),
        k=np.full(len(histories), k, np.int64),
    )


def cost(engine: Engine, questions: list[Question], seconds: float) -> dict[str, float]:
    """Return milliseconds (wall and CPU) per row, over as many batches as fit the time."""
    for asked in questions[:3]:
        engine.run(asked)
    rows, at = 0, 0
    cpu, began = time.process_time(), time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        asked = questions[at % len(questions)]
        engine.run(asked)
        rows += len(asked.history)
        at += 1
    return {
        "wall_ms_per_row": 1000 * took / rows,
        "cpu_ms_per_row": 1000 * (time.process_time() - cpu) / rows,
    }


def main() -> None:
    """Run as `python -m benchmarks.bare`; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--histories", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--k", type=int, default=200)
    arguments = parser.parse_args()
    histories: list[list[int]] = json.loads(arguments.histories.read_text())
    found: dict[str, dict[str, dict[str, float]]] = {}
    for source in SOURCES:
        engine = load(find(arguments.repository, source))
        found[source] = {}
        for batch in (1, 16):
            cuts = range(0, len(histories) - batch + 1, batch)
            questions = [question(histories[c : c + batch], arguments.k) for c in cuts]
            found[source][str(batch)] = cost(engine, questions, arguments.seconds)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
