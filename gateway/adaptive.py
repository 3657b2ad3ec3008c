"""Blend weights of some surfaces follow what shoppers do with the rankings they were shown.

A ranking's evidence (fusion/adapt.py) is remembered for as long as there is room. An event
that names the ranking moves the weights of its surface one step, once the event is
durable. Weights belong to a version of the fusion artifact: another version begins
from its own learned weights, and going back finds what had been learned there. They are
kept in the state file; a killed process loses the last seconds of learning, no more.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from artifacts.fusion import FusionArtifact
from gateway.config import GatewayConfig
from gateway.errors import StoreError
from gateway.fusion import adapt
from gateway.fusion.adapt import Bounds, Doubles, Evidence, Pace
from gateway.fusion.types import Pool, Query
from gateway.reads import AdaptedRow
from gateway.situation import Situations
from gateway.store import Store
from gateway.types import Event, EventType, Page
from services.runtime.logs import Seldom
from services.runtime.metrics import ADAPTED_WEIGHT, EVENTS_UNMATCHED, WEIGHT_UPDATES

_log = logging.getLogger(__name__)
_SAVE_SECONDS = 5.0
# What says that the shopper does not want an item, or names none.
_NO_CLICK = (EventType.DISLIKE, EventType.SEARCH)
for _reason in ("ranking", "shopper", "item", "again"):
    EVENTS_UNMATCHED.labels(_reason)


@dataclass(slots=True)
class _Shown:
    """A ranking that may be clicked."""

    surface: str
    user_id: str
    version: int
    evidence: Evidence
    places: int = 0  # shown so far
    clicked: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Adapted:
    """The weights of one surface."""

    learned: Doubles  # those of the artifact [S]
    bounds: Bounds
    strengths: Doubles  # [S]
    updates: int = 0


class AdaptiveWeights:
    """Learns from events. Belongs to the event loop."""

    def __init__(
        self,
        config: GatewayConfig,
        situations: Situations,
        store: Store,
        kept: Iterable[AdaptedRow],
    ) -> None:
        """`kept`: what the state file holds of earlier runs."""
        self._surfaces = frozenset(config.adaptive_surfaces)
        self._factor = config.adaptive_factor
        self._pace = Pace(config.adaptive_rate, config.adaptive_examination)
        self._places = config.careful_places
        self._most = config.max_rankings
        self._sources = tuple(config.addresses())
        self._situations = situations
        self._store = store
        self._kept = {(row.version, row.surface): row for row in kept}
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._adapted: dict[str, _Adapted] = {}
        self._changed: set[str] = set()
        self._unsaved: dict[tuple[int, str], AdaptedRow] = {}
        self._saver: asyncio.Task[None] | None = None
        self._seldom = Seldom()
        self.learn(situations.fusion)

    def start(self) -> None:
        """Begin to keep what is learned, unless no surface adapts."""
        if self._surfaces:
            self._saver = asyncio.create_task(self._keep_saving(), name="adapted-weights")

    async def stop(self) -> None:
        """Keep what was learned last."""
        if self._saver is not None:
            self._saver.cancel()
            await asyncio.gather(self._saver, return_exceptions=True)
            await self._save()

    def learn(self, fusion: FusionArtifact) -> None:
        """Take the artifact that serves from now on; `situations` has learned it already."""
        self._note()
        self._version = fusion.version
        for surface in sorted(self._surfaces):
            weights = self._situations.weights[surface]
            learned = np.array([weights[source] for source in self._sources], np.float64)
            total = learned.sum()
            learned = learned / total if total > 0 else np.full_like(learned, 1 / len(learned))
            bounds = adapt.bounds_of(learned, self._factor)
            self._adapted[surface] = self._begin(surface, learned, bounds)
            self._publish(surface)

    def _begin(self, surface: str, learned: Doubles, bounds: Bounds) -> _Adapted:
        row = self._kept.get((self._version, surface))
        # The same number of another repository, or other sources: nothing to go on from.
        if row is None or not _same(row.learned, self._named(learned)):
            return _Adapted(learned, bounds, adapt.begin(learned))
        strengths = np.array([row.strengths[source] for source in self._sources])
        return _Adapted(learned, bounds, adapt.bounded(strengths, bounds), row.updates)

    def evidence(self, query: Query, pool: Pool) -> Evidence | None:
        """Return what a ranking can teach; None where its surface does not adapt."""
        # Where the word search stands in for a model, its weight is nobody's.
        if query.surface not in self._surfaces or query.sources != self._sources:
            return None
        return adapt.evidence_of(query, pool, self._places)

    def shown(self, page: Page) -> None:
        """Remember what was shown of a ranking."""
        ranking = page.ranking
        if ranking.evidence is None or not len(page.places):
            return
        entry = self._shown.get(ranking.ranking_id)
        if entry is None:
            ask = ranking.ask
            entry = _Shown(ask.surface, ask.user_id, self._version, ranking.evidence)
            self._shown[ranking.ranking_id] = entry
            if len(self._shown) > self._most:
                self._shown.popitem(last=False)
        entry.places = max(entry.places, int(page.places[-1]) + 1)

    def forget(self, user_id: str) -> None:
        """Drop what a shopper was shown."""
        for ranking_id in [i for i, shown in self._shown.items() if shown.user_id == user_id]:
            del self._shown[ranking_id]

    def follow(self, events: Sequence[Event]) -> None:
        """Learn from events that name a ranking; they are durable."""
        if not self._surfaces:
            return
        moved = {self._follow(e) for e in events if e.ranking_id and e.type not in _NO_CLICK}
        for surface in moved - {""}:
            self._publish(surface)
            self._changed.add(surface)

    def _follow(self, event: Event) -> str:
        """Move the weights by one event; return their surface, "" where nothing moved."""
        entry = self._shown.get(event.ranking_id)
        if entry is None or entry.version != self._version:
            return _unmatched("ranking")
        # An anonymous ranking may be followed by whoever the shopper turned out to be.
        if entry.user_id and entry.user_id != event.user_id:
            return _unmatched("shopper")
        places = min(entry.places, len(entry.evidence.keys))
        found = np.flatnonzero(entry.evidence.keys[:places] == event.key)
        if not len(found):
            return _unmatched("item")
        place = int(found[0])
        if place in entry.clicked:
            return _unmatched("again")
        entry.clicked.add(place)
        adapted = self._adapted[entry.surface]
        adapted.strengths = adapt.step(
            adapted.strengths, adapted.bounds, entry.evidence, (place, places), self._pace
        )
        adapted.updates += 1
        WEIGHT_UPDATES.labels(entry.surface).inc()
        return entry.surface

    def _publish(self, surface: str) -> None:
        weights = self._named(adapt.weights_of(self._adapted[surface].strengths))
        self._situations.reweigh(surface, weights)
        for source, weight in weights.items():
            ADAPTED_WEIGHT.labels(surface, source).set(weight)

    def _named(self, values: Doubles) -> dict[str, float]:
        return dict(zip(self._sources, values.tolist(), strict=True))

    def _note(self) -> None:
        """Take what has changed into what is kept."""
        for surface in sorted(self._changed):
            one = self._adapted[surface]
            row = AdaptedRow(
                self._version, surface, self._named(one.learned), self._named(one.strengths),
                one.updates,
            )  # fmt: skip
            self._kept[row.version, surface] = self._unsaved[row.version, surface] = row
        self._changed.clear()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            await self._save()

    async def _save(self) -> None:
        self._note()
        if not self._unsaved:
            return
        rows, self._unsaved = self._unsaved, {}
        try:
            await self._store.put_adapted(list(rows.values()))
        except StoreError as error:
            self._unsaved = {**rows, **self._unsaved}
            if self._seldom.news(error):
                _log.warning("adapted weights were not saved", extra={"reason": str(error)})


def _unmatched(reason: str) -> str:
    EVENTS_UNMATCHED.labels(reason).inc()
    return ""


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(abs(one[s] - other[s]) < 1e-9 for s in one)
