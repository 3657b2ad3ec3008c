"""Which models a process serves, in which versions, and how that changes while it runs.

A process serves one source: one artifact directory, from which come one or more
named models (`content`, `content-items`). They change together, so that vectors
and scores always belong to the same version. One version is the default; a few
may be loaded beside it for callers that name them, which is what a canary needs.
A version is loaded beside the others, proven and warmed up before anybody can
reach it; one that fails is refused and nothing changes. Calls under way finish
where they began.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts import layout
from artifacts.errors import ArtifactError
from services.runtime import metrics
from services.runtime.batching import Batcher
from services.runtime.choice import Choice, ChoiceFile
from services.runtime.errors import FailedPrecondition, NotFound, PlaitError
from services.runtime.finishing import to_the_end
from services.runtime.health import Health
from services.runtime.model import Model
from services.runtime.shelf import Shelf
from services.runtime.source import Source, prove
from services.runtime.workers.group import Alone, Group
from services.runtime.workers.picture import Picture

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a process, and of every model's batcher."""

    # Rows computed together, and rows one call may bring.
    max_batch_rows: int = 64
    # Calls waiting; beyond it they are refused.
    max_queue: int = 256
    # Seconds an outgoing version gets to finish its calls.
    grace_seconds: float = 10.0
    # Versions loaded at once, the default included.
    max_versions: int = 2


class Host(Shelf):
    """A shelf whose content changes. All methods belong to the event loop."""

    def __init__(
        self, source: Source, repository: Path, limits: Limits, health: Health,
        group: Group | None = None,
    ) -> None:  # fmt: skip
        """`group`: who else has to serve the same, if anybody has."""
        super().__init__(source, repository, health)
        self.limits = limits
        self._group = group or Alone()
        self._file = ChoiceFile(repository, source.name)
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self, pinned: int | None = None, beside: Sequence[int] = ()) -> None:
        """Serve the pinned version and those `beside` it, and say so once all of them do.

        Without one, what was served last, or the newest that can be. Raises ArtifactError
        where a pinned version, or every version, is refused.
        """
        async with self._changing:
            if pinned is not None:
                await self._serve(pinned)
                for number in beside:
                    await self._add(number)
                await self.report()
                return
            last = await asyncio.to_thread(self._file.read) or Choice(None)
            await self._serve_first(last.default)
            self._chosen, self._previous = last.default, last.previous
            for number in last.beside:
                try:
                    await self._add(number)
                except (ArtifactError, FailedPrecondition) as error:
                    _log.warning("not served beside any more: %s", error)
            await self.report()

    async def _serve_first(self, wanted: int | None) -> None:
        """Serve the wanted version, or else the newest that is not refused."""
        candidates: list[int | None] = [*(await self._complete())[::-1]]
        candidates = candidates or [None]
        candidates.sort(key=lambda version: version != wanted)
        for number in candidates[:-1]:
            with contextlib.suppress(ArtifactError):
                await self._serve(number)
                return
        await self._serve(candidates[-1])

    async def load(self, version: int | None = None, *, beside: bool = False) -> int:
        """Serve a version, the newest if none is named; return which.

        It takes the place of the default one, or is served `beside` it to those who
        name it. Raises ArtifactError, and FailedPrecondition where there is no room
        beside; whatever was served before is then still served.
        """
        async with self._change():
            number = await (self._add(version) if beside else self._serve(version))
            # The default stays what it is, also when the version beside it is newer.
            self._chosen = self._default if beside else version
        return number

    async def roll_back(self) -> int:
        """Serve what was the default before; raises FailedPrecondition where nothing was."""
        async with self._change():
            if self._previous is None:
                raise FailedPrecondition(
                    f"{self.source.name}: no version was the default before; name the one to serve"
                )
            number = await self._serve(self._previous)
            # Back and forth would lead to the version one came back from.
            self._previous, self._chosen = None, number
        return number

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """One change at a time in the group; it holds for all members or for none.

        Also if the caller goes once it is made: some would serve what the others do not.
        """
        async with self._group.turn():
            before = self.picture()
            async with self._changing:
                yield
                await self.report()
            await to_the_end(self._spread(before))

    async def _spread(self, before: Picture) -> None:
        """Keep a change that was made and have the group follow; without that, undo it."""
        await self._remember()
        try:
            await self._group.tell(self.picture())
        except PlaitError:
            await self.follow(before)
            await self._remember()
            with contextlib.suppress(PlaitError):
                await self._group.tell(before)
            raise

    async def follow(self, picture: Picture) -> None:
        """Serve what another member of the group does; raises ArtifactError."""
        async with self._changing:
            for number, names in picture.versions.items():
                if set(self._served.get(number, ())) != set(names):
                    await self._prepare(number)
            self._default, self._chosen = picture.default, picture.chosen
            self._previous = picture.previous
            for number in self._served.keys() - picture.versions.keys():
                self._retire(number)
            for number, names in picture.versions.items():
                for name in self._served[number].keys() - set(names):
                    self._end(self._served[number].pop(name))
            await self.report()

    async def _serve(self, version: int | None) -> int:
        """Make a version the default and let the one before finish its calls."""
        number = await self._number(version)
        await self._prepare(number)
        if number != self._default:
            self._previous, self._default = self._default, number
            if self._previous is not None:
                self._retire(self._previous)
        return number

    async def _add(self, version: int | None) -> int:
        """Load a version beside the default."""
        number = await self._number(version)
        if number not in self._served and len(self._served) >= self.limits.max_versions:
            raise FailedPrecondition(
                f"{self.source.name}: versions {self._listed()} are loaded, at most "
                f"{self.limits.max_versions} can be (max_versions); unload one first"
            )
        await self._prepare(number)
        if self._default is None:
            self._default = number
        return number

    async def _number(self, version: int | None) -> int:
        """Return the number of a version that is there, the newest if none is named.

        One that is loaded needs no disk.
        """
        if version is not None and version in self._served:
            return version
        return int((await self._find(version)).name)

    async def _find(self, version: int | None) -> Path:
        # In a thread, as all that touches the disk: one that does not answer stops no call.
        return await asyncio.to_thread(layout.find, self._repository, self.source.name, version)

    async def _prepare(self, number: int) -> None:
        """Have a version loaded, proven and warmed up."""
        if set(self._served.get(number, ())) == set(self.source.models):
            return
        directory = await self._find(number)
        start = time.perf_counter()
        try:
            models = await asyncio.to_thread(
                prove, self.source, directory, self.limits.max_batch_rows
            )
        except ArtifactError as error:
            self._refused[number] = str(error)
            _log.error("refused", extra={"version": number, "reason": str(error)})
            raise
        self._refused.pop(number, None)
        self._retire(number)
        self._served[number] = {name: self._batcher(name, model) for name, model in models.items()}
        self._note_load(number, time.perf_counter() - start)

    def _batcher(self, name: str, model: Model[Any]) -> Batcher[Any]:
        batcher = Batcher(
            name, model, max_rows=self.limits.max_batch_rows, max_queue=self.limits.max_queue
        )
        batcher.start()
        return batcher

    def _retire(self, version: int) -> None:
        """Let a version, where it is loaded, finish its calls in the background."""
        for batcher in self._served.pop(version, {}).values():
            self._end(batcher)

    def _end(self, batcher: Batcher[Any]) -> None:
        task = asyncio.create_task(batcher.close(self.limits.grace_seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _note_load(self, version: int, seconds: float) -> None:
        for name in self.source.models:
            metrics.MODEL_LOAD_SECONDS.labels(name, str(version)).set(seconds)
        _log.info(
            "loaded",
            extra={"source": self.source.name, "version": version, "seconds": round(seconds, 3)},
        )

    async def unload(self, name: str, version: int | None = None) -> None:
        """Stop serving one model, or one version of the source that is not its default.

        Raises NotFound where there is none of that name or version, FailedPrecondition
        for the default version.
        """
        async with self._change():
            self.known(name)
            if version is None:
                for batchers in self._served.values():
                    if name in batchers:
                        self._end(batchers.pop(name))
            else:
                self._unload_version(version)
            _log.info("unloaded", extra={"model": name, "version": version or "all"})

    def _unload_version(self, version: int) -> None:
        if version not in self._served:
            raise NotFound(
                f"{self.source.name}: version {version} is not loaded, {self._listed()} is"
            )
        if version == self._default:
            raise FailedPrecondition(
                f"{self.source.name}: version {version} is the default one; load another in its "
                "place, or unload the model by name alone"
            )
        self._retire(version)

    async def _remember(self) -> None:
        """Keep what is served for the next start. A model unloaded by name comes back with it."""
        beside = tuple(v for v in self._served if v != self._default)
        choice = Choice(self._chosen, beside, self._previous)
        await asyncio.to_thread(self._file.write, choice)

    async def close(self) -> None:
        """Finish accepted calls and end all threads."""
        for version in list(self._served):
            self._retire(version)
        if self._closing:
            await asyncio.wait(self._closing)
