"""From a finished ranking to metrics, after the reply has been made.

Label children are looked up once and kept: the look-up costs more than the
observation.
"""

import contextlib
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from gateway.config import SURFACES
from gateway.types import Outcome, Page, Ranking, SourceAnswer
from services.runtime import metrics

# Never asked, so there is no time to speak of.
_UNTIMED = (Outcome.SKIPPED,)
# Versions that are labels at a time, by source, and the seconds after which one that answers
# no more makes room for the next.
_MOST_VERSIONS, _UNUSED = 16, 3600.0
# Source -> version -> when it answered last.
_versions: dict[str, dict[str, float]] = {}
for _surface in SURFACES:
    metrics.UNREAD_HISTORIES.labels(_surface)  # from 0, so that the first is seen as one


@lru_cache(maxsize=1024)
def _child(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


def note_page(page: Page, reply_seconds: float, *, first: bool) -> None:
    """Note one page that was answered; the ranking's own numbers with its first page only."""
    _child(metrics.STAGE_SECONDS, "reply").observe(reply_seconds)
    if first:
        note_ranking(page.ranking)


def note_ranking(ranking: Ranking) -> None:
    """Note how a ranking came about."""
    surface = ranking.ask.surface
    _child(metrics.RECOMMEND_SECONDS, surface, outcome(ranking)).observe(ranking.timings.total)
    if ranking.again:
        return  # the rest happened once, for the request it was made for
    _child(metrics.MERGE_SECONDS, surface).observe(ranking.timings.merge)
    for stage, seconds in ranking.timings.stages:
        _child(metrics.STAGE_SECONDS, stage).observe(seconds)
    _note_answers(ranking.answers)
    if ranking.partial:
        _child(metrics.PARTIAL_ANSWERS, surface).inc()
    if ranking.fallback:
        _child(metrics.FALLBACKS, surface, fallback_reason(ranking)).inc()
    if ranking.unread:
        _child(metrics.UNREAD_HISTORIES, surface).inc()
    for reason, count in ranking.dropped_counts:
        _child(metrics.DROPPED_CANDIDATES, reason).inc(count)
    unknown = ranking.unknown_items + ranking.unknown_candidates
    if unknown:
        _child(metrics.UNKNOWN_ITEMS, "catalogue").inc(unknown)


def _note_answers(answers: Iterable[SourceAnswer]) -> None:
    for answer in answers:
        if answer.outcome not in _UNTIMED:
            version = bounded(answer.source, answer.version)
            labels = (answer.source, version, answer.outcome.value.lower())
            _child(metrics.SOURCE_SECONDS, *labels).observe(answer.seconds)
        if answer.invalid:
            _child(metrics.INVALID_SCORES, answer.source).inc(answer.invalid)


def note_failure(surface: str, seconds: float) -> None:
    """Note a ranking that could not be made, which is a mistake in this process."""
    _child(metrics.RECOMMEND_SECONDS, surface, "error").observe(seconds)


def bounded(source: str, version: str, now: float | None = None) -> str:
    """Return a version as a label: a source that invents versions gets "other" for the rest.

    `now` in seconds.
    """
    now = time.monotonic() if now is None else now
    seen = _versions.setdefault(source, {})
    if version not in seen and len(seen) >= _MOST_VERSIONS:
        oldest = min(seen, key=seen.__getitem__)
        if now - seen[oldest] < _UNUSED:
            return "other"
        del seen[oldest]
        _forget(source, oldest)
    seen[version] = now
    return version


def _forget(source: str, version: str) -> None:
    """Show a version's times no longer."""
    _child.cache_clear()  # what it holds of them would count where nobody looks
    for one in Outcome:
        with contextlib.suppress(KeyError):  # it never ended like that
            metrics.SOURCE_SECONDS.remove(source, version, one.value.lower())


def outcome(ranking: Ranking) -> str:
    """Return ok, partial or fallback."""
    if ranking.fallback:
        return "fallback"
    return "partial" if ranking.partial else "ok"


def fallback_reason(ranking: Ranking) -> str:
    """Return why trends alone made a ranking: nothing to ask about, no answer, or empty answers."""
    if not ranking.asked:
        return "nothing_to_ask"
    return "no_candidates" if ranking.answered else "no_source"
