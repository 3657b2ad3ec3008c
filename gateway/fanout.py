"""Asking every source at once, within one deadline.

gRPC for Python does not pass a caller's deadline on, so it is computed here:
what the client leaves, at most the server's maximum, less what merging needs.
"""

import asyncio
from collections.abc import Mapping, Sequence

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


async def fan_out(
    sources: Sequence[Source], questions: Mapping[str, Question], until: float
) -> dict[str, SourceAnswer]:
    """Ask each source its question, all at the same time; source name -> answer.

    Returns when the last has answered, failed or run out of time. A source
    without a question is not asked.
    """
    asked = [source for source in sources if source.name in questions]
    answers = await asyncio.gather(*(s.ask(questions[s.name], until) for s in asked))
    return {answer.source: answer for answer in answers}
