"""The version of the gateway's own artifact, and changing it while requests are answered.

A version is verified and brought into the catalogue's rows in a thread; then, in
one turn of the event loop, everything that has learned from the old one learns
from the new. A request keeps what it began with. A version that is refused
changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from artifacts import layout
from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from artifacts.fusion import SOURCE, FusionArtifact, load_fusion
from gateway.adaptive import AdaptiveWeights
from gateway.errors import StoreError
from gateway.fusion.types import Ints
from gateway.learned import Learned, learn
from gateway.loading import State
from gateway.quantiles import Quantiles
from gateway.rollouts.record import Record, RecordKeeper
from gateway.situation import Situations
from services.runtime.errors import FailedPrecondition, NotFound
from services.runtime.metrics import MODEL_INFO

_log = logging.getLogger(__name__)
Keep: TypeAlias = Callable[[Record, Callable[[], None]], Awaitable[None]]


def first_fusion(repository: Path, pinned: int | None, last: int | None) -> FusionArtifact:
    """Load the pinned version; without one the last that was chosen, or the newest usable.

    Raises ArtifactError where the pinned version, or every version, is refused.
    """
    if pinned is not None:
        return _read(repository, pinned)
    candidates: list[int | None] = [*layout.versions(repository, SOURCE)[::-1]]
    candidates.sort(key=lambda version: version != last)
    for version in candidates[:-1]:
        try:
            return _read(repository, version)
        except ArtifactError as error:
            _log.error("refused", extra={"version": version, "reason": str(error)})
    return _read(repository, candidates[-1] if candidates else None)


def _read(repository: Path, version: int | None) -> FusionArtifact:
    """Load a version, the newest if none is named; raises ArtifactError."""
    directory = layout.find(repository, SOURCE, version)
    found = load_fusion(directory)
    if str(found.version) != directory.name:
        # It would be served, and kept for the next start, under the number of another.
        raise ArtifactCorrupt(
            f"{directory / layout.MANIFEST}: says version {found.version}; versions are "
            "immutable, give the directory its own name back"
        )
    return found


@dataclass(frozen=True, slots=True)
class Learners:
    """Everything that learns from the fusion artifact."""

    state: State
    situations: Situations
    quantiles: Quantiles
    adaptive: AdaptiveWeights
    # Brings the gauges of the catalogue up to date: what was new may be known now.
    count: Callable[[], None]

    async def new_again(self, learned: Learned) -> Ints:
        """Return the items, by key, that were new before the models knew them and will be again.

        As at a start, the latest last. Without any where the file cannot be read: going back
        from a bad version is not to wait for that.
        """
        catalogue = self.state.catalogue
        keys = catalogue.columns.keys
        unknown = keys[learned.trained.rows(keys) < 0]
        known_now = unknown[~catalogue.are_new(unknown)]
        if not len(known_now):
            return known_now
        try:
            return await self.state.store.stored_keys(known_now)
        except StoreError as error:
            why = "items that are new again are not found by models until the next start"
            _log.error(why, extra={"reason": str(error)})
            return known_now[:0]

    def learn(self, learned: Learned, again: Ints, now_ms: int) -> None:
        """Take another artifact, all at once; `again`: the items that it makes new again."""
        fusion, catalogue = learned.fusion, self.state.catalogue
        catalogue.learn(learned)
        self.state.new_items.keep(catalogue.are_new)
        rows = catalogue.rows(again)
        self.state.new_items.put_back([catalogue.item(row) for row in rows[rows >= 0].tolist()])
        self.state.trends.set_half_life(fusion.settings.trend_half_life_days, now_ms)
        self.situations.learn(fusion)
        self.quantiles.learn(fusion)
        self.adaptive.learn(fusion)
        self.count()


class FusionVersions:
    """Which version serves. Belongs to the event loop."""

    def __init__(
        self, repository: Path, keeper: RecordKeeper, learners: Learners, version: int
    ) -> None:
        """`version` serves now."""
        self._repository = repository
        self._keeper = keeper
        self._learners = learners
        self.version = version
        MODEL_INFO.labels(SOURCE, str(version), "default").set(1)

    @property
    def previous(self) -> int | None:
        """What served before; None: nothing to go back to."""
        return self._keeper.record.fusion_before

    async def load(self, version: int | None) -> int:
        """Serve a version, the newest if none is named; return which.

        Raises NotFound, FailedPrecondition for one that is refused, Unavailable where
        the change cannot be kept; what served before then still does.
        """
        async with self._keeper.changing:
            return await self._change(version, self.version)

    async def roll_back(self) -> int:
        """Serve what served before; raises FailedPrecondition where nothing did."""
        async with self._keeper.changing:
            if self.previous is None:
                raise FailedPrecondition("fusion: no version served before; name the one to serve")
            return await self._change(self.previous, None)

    async def adopt(self, version: int | None, previous: int | None) -> None:
        """Serve what another gateway told of; raises as `load` does.

        Hold the record's `changing` meanwhile.
        """
        if version is None or version == self.version:
            record = replace(self._keeper.record, fusion=version, fusion_before=previous)
            await self._keeper.adopt(record, lambda: None)
        else:
            await self._change(version, previous, self._keeper.adopt)

    async def _change(
        self, version: int | None, previous: int | None, keep: Keep | None = None
    ) -> int:
        keep = keep or self._keeper.keep
        catalogue = self._learners.state.catalogue
        keys, capacity = catalogue.columns.keys, catalogue.capacity
        try:
            fusion = await asyncio.to_thread(_read, self._repository, version)
        except ArtifactMissing as error:
            raise NotFound(str(error)) from None
        except ArtifactError as error:
            _log.error("refused", extra={"reason": str(error)})
            raise FailedPrecondition(str(error)) from None
        if fusion.version == self.version:
            if version is not None:
                # It serves as the newest, maybe: who names it wants it after a restart too.
                named = replace(self._keeper.record, fusion=version)
                await keep(named, lambda: None)
            return self.version
        learned = await asyncio.to_thread(learn, fusion, keys, capacity)
        again = await self._learners.new_again(learned)
        record = replace(self._keeper.record, fusion=fusion.version, fusion_before=previous)
        await keep(record, lambda: self._take(learned, again, len(fusion.item_keys)))
        return fusion.version

    def _take(self, learned: Learned, again: Ints, items: int) -> None:
        """Serve a version from now on."""
        self._learners.learn(learned, again, int(time.time() * 1000))
        MODEL_INFO.remove(SOURCE, str(self.version), "default")
        self.version = learned.fusion.version
        MODEL_INFO.labels(SOURCE, str(self.version), "default").set(1)
        _log.info("fusion loaded", extra={"version": self.version, "items": items})
