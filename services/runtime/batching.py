"""Natural batching: calls that arrive while a batch runs ride in the next one.

There is no timer. An idle model starts at once, a busy one finds its next batch
waiting, so batches grow with the load and an idle system adds no wait. One
thread computes; the event loop only moves calls. Nobody waits for nothing: a
call whose caller has gone or whose deadline has passed is dropped before it
costs inference, and a call that makes a batch fail takes no other down.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

from services.runtime import metrics
from services.runtime.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from services.runtime.model import Model, Outputs, Q

_Result: TypeAlias = Outputs | Exception


class _Call(Generic[Q]):
    __slots__ = ("answer", "arrived", "deadline", "question")

    def __init__(self, question: Q, answer: asyncio.Future[_Result], deadline: float) -> None:
        self.question = question
        # What is raised is a result as well: a future refuses to raise some (StopIteration).
        self.answer = answer
        self.deadline = deadline
        self.arrived = time.perf_counter()


class Batcher(Generic[Q]):
    """Runs one model, batch after batch, on a thread of its own.

    At most `max_rows` rows run together and at most `max_queue` calls wait.
    Use it from one event loop; `start()` before the first call.
    """

    def __init__(self, name: str, model: Model[Q], *, max_rows: int, max_queue: int) -> None:
        self.name = name
        self.model = model
        self._max_rows = max_rows
        self._max_queue = max_queue
        self._waiting: deque[_Call[Q]] = deque()
        self._busy = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._work: queue.SimpleQueue[list[_Call[Q]] | None] = queue.SimpleQueue()
        self._metrics = _Metrics(name, model.version)
        # A daemon: an engine that hangs must not keep a stopped process alive.
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; call it on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, question: Q, deadline: float = float("inf")) -> Outputs:
        """Answer a question; `deadline` is in the event loop's time.

        Raises ResourceExhausted where the queue is full, DeadlineExceeded, Unavailable
        once closed, and whatever the model raised for this question alone.
        """
        if self._closing:
            raise Unavailable(f"{self.name}: this version is being unloaded, call again")
        if len(self._waiting) >= self._max_queue and not self._drop_expired():
            raise ResourceExhausted(f"{self.name}: {self._max_queue} calls are waiting already")
        call = _Call(question, self._loop.create_future(), deadline)
        self._waiting.append(call)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Not at once: calls that arrived in the same turn of the loop join.
            self._loop.call_soon(self._next)
        result = await call.answer
        if isinstance(result, Exception):
            raise result
        return result

    async def close(self, patience: float) -> None:
        """Refuse new calls, finish those accepted, end the thread; give up after `patience` s.

        Then what still waits is refused, and the thread ends with the batch that it is at:
        one that waited for another for good would keep the model in memory.
        """
        self._closing = True
        try:
            await asyncio.wait_for(self._idle.wait(), patience)
        except TimeoutError:
            self._refuse_waiting()
            self._work.put(None)
            return
        self._work.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _refuse_waiting(self) -> None:
        for call in self._waiting:
            if not call.answer.done():
                call.answer.set_result(
                    Unavailable(f"{self.name}: this version was unloaded, call again")
                )
        self._waiting.clear()

    def _next(self) -> None:
        batch = self._take()
        if batch:
            self._work.put(batch)
        else:
            self._busy = False
            self._idle.set()

    def _take(self) -> list[_Call[Q]]:
        """Take the oldest call and all of its kind that fit beside it."""
        self._drop_expired()
        batch: list[_Call[Q]] = []
        left: deque[_Call[Q]] = deque()
        rows = 0
        for call in self._waiting:
            fits = rows + call.question.rows <= self._max_rows or not batch
            if fits and (not batch or call.question.kind == batch[0].question.kind):
                batch.append(call)
                rows += call.question.rows
            else:
                left.append(call)
        self._waiting = left
        return batch

    def _drop_expired(self) -> int:
        """Drop calls that nobody waits for any more; return how many."""
        now = self._loop.time()
        gone = [c for c in self._waiting if c.answer.done() or c.deadline <= now]
        if not gone:
            return 0
        self._metrics.expired.inc(len(gone))
        for call in gone:
            if not call.answer.done():
                call.answer.set_result(DeadlineExceeded("expired while waiting for its turn"))
        self._waiting = deque(c for c in self._waiting if not c.answer.done())
        return len(gone)

    def _deliver(self, batch: Sequence[_Call[Q]], results: Sequence[_Result]) -> None:
        """Hand out the answers (on the event loop) and start the next batch."""
        for call, result in zip(batch, results, strict=True):
            if not call.answer.done():  # cancelled while it ran
                call.answer.set_result(result)
        self._next()

    def _run(self) -> None:
        while (batch := self._work.get()) is not None:
            began = time.perf_counter()
            for call in batch:
                self._metrics.queue.observe(began - call.arrived)
            results = self._results([c.question for c in batch])
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch, results)
            except RuntimeError:  # the loop has ended, nobody waits
                return

    def _results(self, questions: Sequence[Q]) -> Sequence[_Result]:
        try:
            return self._compute(questions)
        except Exception as error:
            if len(questions) == 1:
                return [error]
        # Somebody in the batch broke it: alone, each call gets its own answer or error.
        return [result for q in questions for result in self._results([q])]

    def _compute(self, questions: Sequence[Q]) -> Sequence[Outputs]:
        """Merge, infer, split and time it."""
        self._metrics.rows.observe(sum(q.rows for q in questions))
        start = time.perf_counter()
        batch = self.model.merge(questions)
        merged = time.perf_counter()
        try:
            result = self.model.infer(batch)
        except Exception:
            self._metrics.failed.observe(time.perf_counter() - merged)
            raise
        computed = time.perf_counter()
        outputs = self.model.split(result, questions)
        if len(outputs) != len(questions):
            raise RuntimeError(f"{self.name}: {len(outputs)} answers to {len(questions)} questions")
        self._metrics.inference.observe(computed - merged)
        self._metrics.batch.observe(merged - start + time.perf_counter() - computed)
        return outputs


class _Metrics:
    """The label children of one model version, looked up once."""

    def __init__(self, source: str, version: int) -> None:
        labels = (source, str(version))
        self.queue = metrics.QUEUE_SECONDS.labels(*labels)
        self.batch = metrics.BATCH_SECONDS.labels(*labels)
        self.rows = metrics.BATCH_ROWS.labels(*labels)
        self.inference: Any = metrics.INFERENCE_SECONDS.labels(*labels, "ok")
        self.failed: Any = metrics.INFERENCE_SECONDS.labels(*labels, "error")
        self.expired = metrics.EXPIRED_CALLS.labels(source)
