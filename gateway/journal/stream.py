"""The journal as Valkey keeps it: one stream, appended to by all, read by all.

Positions are Valkey's own entry ids, milliseconds and a number within them, as one
integer. The stream is kept for some time only: whoever was away for longer copies the
state of another gateway.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from valkey.asyncio import Valkey
from valkey.exceptions import OutOfMemoryError, ResponseError, ValkeyError

from gateway.errors import JournalAway

_log = logging.getLogger(__name__)
_NUMBER_BITS = 20
_WRITTEN_BY, _ENTRY = b"by", b"entry"
# Seconds that a command may take; reading waits for entries, and so gets more.
_SECONDS, _WAIT_SECONDS = 1.0, 1.0
# Entries sent in one piece, and read in one.
_MOST_SENT, MOST_READ = 256, 256
# Seconds between two looks for entries that are too old.
_TRIM_SECONDS = 1.0
# What is kept of a journal that is full before its time.
_KEPT = 0.75
# Seconds that a token for copying a state is good for.
_TOKEN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal."""

    position: int
    by: bytes  # who wrote it, and which of its writes it was
    raw: bytes

    @property
    def time_ms(self) -> int:
        """When Valkey took it."""
        return self.position >> _NUMBER_BITS


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a journal spans, by positions; 0: none."""

    first: int = 0  # of those that are still there
    last: int = 0  # that there ever was
    forgotten: bool = False  # whether any are there no more

    def passed(self, position: int) -> bool:
        """Say whether entries after a position are there no more.

        Of the first that is left nobody knows which one was before it: where any were
        forgotten, a position before it is taken for one that has missed some.
        """
        behind = position < self.last and (self.first == 0 or position < self.first)
        return self.forgotten and behind


def new_identity() -> int:
    """Return what no other journal is called by."""
    return secrets.randbits(62) + 1


class Journal:
    """One journal. Belongs to the event loop."""

    def __init__(self, url: str, minutes: int) -> None:
        """`minutes`: how long entries are kept, at least."""
        self._keep_ms = minutes * 60_000
        self._client: Valkey = Valkey.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway",
        )
        # Apart, as it waits: a socket that stands still is told from one that has nothing.
        self._reader: Valkey = Valkey.from_url(
            url,
            socket_timeout=_WAIT_SECONDS + _SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway-reader",
        )
        self._name = "plait:journal"
        self._stream = self._name
        self._waiting: list[tuple[bytes, bytes, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._trim_at = 0.0

    async def stop(self) -> None:
        """Let go of Valkey."""
        if self._sending is not None:
            self._sending.cancel()
        for client in (self._client, self._reader):
            await client.aclose()

    async def identity(self) -> int | None:
        """Return which journal this is, None where there is none yet; raises JournalAway."""
        async with _explained():
            raw = await self._client.get(self._name)
        return None if raw is None else int(raw)

    async def found(self, identity: int) -> int:
        """Have the journal be this one, unless it is another; return which it is.

        Raises JournalAway.
        """
        async with _explained():
            await self._client.set(self._name, str(identity), nx=True)
            held = await self._client.get(self._name)
        return identity if held is None else int(held)

    def follow(self, identity: int) -> None:
        """Read and write the entries of this one from here on."""
        # In its name, so that no gateway writes into another journal by mistake.
        self._stream = f"{self._name}:{identity}"

    async def bounds(self) -> Bounds:
        """Return what the journal spans; raises JournalAway."""
        async with _explained():
            try:
                found = await self._client.xinfo_stream(self._stream)
            except ResponseError:  # no entry as yet
                return Bounds()
        first = found["first-entry"]
        return Bounds(
            _position(first[0]) if first else 0,
            _position(found["last-generated-id"]),
            found["entries-added"] > found["length"],
        )

    async def append(self, by: bytes, raw: bytes) -> None:
        """Write an entry; returns once Valkey has it. Raises JournalAway.

        Entries that come while others are being sent go in one piece.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((by, raw, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await done

    async def _send(self) -> None:
        while self._waiting:
            sent, self._waiting = self._waiting[:_MOST_SENT], self._waiting[_MOST_SENT:]
            try:
                async with _explained():
                    answers = await self._add(sent)
            except JournalAway as error:
                answers = [error] * len(sent)
            except Exception as error:  # whoever waits must hear of it, and the next be sent
                _log.exception("writing to the journal failed")
                answers = [JournalAway(type(error).__name__)] * len(sent)
            for (_, _, done), answer in zip(sent, answers, strict=True):
                if done.done():  # the caller has gone
                    continue
                if isinstance(answer, JournalAway):
                    done.set_exception(answer)
                elif isinstance(answer, Exception):
                    done.set_exception(JournalAway(_reason(answer)))
                else:
                    done.set_result(None)

    async def _add(self, sent: Sequence[tuple[bytes, bytes, Any]]) -> list[Any]:
        answers = await self._try(sent)
        refused = [n for n, answer in enumerate(answers) if isinstance(answer, OutOfMemoryError)]
        if not refused:
            return answers
        # It has more than it has memory for before its time. Who follows has read what goes;
        # who is away finds that it misses some and copies a state.
        kept = int(_KEPT * await self._client.xlen(self._stream))
        await self._client.xtrim(self._stream, maxlen=kept, approximate=True)
        _log.error("the journal was full, its oldest entries are let go", extra={"kept": kept})
        again = await self._try([sent[n] for n in refused])
        for number, answer in zip(refused, again, strict=True):
            answers[number] = answer
        return answers

    async def _try(self, sent: Sequence[tuple[bytes, bytes, Any]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            # Not with an entry: a full journal takes none, but lets itself be trimmed.
            trims = time.monotonic() > self._trim_at
            if trims:
                self._trim_at = time.monotonic() + _TRIM_SECONDS
                oldest = max(int(time.time() * 1000) - self._keep_ms, 0)
                pipe.xtrim(self._stream, minid=oldest, approximate=True)
            for by, raw, _ in sent:
                fields: dict[Any, Any] = {_WRITTEN_BY: by, _ENTRY: raw}
                pipe.xadd(self._stream, fields)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers[trims:]

    async def read(self, after: int, *, wait: bool) -> list[Entry]:
        """Return the next entries, oldest first; with `wait`, after a second at most if none.

        Raises JournalAway.
        """
        block = int(_WAIT_SECONDS * 1000) if wait else None
        async with _explained():
            found = await self._reader.xread(
                {self._stream: _entry_id(after)}, count=MOST_READ, block=block
            )
        return [
            Entry(_position(number), fields.get(_WRITTEN_BY, b""), fields.get(_ENTRY, b""))
            for _, entries in found or ()
            for number, fields in entries
        ]

    async def put_rollouts(self, record: str) -> None:
        """Keep what is rolled out, for gateways that come later; raises JournalAway."""
        async with _explained():
            await self._client.set(f"{self._stream}:rollouts", record)

    async def rollouts(self) -> str | None:
        """Return what is rolled out, None if nothing ever was; raises JournalAway."""
        async with _explained():
            found = await self._client.get(f"{self._stream}:rollouts")
        return None if found is None else found.decode()

    async def put_token(self) -> str:
        """Put a token beside the journal and return it: other gateways look for it there.

        Raises JournalAway.
        """
        token = secrets.token_urlsafe(18)
        async with _explained():
            await self._client.set(f"{self._name}:token:{token}", b"1", ex=_TOKEN_SECONDS)
        return token

    async def has_token(self, token: str) -> bool:
        """Say whether a token was put here a short time ago; raises JournalAway."""
        async with _explained():
            return await self._client.get(f"{self._name}:token:{token}") is not None


def _entry_id(position: int) -> str:
    return f"{position >> _NUMBER_BITS}-{position & ((1 << _NUMBER_BITS) - 1)}"


def _position(entry_id: bytes) -> int:
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds) << _NUMBER_BITS | int(number)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


@asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    try:
        yield
    except (ValkeyError, OSError, TimeoutError) as error:
        raise JournalAway(_reason(error)) from None
