"""The ways to fuse that are rows of a table. A new one is one entry of WAYS.

The one idea: a way is a change to the fusion artifact, run by the stages that
serve. So every way is asked with the same candidates and differs from another in
nothing but what its name says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from artifacts.formulas import Floats
from artifacts.fusion import CONVEX, FusionArtifact, FusionSettings
from cli.evaluation.plan import CROSSING
from cli.evaluation.variety import relevant
from cli.offline import OfflineFusion
from models.evaluate.task import Task
from models.fusion.catalogue import MarketTrends, make_catalogue

Trends = Callable[[str, float], Floats | None]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fuse."""

    name: str
    row: str  # the name in --models that asks for it
    note: str
    change: Callable[[FusionSettings], FusionSettings]
    varied: bool = False  # with the variety of the settings, else most relevant first
    # Says by the settings of the surface whether it differs from the others at all.
    differs: Callable[[FusionSettings], bool] = lambda _: True


def _without(**settings: Any) -> Callable[[FusionSettings], FusionSettings]:
    return lambda own: replace(own, **settings)


_NO_TERMS = _without(
    ranker=CONVEX, w_trend=0.0, w_cross_domain=0.0, w_session=0.0, w_cost=0.0, w_cost_personal=0.0
)

WAYS = (
    Way("convex", "convex", "tuned weights alone, no other term", _NO_TERMS),
    Way("fused", "fused", "all terms, most relevant first", lambda own: own),
    Way(
        "fused, as served", "fused", "with the variety that is served",
        lambda own: own, True, lambda own: relevant(own) != own,
    ),
    Way(
        "fused, no ranker", "fused", "tuned weights and terms in the learned ranker's place",
        _without(ranker=CONVEX), False, lambda own: own.ranker != CONVEX,
    ),
    Way(
        "fused, no cross-domain", "fused", "without the cross-domain term",
        _without(w_cross_domain=0.0), False,
        lambda own: own.w_cross_domain > 0 and own.ranker == CONVEX,
    ),
    Way(
        "fused, no trends", "fused", "without the trend term",
        _without(w_trend=0.0), False, lambda own: own.w_trend > 0 and own.ranker == CONVEX,
    ),
    *(
        Way(f"cross-domain {weight:g}", "crossing", "with this weight of the cross-domain term",
            _without(ranker=CONVEX, w_cross_domain=weight))
        for weight in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ),
)  # fmt: skip


def ways(
    artifact: FusionArtifact, rows: tuple[str, ...], surface: str, *, timed: bool
) -> list[Way]:
    """Return the ways that `rows` ask for and that differ with this artifact."""
    own = artifact.settings_for(surface)
    if not timed:
        own = replace(own, w_trend=0.0)
    if not crosses(artifact):
        own = replace(own, w_cross_domain=0.0)
        rows = tuple(row for row in rows if row != CROSSING)
    if surface == "SEARCH":
        own = relevant(own)  # answers to a query are not varied
    return [way for way in WAYS if way.row in rows and way.differs(own)]


def crosses(artifact: FusionArtifact) -> bool:
    """Say whether there is another domain, without which every weight of that term is the same."""
    return len(artifact.domain_names) > 1


def offline(
    artifact: FusionArtifact,
    way: Way,
    items: pl.DataFrame,
    *,
    sources: tuple[str, ...],
    trends: Trends,
    surface: str,
) -> OfflineFusion:
    """Return the fusion that serves, changed in one way."""
    settings = way.change(artifact.settings_for(surface))
    if not way.varied:
        settings = relevant(settings)
    changed = replace(artifact, settings=settings, surface_settings={})
    return OfflineFusion(changed, items, trends, sources=sources, surface=surface)


def trends_of(
    artifact: FusionArtifact, task: Task, items: pl.DataFrame, known: pl.DataFrame
) -> Trends:
    """Return the markets' trends at the time of asking; never from what came after."""
    if not task.timed:
        return lambda _market, _now: None
    catalogue = make_catalogue(items, artifact.vectors)
    return MarketTrends(catalogue, known, artifact.settings.trend_half_life_days)
