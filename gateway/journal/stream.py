"""The journal as Valkey keeps it: one stream, appended to by all, read by all.

Positions are Valkey's own entry ids, milliseconds and a number within them, as one
integer. The stream is kept for some time only: whoever was away for longer copies the
state of another gateway.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from valkey.asyncio import Valkey
from valkey.exceptions import (
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    ValkeyError,
    WatchError,
)

from gateway.errors import JournalAway

_log = logging.getLogger(__name__)
_NUMBER_BITS = 20
_WRITTEN_BY, _ENTRY = b"by", b"entry"
# Seconds that a command may take; reading waits for entries, and so gets more.
_SECONDS, _WAIT_SECONDS = 1.0, 1.0
# Entries sent in one piece, and read in one.
_MOST_SENT, _MOST_READ = 256, 256
# Entries looked at together for who wrote them: each comes with all it holds.
_FEW = 16
# Bytes that should come in one piece; an entry may have some megabytes.
_MOST_BYTES = 4 << 20
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


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """An entry that is on its way, and who waits for it."""

    by: bytes
    raw: bytes
    rollouts: str | None
    done: "asyncio.Future[None]"


def new_identity() -> int:
    """Return what no other journal is called by."""
    return secrets.randbits(62) + 1


class Journal:
    """One journal. Belongs to the event loop."""

    def __init__(self, url: str, minutes: int, password: str = "") -> None:
        """`minutes`: how long entries are kept, at least; `password`: where the URL has none."""
        self._keep_ms = minutes * 60_000
        self._client: Valkey = Valkey.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway",
            password=password or None,
        )
        # Apart, as it waits: a socket that stands still is told from one that has nothing.
        self._reader: Valkey = Valkey.from_url(
            url,
            socket_timeout=_WAIT_SECONDS + _SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway-reader",
            valkey_connect_func=self._reader_connects,
            password=password or None,
        )
        # Connections the reader has made. The client makes another without a word where one
        # was closed while it had nothing to do, and the server at its end may be another.
        self.connections = 0
        self._name = "plait:journal"
        self._stream = self._name
        self._waiting: list[_Written] = []
        self._sending: asyncio.Task[None] | None = None
        self._trim_at = 0.0
        # Valkey's time, as its last answer told it: a gateway whose clock is ahead must not let go
        # of what others have yet to read. 0: unknown.
        self._now_ms = 0
        # Entries asked for at once: fewer where they are large.
        self._count = 16
        # Whether the reader's server may be the master no longer.
        self._left = False

    def about(self, error: JournalAway) -> dict[str, str]:
        """Return what the log says of an error: its reason, and where Valkey is.

        That is HOST:PORT or a socket, without user and password.
        """
        known = self._client.connection_pool.connection_kwargs
        where = str(known.get("path") or f"{known.get('host')}:{known.get('port', 6379)}")
        return {"reason": error.reason, "journal": where}

    async def stop(self) -> None:
        """Let go of Valkey; who still waits for it hears that it is away."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        for written in self._waiting:
            _answer(written, JournalAway("this gateway stops"))
        for client in (self._client, self._reader):
            # Of a server that stands still: whatever else there is to close must be.
            with contextlib.suppress(ValkeyError, OSError, TimeoutError):
                await client.aclose()

    async def identity(self) -> int | None:
        """Return which journal this is, None where there is none yet; raises JournalAway."""
        async with self._explained():
            raw = await self._client.get(self._name)
        return None if raw is None else self._read(raw)

    async def found(self, identity: int) -> int:
        """Have the journal be this one, unless it is another; return which it is.

        Raises JournalAway.
        """
        async with self._explained():
            await self._client.set(self._name, str(identity), nx=True)
            held = await self._client.get(self._name)
        return identity if held is None else self._read(held)

    def _read(self, raw: bytes) -> int:
        if not raw.isdigit():
            raise JournalAway(f"the key {self._name} holds something that is not Plait's")
        return int(raw)

    def follow(self, identity: int) -> None:
        """Read and write the entries of this one from here on."""
        # In its name, so that no gateway writes into another journal by mistake.
        self._stream = f"{self._name}:{identity}"

    async def _reader_connects(self, connection: Any) -> None:
        self.connections += 1
        await connection.on_connect()

    async def connected(self) -> int:
        """Have the reader connected, and return `connections`; raises JournalAway."""
        async with self._explained():
            await self._reader.ping()
        return self.connections

    async def bounds(self, *, reading: bool = False) -> Bounds:
        """Return what the journal spans; raises JournalAway.

        `reading`: as the server has it that is read from; not while `read` is under way.
        """
        client = self._reader if reading else self._client
        async with self._explained():
            try:
                found = await client.xinfo_stream(self._stream)
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise  # taken for an empty one, all of it would be read again
                return Bounds()  # no entry as yet
        first = found["first-entry"]
        return Bounds(
            _position(first[0]) if first else 0,
            _position(found["last-generated-id"]),
            found["entries-added"] > found["length"],
        )

    async def append(self, by: bytes, raw: bytes, rollouts: str | None = None) -> None:
        """Write an entry; returns once Valkey has it. Raises JournalAway.

        Entries that come while others are being sent go in one piece. `rollouts`: what is
        rolled out from this entry on, kept for gateways that come later.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Written(by, raw, rollouts, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await done

    async def _send(self) -> None:
        while self._waiting:
            sent = self._piece()
            answers: list[Any] = [JournalAway("this gateway stops")] * len(sent)
            try:
                async with self._explained():
                    answers = await self._add(sent)
            except JournalAway as error:
                answers = [error] * len(sent)
            except Exception as error:  # whoever waits must hear of it, and the next be sent
                _log.exception("writing to the journal failed")
                answers = [JournalAway(type(error).__name__)] * len(sent)
            finally:
                for written, answer in zip(sent, answers, strict=True):
                    _answer(written, answer)

    def _piece(self) -> list[_Written]:
        """Take what is to be sent next, if anything: no more than comes in time."""
        # Whoever has gone may have written again elsewhere: what comes late would undo that.
        self._waiting = [written for written in self._waiting if not written.done.done()]
        count = size = 0
        for written in self._waiting[:_MOST_SENT]:
            size += len(written.raw)
            if count and size > _MOST_BYTES:
                break
            count += 1
        sent, self._waiting = self._waiting[:count], self._waiting[count:]
        return sent

    async def _add(self, sent: Sequence[_Written]) -> list[Any]:
        answers = await self._try(sent)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            await self._look_for_master()
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

    async def _try(self, sent: Sequence[_Written]) -> list[Any]:
        """Return what Valkey answered to each: an error or something else."""
        async with self._client.pipeline(transaction=False) as pipe:
            # Not with an entry: a full journal takes none, but lets itself be trimmed.
            oldest = self._now_ms - self._keep_ms
            trims = oldest > 0 and time.monotonic() > self._trim_at
            if trims:
                self._trim_at = time.monotonic() + _TRIM_SECONDS
                pipe.xtrim(self._stream, minid=oldest, approximate=True)
            for written in sent:
                fields: dict[Any, Any] = {_WRITTEN_BY: written.by, _ENTRY: written.raw}
                pipe.xadd(self._stream, fields)
                if written.rollouts is not None:
                    pipe.set(self._rollouts, written.rollouts)
            answers = iter((await pipe.execute(raise_on_error=False))[trims:])
        each = [_both(answers, two=written.rollouts is not None) for written in sent]
        for answer in each:
            if isinstance(answer, bytes):
                self._now_ms = _position(answer) >> _NUMBER_BITS
        return each

    async def last_of(self, taken: Mapping[int, bytes]) -> int:
        """Return the position of the last of some entries that is there, 0 where none is.

        As the server has it that is read from; not while `read` is under way. `taken`: who
        wrote each, by position; at least one. Raises JournalAway.
        """
        oldest, newest = min(taken), max(taken)
        count = 1  # mostly the last one is there
        while newest >= oldest:
            async with self._explained():
                found = await self._reader.xrevrange(
                    self._stream, _entry_id(newest), _entry_id(oldest), count=count
                )
            for number, fields in found:
                position = _position(number)
                if taken.get(position) == fields.get(_WRITTEN_BY, b""):
                    return position
                newest = position - 1
            if len(found) < count:
                break
            count = _FEW
        return 0

    async def read(self, after: int, *, wait: bool) -> tuple[list[Entry], bool]:
        """Return the next entries, oldest first, and whether there may be more by now.

        With `wait`, after a second at most if there are none. Raises JournalAway.
        """
        if self._left:
            self._left = False
            await self._reader.connection_pool.disconnect(inuse_connections=False)
            raise JournalAway("its server is the master no longer")
        asked = self._count
        # Should this one be too much to come in its time, the next is not.
        self._count = max(asked // 4, 1)
        block = int(_WAIT_SECONDS * 1000) if wait else None
        async with self._explained():
            found = await self._reader.xread(
                {self._stream: _entry_id(after)}, count=asked, block=block
            )
        read = [
            Entry(_position(number), fields.get(_WRITTEN_BY, b""), fields.get(_ENTRY, b""))
            for _, entries in found or ()
            for number, fields in entries
        ]
        large = sum(len(entry.raw) for entry in read) > _MOST_BYTES
        self._count = max(asked // 2, 1) if large else min(asked * 2, _MOST_READ)
        return read, len(read) == asked

    async def put_rollouts(self, record: str, raw: bytes, *, before: str | None) -> None:
        """Write what is rolled out, and keep it, unless `before` is no longer what is kept.

        `raw`: its entry. Raises JournalAway.
        """
        async with self._explained(), self._client.pipeline(transaction=True) as made:
            pipe: Any = made
            await pipe.watch(self._rollouts)
            found = await pipe.get(self._rollouts)
            if (None if found is None else found.decode()) != before:
                return
            pipe.multi()
            pipe.xadd(self._stream, {_WRITTEN_BY: b"", _ENTRY: raw})
            pipe.set(self._rollouts, record)
            with contextlib.suppress(WatchError):
                await pipe.execute()

    async def rollouts(self) -> str | None:
        """Return what is rolled out, None if nothing ever was; raises JournalAway."""
        async with self._explained():
            found = await self._client.get(self._rollouts)
        return None if found is None else found.decode()

    @property
    def _rollouts(self) -> str:
        return f"{self._stream}:rollouts"

    @asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """Have a command end as JournalAway or as it is meant to, also where its task is cancelled.

        The client sends by asyncio.wait_for, which on Python 3.11 forgets a cancellation that
        comes as the command has just been sent: whoever waits for the task's end waits for ever.
        """
        try:
            try:
                yield
            except ReadOnlyError:
                await self._look_for_master()
                raise
        except (ValkeyError, OSError, TimeoutError) as error:
            raise JournalAway(_reason(error)) from None
        finally:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError

    async def _look_for_master(self) -> None:
        """Let go of a server that is the master no longer: new connections find who is."""
        self._left = True
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def put_token(self) -> str:
        """Put a token beside the journal and return it: other gateways look for it there.

        Raises JournalAway.
        """
        token = secrets.token_urlsafe(18)
        async with self._explained():
            await self._client.set(f"{self._name}:token:{token}", b"1", ex=_TOKEN_SECONDS)
        return token

    async def has_token(self, token: str) -> bool:
        """Say whether a token was put here a short time ago; raises JournalAway."""
        async with self._explained():
            return await self._client.get(f"{self._name}:token:{token}") is not None


def _both(answers: Iterator[Any], *, two: bool) -> Any:
    """Return the answer to one entry; where something was kept beside it, the worse of both."""
    first = next(answers)
    second = next(answers) if two else None
    return second if isinstance(second, Exception) else first


def _answer(written: _Written, answer: Any) -> None:
    if written.done.done():  # the caller has gone
        return
    if isinstance(answer, JournalAway):
        written.done.set_exception(answer)
    elif isinstance(answer, Exception):
        written.done.set_exception(JournalAway(_reason(answer)))
    else:
        written.done.set_result(None)


def _entry_id(position: int) -> str:
    return f"{position >> _NUMBER_BITS}-{position & ((1 << _NUMBER_BITS) - 1)}"


def _position(entry_id: bytes) -> int:
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds) << _NUMBER_BITS | int(number)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
