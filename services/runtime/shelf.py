"""What a process serves at this moment: finding it, listing it, telling health and metrics."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts import layout
from services.runtime import metrics
from services.runtime.batching import Batcher
from services.runtime.errors import NotFound, Unavailable
from services.runtime.health import Health
from services.runtime.source import Source
from services.runtime.workers.picture import Picture

# Versions that metrics still tell of when they are served no more. A process that learns
# anew every day would show more series with each.
_MOST_PAST = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the repository index."""

    name: str
    version: str
    state: str
    reason: str


class Shelf:
    """The models of one process, each in a few versions."""

    def __init__(self, source: Source, repository: Path, health: Health) -> None:
        self.source = source
        self._repository = repository
        self._health = health
        # Version -> model name -> what serves it.
        self._served: dict[int, dict[str, Batcher[Any]]] = {}
        self._default: int | None = None
        # The default if somebody chose it by number; None: the newest was wanted.
        self._chosen: int | None = None
        self._previous: int | None = None
        self._refused: dict[int, str] = {}
        self._noted: set[tuple[str, str, str]] = set()
        # Those that were served before, the latest last.
        self._past: list[int] = []

    def picture(self) -> Picture:
        """Return what is served, for others to serve the same."""
        versions = {version: tuple(batchers) for version, batchers in self._served.items()}
        return Picture(versions, self._default, self._chosen, self._previous)

    async def report(self) -> None:
        """Tell health and metrics what is served; before the first load, nothing is."""
        default = self._served.get(self._default or 0, {})
        for name in self.source.models:
            await self._health.set(name, ready=name in default)
        await self._health.set("", ready=len(default) == len(self.source.models))
        served = {
            (name, str(version), "default" if version == self._default else "beside")
            for version, batchers in self._served.items()
            for name in batchers
        }
        for labels in self._noted - served:
            metrics.forget(metrics.MODEL_INFO, *labels)
        for labels in served - self._noted:
            metrics.MODEL_INFO.labels(*labels).set(1)
        self._let_go({int(version) for _, version, _ in self._noted})
        self._noted = served

    def _let_go(self, before: set[int]) -> None:
        """Note which of the versions `before` are served no more; metrics forget the oldest."""
        gone = sorted(before - self._served.keys() - {*self._past})
        self._past = [v for v in self._past if v not in self._served] + gone
        while len(self._past) > _MOST_PAST:
            version = self._past.pop(0)
            for name in self.source.models:
                metrics.forget_version(name, str(version))

    def get(self, name: str, version: str = "") -> Batcher[Any]:
        """Return what serves a model, by default the default version and no other.

        Raises NotFound, or Unavailable where none is loaded.
        """
        versions = self.versions(name)
        if not versions:
            self.known(name)
            raise Unavailable(f"{name}: no version is loaded")
        for number in versions:
            if version == str(number) or (not version and number == self._default):
                return self._served[number][name]
        listed = ", ".join(map(str, versions))
        if not version:
            raise Unavailable(f"{name}: the default version is not loaded; there is {listed}")
        raise NotFound(f"{name}: version '{version}' is not served; there is {listed}")

    def versions(self, name: str) -> list[int]:
        """Return the versions in which a model is served: ascending, but the default last."""
        found = [v for v, batchers in self._served.items() if name in batchers]
        return sorted(found, key=lambda v: (v == self._default, v))

    def ready(self, name: str, version: str = "") -> bool:
        """Is this model, in this version, served by a process that is not draining?"""
        return self._health.ready(name) and version in {"", *map(str, self.versions(name))}

    def known(self, name: str) -> None:
        """Raise NotFound where this process has no model of that name."""
        if name not in self.source.models:
            raise NotFound(
                f"{name}: no such model; this server has {', '.join(self.source.models)}"
            )

    async def index(self) -> Sequence[Listing]:
        """List every version in the repository, for each model, with its state.

        Raises ArtifactError where the repository cannot be read.
        """
        listings = []
        found = await self._complete()
        for name in self.source.models:
            served = self.versions(name)
            for version in sorted({*found, *served}):
                ready = version in served
                reason = "" if ready else self._refused.get(version, "not loaded")
                state = "READY" if ready else "UNAVAILABLE"
                listings.append(Listing(name, str(version), state, reason))
        return listings

    async def _complete(self) -> list[int]:
        """Return the versions in the repository, ascending; raises ArtifactError.

        In a thread: a disk that does not answer stops no call.
        """
        return await asyncio.to_thread(layout.versions, self._repository, self.source.name)

    def _listed(self) -> str:
        return ", ".join(map(str, sorted(self._served)))
