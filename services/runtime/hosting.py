"""Which models a process serves, in which version, and how that changes while it runs.

A process serves one source: one artifact directory, from which come one or more
named models (`content`, `content-items`). They change together, so that vectors
and scores always belong to the same version. A new version is loaded beside the
old one, proven and warmed up, and only then takes over; one that fails is
refused and the old one keeps serving. Calls under way finish where they began.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts import layout
from artifacts.errors import ArtifactCorrupt, ArtifactError
from services.runtime import metrics
from services.runtime.batching import Batcher
from services.runtime.errors import NotFound, Unavailable
from services.runtime.health import Health
from services.runtime.model import Model

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """What a service serves and how it is made."""

    # The artifact's source: "cf", "content", ...
    name: str
    # Names of the models that come from one artifact; the first is usually `name`.
    models: tuple[str, ...]
    # Opens a version's directory; returns a model for each name. Raises ArtifactError.
    open: Callable[[Path], Mapping[str, Model[Any]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every model's batcher."""

    # Rows computed together, and rows one call may bring.
    max_batch_rows: int = 64
    # Calls waiting; beyond it they are refused.
    max_queue: int = 256
    # Seconds an outgoing version gets to finish its calls.
    grace_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the repository index."""

    name: str
    version: str
    state: str
    reason: str


class Host:
    """The models of one process. All methods belong to the event loop."""

    def __init__(self, source: Source, repository: Path, limits: Limits, health: Health) -> None:
        self.source = source
        self.limits = limits
        self._repository = repository
        self._health = health
        self._served: dict[str, Batcher[Any]] = {}
        self._refused: dict[int, str] = {}
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def load(self, version: int | None = None) -> int:
        """Serve a version, the newest if none is named; return which.

        Raises ArtifactError; whatever was served before is then still served.
        """
        async with self._changing:
            directory = layout.find(self._repository, self.source.name, version)
            number = int(directory.name)
            if all(self._version(name) == number for name in self.source.models):
                return number
            start = time.perf_counter()
            try:
                models = await asyncio.to_thread(self._open, directory)
            except ArtifactError as error:
                self._refused[number] = str(error)
                _log.error("refused", extra={"version": number, "reason": str(error)})
                raise
            self._refused.pop(number, None)
            await self._swap(models)
            self._note_load(number, time.perf_counter() - start)
            return number

    def _open(self, directory: Path) -> Mapping[str, Model[Any]]:
        """Load, prove and warm up; in a thread, beside the version that serves."""
        most = self.limits.max_batch_rows
        try:
            models = self.source.open(directory)
            for model in models.values():
                model.warm_up(sorted({1, min(8, most), most}))
        except ArtifactError:
            raise
        except Exception as error:  # files of another release fail in the libraries that read them
            _log.exception("a version fails to load")
            raise ArtifactCorrupt(
                f"{directory}: cannot be used ({type(error).__name__}: {error}); "
                "train the version anew with this release"
            ) from None
        return models

    async def _swap(self, models: Mapping[str, Model[Any]]) -> None:
        fresh = {name: self._batcher(name, model) for name, model in models.items()}
        old = [self._served[name] for name in fresh if name in self._served]
        self._served.update(fresh)
        for batcher in old:
            self._retire(batcher)
        for name, batcher in fresh.items():
            metrics.MODEL_INFO.labels(name, str(batcher.model.version)).set(1)
        await self.report()

    def _batcher(self, name: str, model: Model[Any]) -> Batcher[Any]:
        batcher = Batcher(
            name, model, max_rows=self.limits.max_batch_rows, max_queue=self.limits.max_queue
        )
        batcher.start()
        return batcher

    def _retire(self, batcher: Batcher[Any]) -> None:
        """Let a version finish its calls in the background."""
        metrics.MODEL_INFO.remove(batcher.name, str(batcher.model.version))
        task = asyncio.create_task(batcher.close(self.limits.grace_seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _note_load(self, version: int, seconds: float) -> None:
        for name in self.source.models:
            metrics.MODEL_LOAD_SECONDS.labels(name, str(version)).set(seconds)
        _log.info("loaded", extra={"version": version, "seconds": round(seconds, 3)})

    async def unload(self, name: str) -> None:
        """Stop serving one model; raises NotFound where there is none of that name."""
        async with self._changing:
            self.known(name)
            batcher = self._served.pop(name, None)
            if batcher is not None:
                self._retire(batcher)
                _log.info("unloaded", extra={"model": name})
            await self.report()

    async def report(self) -> None:
        """Tell the health service which models are served; before the first load, none."""
        for name in self.source.models:
            await self._health.set(name, ready=name in self._served)
        await self._health.set("", ready=len(self._served) == len(self.source.models))

    def get(self, name: str, version: str = "") -> Batcher[Any]:
        """Return what serves a model; raises NotFound, or Unavailable where none is loaded."""
        batcher = self._served.get(name)
        if batcher is None:
            self.known(name)
            raise Unavailable(f"{name}: no version is loaded")
        if version and version != str(batcher.model.version):
            raise NotFound(f"{name}: version '{version}' is not served, {batcher.model.version} is")
        return batcher

    def ready(self, name: str, version: str = "") -> bool:
        """Is this model, in this version, served by a process that is not draining?"""
        served = self._version(name)
        return self._health.ready(name) and served is not None and version in {"", str(served)}

    def _version(self, name: str) -> int | None:
        return self._served[name].model.version if name in self._served else None

    def known(self, name: str) -> None:
        """Raise NotFound where this process has no model of that name."""
        if name not in self.source.models:
            raise NotFound(
                f"{name}: no such model; this server has {', '.join(self.source.models)}"
            )

    def index(self) -> Sequence[Listing]:
        """List every version in the repository, for each model, with its state."""
        listings = []
        for name in self.source.models:
            served = self._version(name)
            found = layout.versions(self._repository, self.source.name)
            for version in sorted({*found, *([] if served is None else [served])}):
                ready = version == served
                reason = "" if ready else self._refused.get(version, "not loaded")
                state = "READY" if ready else "UNAVAILABLE"
                listings.append(Listing(name, str(version), state, reason))
        return listings

    async def close(self) -> None:
        """Finish accepted calls and end all threads."""
        for name in list(self._served):
            self._retire(self._served.pop(name))
        if self._closing:
            await asyncio.wait(self._closing)
