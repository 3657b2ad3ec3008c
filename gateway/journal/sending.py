"""Entries on their way into the journal: those that wait together go in one piece."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from valkey.exceptions import OutOfMemoryError, ReadOnlyError

from gateway.errors import JournalAway
from gateway.journal.clients import MOST_BYTES, Clients, reason_of
from gateway.journal.positions import fields_of, position_of, time_of

_log = logging.getLogger(__name__)
# Entries sent in one piece.
_MOST_SENT = 256
# Seconds between two looks for entries that are too old.
_TRIM_SECONDS = 1.0
# What is kept of a journal that is full before its time.
_KEPT = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """An entry that is on its way, and who waits for it."""

    by: bytes
    raw: bytes
    beside: tuple[str, str] | None
    done: "asyncio.Future[None]"


class Sender:
    """Appends to one stream, and lets go of what is too old. Belongs to the event loop."""

    def __init__(self, clients: Clients, minutes: int) -> None:
        """`minutes`: how long entries are kept, at least."""
        self._clients = clients
        self._keep_ms = minutes * 60_000
        # The key of the stream; nothing is sent before it is known.
        self.stream = ""
        self._waiting: list[_Written] = []
        self._sending: asyncio.Task[None] | None = None
        self._trim_at = 0.0
        # Valkey's time, as its last answer told it: a gateway whose clock is ahead must not let go
        # of what others have yet to read. 0: unknown.
        self._now_ms = 0

    async def stop(self) -> None:
        """Send nothing more; who still waits hears that the journal is away."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        for written in self._waiting:
            _answer(written, JournalAway("this gateway stops"))

    async def append(self, by: bytes, raw: bytes, beside: tuple[str, str] | None) -> None:
        """Write an entry; returns once Valkey has it. Raises JournalAway.

        Entries that come while others are being sent go in one piece. `beside`: a key and
        what it is to hold from this entry on.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Written(by, raw, beside, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await done

    async def _send(self) -> None:
        while self._waiting:
            sent = self._piece()
            answers: list[Any] = [JournalAway("this gateway stops")] * len(sent)
            try:
                async with self._clients.explained():
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
            if count and size > MOST_BYTES:
                break
            count += 1
        sent, self._waiting = self._waiting[:count], self._waiting[count:]
        return sent

    async def _add(self, sent: Sequence[_Written]) -> list[Any]:
        answers = await self._try(sent)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            await self._clients.look_for_master()
        refused = [n for n, answer in enumerate(answers) if isinstance(answer, OutOfMemoryError)]
        if not refused:
            return answers
        # It has more than it has memory for before its time. Who follows has read what goes;
        # who is away finds that it misses some and copies a state.
        client = self._clients.commands
        kept = int(_KEPT * await client.xlen(self.stream))
        await client.xtrim(self.stream, maxlen=kept, approximate=True)
        _log.error("the journal was full, its oldest entries are let go", extra={"kept": kept})
        again = await self._try([sent[n] for n in refused])
        for number, answer in zip(refused, again, strict=True):
            answers[number] = answer
        return answers

    async def _try(self, sent: Sequence[_Written]) -> list[Any]:
        """Return what Valkey answered to each: an error or something else."""
        async with self._clients.commands.pipeline(transaction=False) as pipe:
            # Not with an entry: a full journal takes none, but lets itself be trimmed.
            oldest = self._now_ms - self._keep_ms
            trims = oldest > 0 and time.monotonic() > self._trim_at
            if trims:
                self._trim_at = time.monotonic() + _TRIM_SECONDS
                pipe.xtrim(self.stream, minid=oldest, approximate=True)
            for written in sent:
                pipe.xadd(self.stream, fields_of(written.by, written.raw))
                if written.beside is not None:
                    pipe.set(*written.beside)
            answers = iter((await pipe.execute(raise_on_error=False))[trims:])
        each = [_both(answers, two=written.beside is not None) for written in sent]
        for answer in each:
            if isinstance(answer, bytes):
                self._now_ms = time_of(position_of(answer))
        return each


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
        written.done.set_exception(JournalAway(reason_of(answer)))
    else:
        written.done.set_result(None)
