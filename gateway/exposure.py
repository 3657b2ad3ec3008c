"""What was shown to whom, and what followed: one JSON line each, written after the reply.

The raw material of training and audits. Lines are gathered while the process is
busy and written together by a thread; if it is killed the last fraction of a
second is lost, which a record of showing (unlike an event) can bear. Lines about a shopper
who is forgotten become blank where they stand, so that whoever reads along keeps his place.
"""

import asyncio
import contextlib
import errno
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.types import Event, Page
from services.runtime.metrics import EXPOSURES_LOST

T = TypeVar("T")
_log = logging.getLogger(__name__)
_GATHER_SECONDS = 0.2
_MOST_WAITING = 10_000
# Longest that the end of the gateway waits for what is left to be written, in seconds.
_END_SECONDS = 2.0


class ExposureLog:
    """Appends to a file that is moved aside when it has grown."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """The file moves to NAME.1 beyond `most_bytes`."""
        self._path = path
        self._most = most_bytes
        self._lines: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._complained = False
        self._stopping = asyncio.Event()
        # Held by whoever is at the files.
        self._at_files = asyncio.Lock()
        self._forgetting: set[asyncio.Task[int | None]] = set()

    def add(self, page: Page, item_ids: list[str]) -> None:
        """Note a page; costs microseconds, writes later."""
        ranking = page.ranking
        self._put(
            {
                "time": round(time.time(), 3),
                "ranking_id": ranking.ranking_id,
                "user_id": ranking.ask.user_id,
                "market": ranking.ask.market,
                "surface": ranking.ask.surface,
                "first_position": int(page.places[0]) + 1 if len(page.places) else 0,
                "item_ids": item_ids,
                "sources": {a.source: a.outcome.value for a in ranking.answers},
                "versions": {a.source: a.version for a in ranking.answers if a.version},
                # Whom a canary was meant for, to compare like with like: `versions` says
                # who answered in the end.
                "canary": {a.source: a.wanted for a in ranking.answers if a.wanted},
                "fallback": ranking.fallback,
            }
        )

    def follow(self, event: Event, item_id: str) -> None:
        """Note an event that names a ranking; a line of its own, told by its field `event`."""
        self._put(
            {
                "time": round(event.time_ms / 1000, 3),
                "ranking_id": event.ranking_id,
                "user_id": event.user_id,
                "item_id": item_id,
                "event": event.type.name.lower(),
            }
        )

    def forget(self, user_id: str) -> "asyncio.Task[int | None]":
        """Delete the lines about a shopper, the file's that was moved aside too.

        Returns a task: how many there were, None where they could not be deleted, as the log
        says then.
        """
        task = asyncio.create_task(self._forget(user_id))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)
        return task

    async def _forget(self, user_id: str) -> int | None:
        # As `_put` writes it: within a string of JSON no quotation mark stands alone.
        named = f'"user_id": {json.dumps(user_id, ensure_ascii=False)}'
        async with self._at_files:
            waiting = len(self._lines)
            self._lines = [line for line in self._lines if named not in line]
            dropped = waiting - len(self._lines)

            def blank() -> int:
                return sum(_blanked(path, named.encode()) for path in (self._path, self._aside))

            try:
                return dropped + await _by_thread(blank)
            except OSError as error:
                _log.error(
                    "exposures of a shopper who is forgotten are not deleted; forget them again",
                    extra={"reason": str(error)},
                )
                return None

    @property
    def _aside(self) -> Path:
        """Where the file goes once it has grown."""
        return self._path.with_name(f"{self._path.name}.1")

    def _put(self, line: dict[str, Any]) -> None:
        if len(self._lines) >= _MOST_WAITING:  # a disk that stands still must not fill the memory
            EXPOSURES_LOST.inc()
            self._complain(f"a write has not ended, {_MOST_WAITING} lines wait for it")
            return
        self._lines.append(json.dumps(line, ensure_ascii=False))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._soon())

    async def stop(self) -> None:
        """Write what is left, unless the disk stands still: nobody is to wait for that."""
        self._stopping.set()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self.written()
        except TimeoutError:
            EXPOSURES_LOST.inc(len(self._lines))
            self._complain(f"a write has not ended, {len(self._lines)} lines wait for it")

    async def written(self) -> None:
        """Wait until all that was noted has been written or is lost, and forgotten shoppers are."""
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._forgetting)

    async def _soon(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                await self._stopping.wait()
        while self._lines:
            async with self._at_files:
                lines, self._lines = self._lines, []
                await _by_thread(partial(self._write, lines))

    def _write(self, lines: list[str]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > self._most:
                self._path.replace(self._aside)
            self._append("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            EXPOSURES_LOST.inc(len(lines))
            self._complain(str(error))
            return
        if self._complained:
            _log.info("exposures are written again")
        self._complained = False

    def _complain(self, reason: str) -> None:
        if not self._complained:  # a full disk must not fill the log as well
            _log.error("exposures are not written", extra={"reason": reason})
        self._complained = True

    def _append(self, text: bytes) -> None:
        """Append all of it or nothing: half a line would spoil the one that comes next."""
        with self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            written = file.write(text)
            if written < len(text):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def _by_thread(work: Callable[[], T]) -> T:
    """Run in a thread that the end of the process does not wait for, as for a pool's."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():  # whoever waited has gone
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=run, name="exposures", daemon=True).start()
    return await done


def _blanked(path: Path, named: bytes) -> int:
    """Write blanks over the lines that hold `named`; return how many. Raises OSError."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return 0
    with file:
        found, at = [], 0
        for line in file:
            if named in line:
                found.append((at, len(line.rstrip(b"\n"))))
            at += len(line)
        for start, length in found:
            file.seek(start)
            file.write(b" " * length)
        file.flush()
        if found:
            os.fsync(file.fileno())
    return len(found)
