"""Where a model service's own time goes in a call of one row, part by part.

Each part alone and warm, the least of many runs, in microseconds. `engine around its work`
is what the same lines take where they really run, around the graph and the search for the
user's items, which leave nothing of them in the caches.

python -m benchmarks.call_parts
"""

import asyncio
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from artifacts import layout
from artifacts.engines.graph import left_pad
from artifacts.engines.indexed import IndexedEngine
from benchmarks.job.publish import repository
from services.cf.server import open_models
from services.runtime import metrics, validation
from services.runtime.batching import Batcher
from services.runtime.engine_model import Asked, EngineModel
from services.runtime.model import Outputs
from services.runtime.tensors import Array, write_request, write_response

HISTORY = 20
WIDTH = 100


def main() -> int:
    """Measure and print."""
    model = open_models(layout.find(repository(0), "cf", None))["cf"]
    for name, took in parts(model).items():
        print(f"{name:<26}{took:8.1f}")
    print(f"{'thread and back':<26}{asyncio.run(hop()):8.1f}")
    return 0


def parts(model: EngineModel) -> dict[str, float]:
    """Return the microseconds of each part."""
    engine = model.engine
    if not isinstance(engine, IndexedEngine):
        raise TypeError("the benchmark's cf is a graph and a search")
    history = engine.manifest.samples[0].history[:1] * HISTORY
    keys, weight = np.array([history], np.int64), np.ones((1, HISTORY), np.float32)
    inputs: dict[str, Array] = {
        "history": keys, "history_weight": weight, "k": np.array([[WIDTH]])
    }  # fmt: skip
    request = write_request("cf", inputs, ("item_keys", "scores"))
    arrays = validation.read_request(request, model.inputs, 64)
    asked = model.read(arrays, request.parameters)
    rows = engine._index.rows(keys)
    answer = engine.run(asked.question)
    outputs = model.split(answer, [asked])[0]
    sent = {name: outputs[name] for name in ("item_keys", "scores")}
    seconds = metrics.REQUEST_SECONDS.labels("benchmark", "OK")
    return {
        "read and check tensors": least(lambda: validation.read_request(request, model.inputs, 64)),
        "make a question": least(lambda: model.read(arrays, request.parameters)),
        "item keys to rows": least(lambda: engine._index.rows(keys)),
        "pad, all known": least(lambda: left_pad(rows, weight, 0)),
        "pad, one unknown": least(lambda: left_pad(np.append(rows[:, 1:], [[0]], 1), weight, 0)),
        "engine around its work": around(engine, asked),
        "cut the answer": least(lambda: model.split(answer, [asked])),
        "write the response": least(lambda: write_response("cf", "1", "", sent)),
        "one histogram": least(lambda: seconds.observe(0.001)),
    }


def least(part: Callable[[], Any], number: int = 200, repeat: int = 15) -> float:
    """Return the least microseconds a call of many."""
    return 1e6 * min(timeit.repeat(part, number=number, repeat=repeat)) / number


def around(engine: IndexedEngine, asked: Asked, times: int = 3000) -> float:
    """Return the least microseconds that the engine takes besides its graph and its search."""
    inside = [0.0]

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            began = time.perf_counter()
            out = work(*arguments)
            inside[0] += time.perf_counter() - began
            return out

        return staticmethod(run)

    engine._session = type("Timed", (), {"run": timed(engine._session.run)})()
    engine._search = type("Timed", (), {"search": timed(engine._search.search)})()
    found = []
    for _ in range(times):
        inside[0] = 0.0
        began = time.perf_counter()
        engine.run(asked.question)
        found.append(time.perf_counter() - began - inside[0])
    return 1e6 * min(found)


class _Nothing:
    """A model that computes nothing."""

    version, inputs, outputs = 1, (), ()

    def read(self, inputs: Any, parameters: Any) -> Asked:
        raise NotImplementedError

    def merge(self, questions: Sequence[Asked]) -> int:
        return len(questions)

    def infer(self, batch: int) -> int:
        return batch

    def split(self, result: int, questions: Sequence[Asked]) -> list[Outputs]:
        del questions
        return [{} for _ in range(result)]

    def warm_up(self, rows: Sequence[int]) -> None:
        raise NotImplementedError


async def hop(calls: int = 300, repeat: int = 15) -> float:
    """Return the least microseconds through a batcher and its thread, with no model."""
    batcher = Batcher[Asked]("benchmark", _Nothing(), max_rows=64, max_queue=10)
    batcher.start()
    empty: Any = type("Question", (), {"rows": 1, "kind": "", "answers": ()})()
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        for _ in range(calls):
            await batcher.submit(empty)
        took.append((time.perf_counter() - began) / calls)
    await batcher.close(1.0)
    return 1e6 * min(took)


if __name__ == "__main__":
    sys.exit(main())
