"""Natural batching: questions that arrive while a call is in flight ride in the next one.

There is no timer: a source at rest is asked at once, a busy one finds its next
batch waiting, so batches grow with the load and an idle gateway adds no wait. While
the gateway itself is what holds shoppers up, a call also waits until half of those
inside can ride in it: two halves that take turns, one asked about and one merged,
use the machine better than many small calls. (A source with more servers has more
calls in flight, and each a smaller part.) A row keeps its own deadline; one that
leaves (its shopper has gone, its time is up) is not sent, and a call that nobody
waits for any more is cancelled.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from gateway.types import Question, SourceAnswer

# A row waits at most this many turns of the loop for others, and no longer than so
# many of them have brought nothing: one step of a request may take some turns.
_MOST_TURNS = 200
_QUIET_TURNS = 4


class Traffic:
    """What goes on in the gateway, for all sources together."""

    __slots__ = ("came", "inside", "moves")

    def __init__(self) -> None:
        # Calls of any kind that have come in, whatever became of them.
        self.came = 0
        # Rankings being made.
        self.inside = 0
        # Grows with everything that happens to one of them.
        self.moves = 0

    def arrive(self) -> None:
        """Note that a call has come in."""
        self.came += 1

    def enter(self) -> None:
        """Note that a ranking is begun."""
        self.inside += 1
        self.moves += 1

    def leave(self) -> None:
        """Note that a ranking is done."""
        self.inside -= 1
        self.moves += 1


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
        self,
        send: Callable[[list[Row]], Awaitable[None]],
        traffic: Traffic,
        *,
        max_rows: int,
        max_calls: int,
    ) -> None:
        """`send` asks for rows of one kind and resolves every one of them.

        At most `max_rows` ride in one call and at most `max_calls` are in flight.
        """
        self._send = send
        self._traffic = traffic
        self._max_rows = max_rows
        # May be changed as servers come and go; calls in flight are not cut for it.
        self.max_calls = max_calls
        self._waiting: deque[Row] = deque()
        self._calls = 0
        self._due = False

    def add(self, row: Row) -> None:
        """Have a row sent as soon as a call is free."""
        self._waiting.append(row)
        self._traffic.moves += 1
        self._soon()

    def _soon(self) -> None:
        if not self._due and self._waiting and self._calls < self.max_calls:
            self._due = True
            asyncio.get_running_loop().call_soon(self._settle, self._traffic.moves, 0, _MOST_TURNS)

    def _settle(self, before: int, quiet: int, turns: int) -> None:
        """Send, unless the loop is at work for shoppers who may still join.

        A loop with nothing to do makes no moves: then nobody else is near, and the rows
        go at once.
        """
        enough = min(self._max_rows, self._traffic.inside // (self.max_calls + 1))
        moves = self._traffic.moves
        quiet = quiet + 1 if moves == before else 0
        if len(self._waiting) < enough and quiet < _QUIET_TURNS and turns:
            asyncio.get_running_loop().call_soon(self._settle, moves, quiet, turns - 1)
            return
        self._due = False
        self._next()

    def _next(self) -> None:
        while self._calls < self.max_calls and (rows := self._take()):
            self._calls += 1
            Call(rows).start(self._send(rows), self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._calls -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # `send` resolves its rows whatever happens; this is a mistake in it
        self._soon()

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
