"""How the workers of a service come to serve the same versions.

A caller's RepositoryModelLoad reaches one worker. That one makes the change, writes
the picture of what it serves now into the directory they share, and answers when all
others have followed; if one of them cannot, everybody goes back. A worker that is
started later begins with the picture, so that a restart changes nothing. One change
at a time: whoever makes one holds a lock, which the kernel frees if its holder dies.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

from artifacts.errors import ArtifactError
from services.runtime.errors import FailedPrecondition, Unavailable
from services.runtime.workers.picture import Picture, parse
from services.runtime.workers.place import Place

_log = logging.getLogger(__name__)
# Seconds between looks at the directory: a few microseconds each.
_LOOK = 0.05
# Seconds before an answer that could not be written is written again.
_AGAIN = 1.0
Follow: TypeAlias = Callable[[Picture], Awaitable[None]]


class Group(Protocol):
    """Whoever has to serve the same."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until no other member changes anything, and keep it so."""
        ...

    async def tell(self, picture: Picture) -> None:
        """Have all others serve this.

        Raises FailedPrecondition where one cannot, Unavailable where they cannot be told.
        """
        ...


class Alone:
    """The group of a process that shares its port with nobody."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See Group."""
        async with self._turn:
            yield

    async def tell(self, picture: Picture) -> None:
        """See Group."""


class Workers:
    """The workers of one parent, as one of them sees the others."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._picture = place.directory / "picture.json"
        # The change that this worker has followed, or made.
        self._turn = 0
        self._watching: asyncio.Task[None] | None = None

    def current(self) -> Picture | None:
        """Return what the others serve, None where this worker is the first."""
        found = self._read()
        return None if found is None else self._note(found)

    async def join(self, mine: Callable[[], Picture], follow: Follow) -> None:
        """Agree with the others on what is served, now and from now on."""
        async with self.turn():
            found = self._read()
            if found is None:
                self._turn += 1
                self._write(self._picture, mine().dump(self._turn))
            elif found[0] > self._turn or mine() != found[1]:
                await follow(self._note(found))
            self._say("")
        self._watching = asyncio.create_task(self._watch(follow))

    def _note(self, found: tuple[int, Picture]) -> Picture:
        self._turn, picture = found
        return picture

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See Group."""
        with (self._place.directory / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOOK)
            yield

    async def tell(self, picture: Picture) -> None:
        """See Group."""
        self._turn += 1
        try:
            self._say("")
            self._write(self._picture, picture.dump(self._turn))
        except OSError as error:
            self._turn -= 1
            raise Unavailable(
                f"the other workers cannot be told, nothing was changed: {self._place.directory}: "
                f"{error.strerror}"
            ) from None
        for number, (_, problem) in (await self._followed()).items():
            if problem:
                raise FailedPrecondition(
                    f"worker {number} cannot follow, nothing was changed: {problem}"
                )

    async def _followed(self) -> dict[str, tuple[int, str]]:
        """Wait until all others that live have followed, or failed to."""
        while True:
            states = self._others()
            if all(turn >= self._turn for turn, _ in states.values()):
                return states
            await asyncio.sleep(_LOOK)

    def _others(self) -> dict[str, tuple[int, str]]:
        """Return, for each other worker that lives, the change it is at and why it failed."""
        found: dict[str, tuple[int, str]] = {}
        for path in self._place.directory.glob("*.follows"):
            if path != self._place.follows_file:
                with contextlib.suppress(FileNotFoundError):  # it died just now
                    turn, _, problem = path.read_text().partition(" ")
                    found[path.stem] = int(turn), problem
        return found

    async def _watch(self, follow: Follow) -> None:
        """Follow the others, and end with the parent, however it ended."""
        while os.getppid() == self._place.parent:
            await asyncio.sleep(_LOOK)
            found = self._read()
            if found is not None and found[0] > self._turn:
                await self._follow(follow, self._note(found))
        os.kill(os.getpid(), signal.SIGTERM)

    async def _follow(self, follow: Follow, picture: Picture) -> None:
        problem = ""
        try:
            await follow(picture)
        except ArtifactError as error:
            problem = str(error)
        except Exception as error:
            _log.exception("cannot follow the other workers")
            problem = type(error).__name__
        while True:  # whoever made the change waits for it
            try:
                self._say(problem)
            except OSError as error:
                _log.warning("cannot answer the other workers: %s", error.strerror)
                await asyncio.sleep(_AGAIN)
            else:
                return

    def _say(self, problem: str) -> None:
        self._write(self._place.follows_file, f"{self._turn} {problem}".strip())

    def _write(self, path: "os.PathLike[str]", text: str) -> None:
        """Replace a file of the directory at once."""
        draft = self._place.directory / f"draft.{self._place.number}"
        draft.write_text(text)
        draft.replace(path)

    def _read(self) -> tuple[int, Picture] | None:
        try:
            return parse(self._picture.read_text())
        except FileNotFoundError:
            return None

    async def leave(self) -> None:
        """Follow nobody any more."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._place.leave()
