"""From a finished ranking to metrics, after the reply has been made.

Label children are looked up once and kept: the look-up costs more than the
observation.
"""

from functools import lru_cache
from typing import Any

from gateway.types import Outcome, Page, Ranking
from services.runtime import metrics

# Never asked, so there is no time to speak of.
_UNTIMED = (Outcome.SKIPPED,)
# By source; each version is a label that stays for the life of the process.
_MOST_VERSIONS = 16
_versions: dict[str, set[str]] = {}


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
    for answer in ranking.answers:
        if answer.outcome not in _UNTIMED:
            version = bounded(answer.source, answer.version)
            labels = (answer.source, version, answer.outcome.value.lower())
            _child(metrics.SOURCE_SECONDS, *labels).observe(answer.seconds)
        if answer.invalid:
            _child(metrics.INVALID_SCORES, answer.source).inc(answer.invalid)
    if ranking.partial:
        _child(metrics.PARTIAL_ANSWERS, surface).inc()
    if ranking.fallback:
        _child(metrics.FALLBACKS, surface, fallback_reason(ranking)).inc()
    for reason, count in ranking.dropped_counts:
        _child(metrics.DROPPED_CANDIDATES, reason).inc(count)
    unknown = ranking.unknown_items + ranking.unknown_candidates
    if unknown:
        _child(metrics.UNKNOWN_ITEMS, "catalogue").inc(unknown)


def note_failure(surface: str, seconds: float) -> None:
    """Note a ranking that could not be made, which is a mistake in this process."""
    _child(metrics.RECOMMEND_SECONDS, surface, "error").observe(seconds)


def bounded(source: str, version: str) -> str:
    """Return a version as a label: a source that invents versions gets "other" for the rest."""
    seen = _versions.setdefault(source, set())
    if version not in seen and len(seen) >= _MOST_VERSIONS:
        return "other"
    seen.add(version)
    return version


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
