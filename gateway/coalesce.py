"""Natural batching: questions that arrive while a call is in flight ride in the next one.

There is no timer: a source at rest is asked at once, a busy one finds its next
batch waiting, so batches grow with the load and an idle gateway adds no wait. A
row keeps its own deadline; one that leaves (its shopper has gone, its time is up)
is not sent, and a call that nobody waits for any more is cancelled.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from gateway.types import Question, SourceAnswer


class Row:
    """One shopper's question on its way to one source; `answer` is None until there is one."""

    __slots__ = ("answer", "began", "call", "deadline", "gone", "kind", "question", "tell")

    def __init__(self, question: Question, kind: Hashable, began: float, deadline: float) -> None:
        """`began` and `deadline` in time.perf_counter() seconds."""
        self.question = question
        self.kind = kind
        self.began = began
        self.deadline = deadline
        self.answer: SourceAnswer | None = None
        self.gone = False
        # Told once, when there is an answer.
        self.tell: Callable[[], None] | None = None
        self.call: Call | None = None

    def resolve(self, answer: SourceAnswer) -> None:
        """Give the answer to whoever still waits."""
        if self.gone or self.answer is not None:
            return
        self.answer = answer
        if self.tell is not None:
            self.tell()

    def leave(self) -> None:
        """Stop waiting. Without an answer by now, there will be none."""
        if self.gone or self.answer is not None:
            return
        self.gone = True
        if self.call is not None:
            self.call.left()


class Call:
    """One batch in flight."""

    __slots__ = ("_task", "_waiting", "rows")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self._waiting = len(rows)
        self._task: asyncio.Task[None] | None = None
        for row in rows:
            row.call = self

    def start(self, work: Awaitable[None], then: Callable[[asyncio.Task[None]], None]) -> None:
        """Run it; `then` hears when it has ended, however it did."""
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(then)

    def left(self) -> None:
        """Note that a row left; the last one takes the call with it."""
        self._waiting -= 1
        if self._waiting == 0 and self._task is not None:
            self._task.cancel()


class Coalescer:
    """Gathers rows into calls. One for each source; use it from one event loop."""

    def __init__(
        self, send: Callable[[list[Row]], Awaitable[None]], *, max_rows: int, max_calls: int
    ) -> None:
        """`send` asks for rows of one kind and resolves every one of them.

        At most `max_rows` ride in one call and at most `max_calls` are in flight.
        """
        self._send = send
        self._max_rows = max_rows
        # May be changed as servers come and go; calls in flight are not cut for it.
        self.max_calls = max_calls
        self._waiting: deque[Row] = deque()
        self._calls = 0
        self._due = False

    def add(self, row: Row) -> None:
        """Have a row sent as soon as a call is free."""
        self._waiting.append(row)
        if not self._due and self._calls < self.max_calls:
            self._due = True
            # Not at once: rows that arrive in the same turn of the loop join.
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._due = False
        while self._calls < self.max_calls and (rows := self._take()):
            self._calls += 1
            Call(rows).start(self._send(rows), self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._calls -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # `send` resolves its rows whatever happens; this is a mistake in it
        self._next()

    def _take(self) -> list[Row]:
        """Take the oldest row that is still there, and all of its kind that fit beside it."""
        rows: list[Row] = []
        left: deque[Row] = deque()
        for row in self._waiting:
            if row.gone:
                continue
            if len(rows) < self._max_rows and (not rows or row.kind == rows[0].kind):
                rows.append(row)
            else:
                left.append(row)
        self._waiting = left
        return rows
