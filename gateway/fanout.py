"""Asking every source at once, within one deadline.

gRPC for Python does not pass a caller's deadline on, so it is computed here:
what the client leaves, at most the server's maximum, less what merging needs.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

from gateway.coalesce import Row
from gateway.sources import Source
from gateway.types import Question, SourceAnswer

# gRPC reports "no deadline" as a time in the far future.
_NO_DEADLINE_SECONDS = 3600.0


def deadline(remaining: float | None, now: float, *, most_ms: int, reserve_ms: int) -> float:
    """Return when sources must have answered, on the clock that says `now`, in seconds.

    `remaining` is what the client leaves; None or absurdly much means that it set
    no deadline.
    """
    allowed = most_ms / 1000
    if remaining is not None and remaining < _NO_DEADLINE_SECONDS:
        allowed = min(allowed, remaining)
    return now + allowed - reserve_ms / 1000


def expiry(remaining: float | None, now: float) -> float:
    """Return when nobody waits for an answer any more, on the same clock; inf for never."""
    return math.inf if remaining is None else now + remaining


async def fan_out(
    sources: Sequence[Source], questions: Mapping[str, Question], until: float
) -> dict[str, SourceAnswer]:
    """Ask each source its question, all at the same time; source name -> answer.

    Returns when the last has answered or failed, or at `until`
    (time.perf_counter()): those that have not answered by then are late. A source
    without a question is not asked.
    """
    rows = [(s, s.ask(questions[s.name], until)) for s in sources if s.name in questions]
    open_rows = [row for _, row in rows if row.answer is None]
    try:
        if open_rows:
            await _answered(open_rows, until)
        return {s.name: row.answer or s.late(row) for s, row in rows}
    finally:
        for row in open_rows:
            row.leave()


async def _answered(rows: Sequence[Row], until: float) -> None:
    """Wait until all rows are answered or the time is up.

    One future and one timer for all of them: this is on the path of every request.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = len(rows)

    def told() -> None:
        nonlocal left
        left -= 1
        if left == 0 and not done.done():
            done.set_result(None)

    def over() -> None:
        if not done.done():
            done.set_result(None)

    for row in rows:
        row.tell = told
    timer = loop.call_later(until - time.perf_counter(), over)
    try:
        await done
    finally:
        timer.cancel()
