"""The journal as Valkey keeps it: one stream, appended to by all, read by all.

The stream is kept for some time only: whoever was away for longer copies the state of
another gateway.
"""

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from valkey.exceptions import ResponseError, WatchError

from gateway.errors import JournalAway
from gateway.journal.clients import MOST_BYTES, WAIT_SECONDS, Clients
from gateway.journal.positions import Bounds, Entry, entry_id, fields_of, position_of
from gateway.journal.sending import Sender

_NAME = "plait:journal"
# Entries read in one piece.
_MOST_READ = 256
# Entries looked at together for who wrote them: each comes with all it holds.
_FEW = 16
# Seconds that a token for copying a state is good for.
_TOKEN_SECONDS = 300


def new_identity() -> int:
    """Return what no other journal is called by."""
    return secrets.randbits(62) + 1


class Journal:
    """One journal. Belongs to the event loop."""

    def __init__(self, url: str, minutes: int, password: str = "") -> None:
        """`minutes`: how long entries are kept, at least; `password`: where the URL has none."""
        self._clients = Clients(url, password)
        self._client, self._reader = self._clients.commands, self._clients.reader
        self._sender = Sender(self._clients, minutes)
        self._stream = _NAME
        # Entries asked for at once: fewer where they are large.
        self._count = 16

    def about(self, error: JournalAway) -> dict[str, str]:
        """Return what the log says of an error: its reason, and where Valkey is."""
        return {"reason": error.reason, "journal": self._clients.address}

    async def stop(self) -> None:
        """Let go of Valkey; who still waits for it hears that it is away."""
        await self._sender.stop()
        await self._clients.close()

    async def identity(self) -> int | None:
        """Return which journal this is, None where there is none yet; raises JournalAway."""
        async with self._clients.explained():
            raw = await self._client.get(_NAME)
        return None if raw is None else _read(raw)

    async def found(self, identity: int) -> int:
        """Have the journal be this one, unless it is another; return which it is.

        Raises JournalAway.
        """
        async with self._clients.explained():
            await self._client.set(_NAME, str(identity), nx=True)
            held = await self._client.get(_NAME)
        return identity if held is None else _read(held)

    def follow(self, identity: int) -> None:
        """Read and write the entries of this one from here on."""
        # In its name, so that no gateway writes into another journal by mistake.
        self._stream = self._sender.stream = f"{_NAME}:{identity}"

    @property
    def connections(self) -> int:
        """How many connections its reader has made: with each the server may be another."""
        return self._clients.connections

    async def connected(self) -> int:
        """Have the reader connected, and return `connections`; raises JournalAway."""
        async with self._clients.explained():
            await self._reader.ping()
        return self.connections

    async def bounds(self, *, reading: bool = False) -> Bounds:
        """Return what the journal spans; raises JournalAway.

        `reading`: as the server has it that is read from; not while `read` is under way.
        """
        client = self._reader if reading else self._client
        async with self._clients.explained():
            try:
                found = await client.xinfo_stream(self._stream)
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise  # taken for an empty one, all of it would be read again
                return Bounds()  # no entry as yet
        first = found["first-entry"]
        return Bounds(
            position_of(first[0]) if first else 0,
            position_of(found["last-generated-id"]),
            found["entries-added"] > found["length"],
        )

    async def append(self, by: bytes, raw: bytes, rollouts: str | None = None) -> None:
        """Write an entry; returns once Valkey has it. Raises JournalAway.

        Entries that come while others are being sent go in one piece. `rollouts`: what is
        rolled out from this entry on, kept for gateways that come later.
        """
        beside = None if rollouts is None else (self._rollouts, rollouts)
        await self._sender.append(by, raw, beside)

    async def last_of(self, taken: Mapping[int, bytes]) -> int:
        """Return the position of the last of some entries that is there, 0 where none is.

        As the server has it that is read from; not while `read` is under way. `taken`: who
        wrote each, by position; at least one. Raises JournalAway.
        """
        oldest, newest = min(taken), max(taken)
        count = 1  # mostly the last one is there
        while newest >= oldest:
            async with self._clients.explained():
                found = await self._reader.xrevrange(
                    self._stream, entry_id(newest), entry_id(oldest), count=count
                )
            for raw in found:
                entry = Entry.of(*raw)
                if taken.get(entry.position) == entry.by:
                    return entry.position
                newest = entry.position - 1
            if len(found) < count:
                break
            count = _FEW
        return 0

    async def read(self, after: int, *, wait: bool) -> tuple[list[Entry], bool]:
        """Return the next entries, oldest first, and whether there may be more by now.

        With `wait`, after a second at most if there are none. Raises JournalAway.
        """
        await self._clients.before_reading()
        asked = self._count
        # Should this one be too much to come in its time, the next is not.
        self._count = max(asked // 4, 1)
        block = int(WAIT_SECONDS * 1000) if wait else None
        async with self._clients.explained():
            found = await self._reader.xread(
                {self._stream: entry_id(after)}, count=asked, block=block
            )
        read = [Entry.of(*raw) for _, entries in found or () for raw in entries]
        large = sum(len(entry.raw) for entry in read) > MOST_BYTES
        self._count = max(asked // 2, 1) if large else min(asked * 2, _MOST_READ)
        return read, len(read) == asked

    async def put_rollouts(self, record: str, raw: bytes, *, before: str | None) -> None:
        """Write what is rolled out, and keep it, unless `before` is no longer what is kept.

        `raw`: its entry. Raises JournalAway.
        """
        async with self._clients.explained(), self._client.pipeline(transaction=True) as made:
            pipe: Any = made
            await pipe.watch(self._rollouts)
            found = await pipe.get(self._rollouts)
            if (None if found is None else found.decode()) != before:
                return
            pipe.multi()
            pipe.xadd(self._stream, fields_of(b"", raw))
            pipe.set(self._rollouts, record)
            with contextlib.suppress(WatchError):
                await pipe.execute()

    async def rollouts(self) -> str | None:
        """Return what is rolled out, None if nothing ever was; raises JournalAway."""
        async with self._clients.explained():
            found = await self._client.get(self._rollouts)
        return None if found is None else found.decode()

    @property
    def _rollouts(self) -> str:
        return f"{self._stream}:rollouts"

    async def put_token(self) -> str:
        """Put a token beside the journal and return it: other gateways look for it there.

        Raises JournalAway.
        """
        token = secrets.token_urlsafe(18)
        async with self._clients.explained():
            await self._client.set(f"{_NAME}:token:{token}", b"1", ex=_TOKEN_SECONDS)
        return token

    async def has_token(self, token: str) -> bool:
        """Say whether a token was put here a short time ago; raises JournalAway."""
        async with self._clients.explained():
            return await self._client.get(f"{_NAME}:token:{token}") is not None


def _read(raw: bytes) -> int:
    if not raw.isdigit():
        raise JournalAway(f"the key {_NAME} holds something that is not Plait's")
    return int(raw)
