"""Natural batching: questions that arrive while a call is in flight ride in the next one.

So batches grow with the load, and an idle gateway adds no wait; when calls are made is
for rounds.py to say. A row keeps its own deadline; one that leaves (its shopper has
gone, its time is up) is not sent, and a call that nobody waits for any more is
cancelled.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from gateway.rounds import Round, Rounds
from gateway.types import Question, SourceAnswer

# Rows in a call that is sent ahead, at least. With fewer the hop costs more than the pause
# that it saves (docs/decisions/0017).
LEAST_AHEAD = 4


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

    __slots__ = ("_task", "_waiting", "made_in", "rows")

    def __init__(self, rows: list[Row], made_in: Round) -> None:
        self.rows = rows
        self.made_in = made_in
        self._waiting = len(rows)
        self._task: asyncio.Task[None] | None = None
        for row in rows:
            row.call = self

    def start(
        self, work: Awaitable[None], then: "Callable[[Call, asyncio.Task[None]], None]"
    ) -> None:
        """Run it; `then` hears when it has ended, however it did."""
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(lambda task: then(self, task))

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
        rounds: Rounds,
        *,
        max_rows: int,
        max_calls: int,
    ) -> None:
        """`send` asks for rows of one kind and resolves every one of them.

        At most `max_rows` ride in one call and at most `max_calls` are in flight.
        """
        self._send = send
        self._rounds = rounds
        self._max_rows = max_rows
        # May be changed as servers come and go; calls in flight are not cut for it.
        self.max_calls = max_calls
        self._waiting: deque[Row] = deque()
        self._flying: list[Call] = []
        rounds.join(self)

    def add(self, row: Row) -> None:
        """Have a row sent in the next round."""
        self._waiting.append(row)
        self._rounds.traffic.moves += 1
        self._rounds.soon()

    @property
    def ready(self) -> bool:
        """Whether rows wait, and it has a server that no call has."""
        return bool(self._waiting) and len(self._flying) < self.max_calls

    @property
    def free(self) -> bool:
        """Whether it has a server to spare; calls of rounds that are over do not count."""
        return sum(not call.made_in.over for call in self._flying) < self.max_calls

    @property
    def spare(self) -> bool:
        """Whether its servers, none of them late, may each be sent a call ahead."""
        in_time = not any(call.made_in.over for call in self._flying)
        return in_time and len(self._flying) < 2 * self.max_calls

    @property
    def complete(self) -> bool:
        """Whether the rows that wait are its part of all rankings that are being made."""
        share = self._rounds.traffic.inside // (self.max_calls + 1)
        return len(self._waiting) >= min(self._max_rows, share)

    @property
    def plenty(self) -> bool:
        """Whether so many rows wait that a call ahead is worth its hop."""
        return len(self._waiting) >= LEAST_AHEAD and self.complete

    def send(self, made_in: Round, *, ahead: bool) -> None:
        """Make all calls that may be made; `ahead`, also those that wait at a busy server."""
        most = 2 * self.max_calls if ahead and self.spare else self.max_calls
        while len(self._flying) < most and (rows := self._take()):
            call = Call(rows, made_in)
            self._flying.append(call)
            made_in.add()
            call.start(self._send(rows), self._ended)

    def _ended(self, call: Call, task: "asyncio.Task[None]") -> None:
        self._flying.remove(call)
        call.made_in.end()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # `send` resolves its rows whatever happens; this is a mistake in it

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
