"""A gateway's way to its journal, before it reads its state file.

It begins a journal, goes on where its file stands, or copies the state of a gateway that
knows what it does not. Nothing that a file holds is ever given up for a copy, but what
every gateway of the journal has.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import grpc

from gateway.errors import JournalAway, StoreDamaged, StoreError
from gateway.journal.copying import copy_state
from gateway.journal.place import Place, read_place, write_place
from gateway.journal.stream import Journal, new_identity
from gateway.replicas.addresses import Address, look_up
from services.runtime.errors import StartError

T = TypeVar("T")
_log = logging.getLogger(__name__)
# Seconds between two tries, and between two lines that say what is waited for.
_AGAIN, _SAID = 0.5, 30.0
# Longest that one whose file lacks something waits for a gateway to copy, in seconds: an
# hour less of history is worth more to shoppers than no gateway.
_PATIENCE = 20.0


class Joining:
    """Brings one state file to its journal."""

    def __init__(
        self,
        journal: Journal,
        path: Path,
        peers: Sequence[Address],
        stopping: threading.Event,
        anew: Callable[[], None],
    ) -> None:
        """`peers`: where other gateways are; nothing is waited for once `stopping` is set.

        `anew` lets go of what lies beside a state file that is to begin with a copy; it may
        raise OSError.
        """
        self._journal = journal
        self._path = path
        self._peers = peers
        self._stopping = stopping
        self._anew = anew
        self._quiet = 0.0
        self._damaged = False

    async def join(self) -> Place:
        """Return where the state file stands, once it can go on from there.

        Waits for Valkey where the file is of no journal yet, and for another gateway
        where there is nothing in it. Raises StartError for a file that belongs elsewhere.
        """
        try:
            place = await asyncio.to_thread(read_place, self._path)
        except StoreDamaged:
            self._damaged = True
            return await self._replace()
        except (StoreError, sqlite3.Error):
            # Told again, in more words, by who opens it for good, if it is still so then.
            return Place(empty=False)
        if place.journal is not None:
            return await self._go_on(place)
        return await self._begin(place)

    async def settle(self, place: Place) -> Place:
        """Return where a file stands that nobody could read before it was opened for good.

        `place`: what it says of that now. Raises StartError as `join` does.
        """
        if place.journal is not None:
            self._journal.follow(place.journal)
            return place
        identity = await self._answered(self._journal.identity)
        if identity is None or not self._damaged:
            return await self._begin(place)
        self._journal.follow(identity)
        # What came before it may be in the file, or not.
        last = (await self._answered(self._journal.bounds)).last
        return Place(identity, last, gap=True, empty=place.empty)

    async def _replace(self) -> Place:
        """Copy the state of another gateway in the place of a damaged file, which is set aside.

        Where nobody gives one in time, the file is repaired when it is opened, which saves
        less, and asked then where it stands.
        """
        try:
            identity = await self._journal.identity()
        except JournalAway:
            identity = None
        if identity is None or not self._peers:
            return Place(empty=False)
        self._journal.follow(identity)
        _log.error("the state file is damaged: a copy of another gateway's is wanted")
        if not await self._copied(identity, _PATIENCE, keep=True):
            return Place(empty=False)
        return await asyncio.to_thread(read_place, self._path)

    async def _go_on(self, place: Place) -> Place:
        """Go on from where a file stands, or from a copy where it lacks entries."""
        identity = place.journal or 0
        self._journal.follow(identity)
        try:
            held = await self._journal.found(identity)
            bounds = await self._journal.bounds()
        except JournalAway as error:
            _log.error("what is known is served", extra={"reason": str(error)})
            return place
        if held != identity:
            raise StartError(
                f"{self._path}: belongs to another journal than Valkey holds; give this gateway "
                "a new state file, which it copies from another gateway (peers), or its own Valkey"
            )
        if not place.gap and not bounds.passed(place.position):
            return place
        _log.warning("entries of the journal are missing here: a copy of a state is wanted")
        if await self._copied(identity, _PATIENCE, whole=True):
            return await asyncio.to_thread(read_place, self._path)
        _log.error("no gateway gave its state: served without what is missing")
        return Place(identity, place.position, gap=True, empty=place.empty)

    async def _begin(self, place: Place) -> Place:
        """Begin a journal with a file, or copy the state of the gateways that have begun one."""
        identity = await self._answered(self._journal.identity)
        if identity is None and not (place.empty and self._peers):
            return await self._begin_with(replace(place, journal=new_identity()))
        if not place.empty:
            raise StartError(
                f"{self._path}: holds items or events, and the journal begins with those of "
                "another gateway; give this one a new state file, which it copies (peers)"
            )
        if not self._peers:
            raise StartError(
                "peers: required for a gateway with an empty state file: it copies that of "
                "another gateway of the journal"
            )
        while identity is None:
            # Never by itself: what others hold would be shut out of what it begins.
            await self._pause(
                "nobody has begun the journal: start the gateway that has the shop's state "
                "file, or for a new shop one without peers"
            )
            identity = await self._answered(self._journal.identity)
        self._journal.follow(identity)
        try:
            # Before: killed in between, the next start would take it for the shop's.
            await asyncio.to_thread(self._anew)
        except OSError as error:
            raise StartError(f"{self._path}: cannot begin anew ({error})") from None
        await self._copied(identity, None)
        return await asyncio.to_thread(read_place, self._path)

    async def _begin_with(self, place: Place) -> Place:
        # In the file first: killed in between, the next start finds that the journal is its own.
        try:
            await asyncio.to_thread(write_place, self._path, place)
        except (StoreError, sqlite3.Error) as error:
            raise StartError(str(error)) from None
        _log.info("a journal is begun")
        return await self._go_on(place)

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask Valkey until it answers."""
        while True:
            try:
                return await ask()
            except JournalAway as error:
                await self._pause(str(error))

    async def _copied(
        self, identity: int, patience: float | None, *, keep: bool = False, whole: bool = False
    ) -> bool:
        """Copy the state of any gateway that gives it; say whether one did, in time.

        `keep`: the file that goes, under a second name; `whole`: only one that lacks nothing.
        """
        until = None if patience is None else time.monotonic() + patience
        while until is None or time.monotonic() < until:
            reasons = []
            for target in await self._targets():
                try:
                    await copy_state(
                        target, self._journal, identity, self._path, keep=keep, whole=whole
                    )
                except grpc.aio.AioRpcError as error:
                    reasons.append(f"{target}: {error.details()}")
                except (OSError, sqlite3.Error, ValueError, StoreError) as error:
                    reasons.append(f"{target}: {error}")
                else:
                    return True
            why = "; ".join(reasons) or "no address of another gateway is known"
            await self._pause(f"no gateway gives its state ({why})")
        return False

    async def _targets(self) -> Sequence[str]:
        found: list[str] = []
        for address in self._peers:
            if address.target:
                found.append(address.target)
            else:
                found += sorted(await look_up(address) or ())
        return found

    async def _pause(self, reason: str) -> None:
        if self._stopping.is_set():
            raise StartError(f"stopped while it waited: {reason}")
        if time.monotonic() > self._quiet:
            self._quiet = time.monotonic() + _SAID
            _log.warning("the start waits", extra={"reason": reason})
        await asyncio.sleep(_AGAIN)
