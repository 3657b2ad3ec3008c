"""Asking with a version in mind: who cannot have theirs gets the default version's answer.

A version that is not served any more, fails or is too busy costs its shoppers one
question more and nothing else; for a moment after that it is not asked at all, so
that a version that is gone does not cost every request the same detour.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from gateway.fanout import fan_out
from gateway.sources import Source
from gateway.types import Outcome, Question, SourceAnswer
from services.runtime.metrics import CANARY_FALLBACKS

# A late answer leaves no time for another question; the rest does.
_FELL_SHORT = (Outcome.ERROR, Outcome.SHED, Outcome.OPEN)
_REST_SECONDS = 1.0


class VersionedFanOut:
    """Asks sources, each for the version that a shopper is to be answered by."""

    def __init__(
        self,
        versions_for: Callable[[str], Mapping[str, str]],
        look_again: Callable[[str], None],
    ) -> None:
        """`versions_for` a shopper by source; `look_again` where a version was not to be had."""
        self._versions_for = versions_for
        self._look_again = look_again
        self._resting: dict[tuple[str, str], float] = {}

    async def ask(
        self,
        sources: Sequence[Source],
        questions: Mapping[str, Question],
        until: float,
        user_id: str,
    ) -> dict[str, SourceAnswer]:
        """As `fan_out`, each source for the shopper's version; rather another than no answer."""
        versions = self._versions_for(user_id)
        wishes = {
            n: questions[n]._replace(version=v) for n, v in versions.items() if n in questions
        }
        if not wishes:
            return await fan_out(sources, questions, until)
        plain = {name: q for name, q in questions.items() if name not in wishes}
        parts = await asyncio.gather(
            fan_out(sources, plain, until), self._wish(sources, wishes, until)
        )
        answers = parts[0] | parts[1]
        return {s.name: answers[s.name] for s in sources if s.name in answers}

    async def _wish(
        self, sources: Sequence[Source], wishes: Mapping[str, Question], until: float
    ) -> dict[str, SourceAnswer]:
        now = time.monotonic()
        able = {n: q for n, q in wishes.items() if self._resting.get((n, q.version), 0.0) <= now}
        answers = await fan_out(sources, able, until) if able else {}
        for name, answer in answers.items():
            if answer.outcome in _FELL_SHORT:
                self._resting[name, wishes[name].version] = now + _REST_SECONDS
                self._look_again(name)
            elif answer.outcome is Outcome.LATE:  # and it is this version that was
                answers[name] = answer._replace(version=wishes[name].version)
        short = {n: q for n, q in wishes.items() if _fell_short(answers.get(n))}
        if short:
            for name, question in short.items():
                CANARY_FALLBACKS.labels(name, question.version).inc()
            instead = {name: q._replace(version="") for name, q in short.items()}
            answers |= await fan_out(sources, instead, until)
        return {n: a._replace(wanted=wishes[n].version) for n, a in answers.items()}


def _fell_short(answer: SourceAnswer | None) -> bool:
    return answer is None or answer.outcome in _FELL_SHORT
