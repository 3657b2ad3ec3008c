"""A state file from one gateway to another: how a new one begins.

The copy is made by SQLite at one moment, with the place in the journal it stands at,
so whoever has it goes on from there. It holds every shopper's history: only who can
write beside the journal gets it.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from gateway import schema
from gateway.errors import JournalAway
from gateway.journal.place import read_place
from gateway.journal.stream import Journal
from gateway.repair import set_aside
from plait.v1 import state_service_pb2 as pb
from plait.v1 import state_service_pb2_grpc as api

_log = logging.getLogger(__name__)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_BLOCK = 1 << 20
# Longest that all of a copy may take, in seconds.
_SECONDS = 600.0
# Longest that nothing of it may come: as long as a slow disk may take to sync all of it.
_SILENCE = 30.0
# Seconds between two signs that a copy is still being made.
_SIGN_SECONDS = 1.0
# Steps of SQLite's after which it tells that it goes on: some milliseconds.
_STEPS = 50_000
_COPY, _SNAPSHOT = "copy", "snapshot"


class StateServicer:
    """Streams copies of the state file; one at a time, as each reads and writes all of it."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["StateService"]

    def __init__(self, state: Path, journal: Callable[[], Journal | None]) -> None:
        """`journal` returns that of this gateway, None while it does not serve or has none."""
        self._state = state
        self._journal = journal
        self._copying = asyncio.Lock()

    async def CopyState(  # noqa: N802 -- gRPC names it
        self, request: pb.CopyStateRequest, context: _Context
    ) -> AsyncIterator[pb.CopyStateResponse]:
        """Stream a copy of the state file."""
        journal = self._journal()
        if journal is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "this gateway has no journal, or starts"
            )
        try:
            known = bool(request.token) and await journal.has_token(request.token)
        except JournalAway as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.told)
        if not known:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, "token: not one that lies beside the journal"
            )
        if self._copying.locked():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "another copy is under way")
        moved = threading.Event()
        async with self._copying, _making(self._state, moved.set) as making:
            try:
                while not (await asyncio.wait((making,), timeout=_SIGN_SECONDS))[0]:
                    if moved.is_set():  # not where the disk stands still
                        moved.clear()
                        yield pb.CopyStateResponse()
                draft = making.result()
            except (sqlite3.Error, OSError) as error:
                _log.error("the state cannot be copied", extra={"reason": str(error)})
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"cannot be copied ({error})")
            try:
                _log.info("the state is copied", extra={"to": str(context.peer())})
                with draft.open("rb") as file:
                    while content := await asyncio.to_thread(file.read, _BLOCK):
                        yield pb.CopyStateResponse(content=content)
            except OSError as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"cannot be read ({error})")


@asynccontextmanager
async def _making(state: Path, moved: Callable[[], None]) -> AsyncIterator["asyncio.Future[Path]"]:
    """Make a copy for the length of the block, and leave none behind; see `_snapshot`."""
    making = asyncio.ensure_future(asyncio.to_thread(_snapshot, state, moved))
    try:
        yield making
    finally:
        # Nobody may wait for it any more: the thread goes on, and the next copy waits for it.
        await asyncio.wait((making,))
        if not making.cancelled() and making.exception() is None:
            making.result().unlink(missing_ok=True)


def _snapshot(state: Path, moved: Callable[[], None]) -> Path:
    """Write a copy of the file beside it, as of now, and return it; blocks.

    `moved` is called in this thread as it goes on.
    """
    draft = _named(state, _SNAPSHOT)
    draft.unlink(missing_ok=True)
    try:
        with closing(schema.open_reader(state)) as connection:
            # It writes to another file only, which SQLite does not tell apart.
            connection.execute("PRAGMA query_only = OFF")
            connection.set_progress_handler(moved, _STEPS)
            connection.execute("VACUUM INTO ?", (str(draft),))
    except BaseException:
        draft.unlink(missing_ok=True)  # half of it, on a disk that is full by now
        raise
    return draft


async def copy_state(
    target: str, journal: Journal, identity: int, path: Path, *, keep: bool, whole: bool
) -> None:
    """Replace the state file `path`, which nobody uses, by that of the gateway `target`.

    `keep`: what is replaced, under a second name, as a repair does; `whole`: only by one
    that lacks nothing, as what is replaced may have what that one lacks.
    Raises OSError, grpc.aio.AioRpcError, sqlite3.Error or StoreError, and ValueError for
    the file of another journal; what was there is then as it was.
    """
    token = await journal.put_token()
    with _draft(path) as draft:
        async with grpc.aio.insecure_channel(target) as channel:
            stub: Any = api.StateServiceStub(channel)
            call = stub.CopyState(pb.CopyStateRequest(token=token), timeout=_SECONDS)
            with draft.open("wb") as file:
                async for part in _each(call):
                    await asyncio.to_thread(file.write, part.content)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
        place = await asyncio.to_thread(read_place, draft)
        if place.journal != identity:
            raise ValueError(f"{target} has the state of another journal")
        if place.gap and whole:
            raise ValueError(f"{target} lacks something itself")
        await asyncio.to_thread(_put, draft, path, keep)
    _log.info("the state is copied", extra={"from": target})


async def _each(call: Any) -> AsyncIterator[pb.CopyStateResponse]:
    """Yield what comes; raises TimeoutError, an OSError, where nothing does for too long."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                part = await call.read()
        except TimeoutError:
            raise TimeoutError(f"nothing comes from it for {_SILENCE:g} s") from None
        if part is grpc.aio.EOF:
            return
        yield part


def clear(state: Path) -> None:
    """Remove what a kill in the middle of a copy left beside a file that this process holds."""
    for kind in (_COPY, _SNAPSHOT):
        for suffix in ("", "-journal"):
            draft = _named(state, kind + suffix)
            try:
                draft.unlink(missing_ok=True)
            except OSError as error:  # it takes up room, and no more
                _log.warning("not removed", extra={"file": str(draft), "reason": str(error)})


def _named(state: Path, kind: str) -> Path:
    """Return the file of a copy: of one name, so that the next is written over it."""
    return state.with_name(f".{state.name}.{kind}")


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _named(path, _COPY)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _put(draft: Path, path: Path, keep: bool) -> None:
    handle = schema.lock(path)
    try:
        if keep:
            set_aside(path)
        draft.chmod(0o644)
        schema.put_in_place(draft, path)
    finally:
        os.close(handle)
