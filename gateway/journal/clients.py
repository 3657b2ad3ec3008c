"""The connections to the journal's Valkey, and what it means that a command fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from valkey.asyncio import Valkey
from valkey.exceptions import ReadOnlyError, ValkeyError

from gateway.errors import JournalAway

# Longest that reading waits for entries, in seconds.
WAIT_SECONDS = 1.0
# Seconds that a command may take; reading waits for entries, and so gets more.
_SECONDS = 1.0
# Bytes that should come in one piece; an entry may have some megabytes.
MOST_BYTES = 4 << 20


class Clients:
    """One for commands, and one that reads. Belongs to the event loop."""

    def __init__(self, url: str, password: str) -> None:
        """`password`: where the URL has none."""
        self.commands: Valkey = Valkey.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway",
            password=password or None,
        )
        # Apart, as it waits: a socket that stands still is told from one that has nothing.
        self.reader: Valkey = Valkey.from_url(
            url,
            socket_timeout=WAIT_SECONDS + _SECONDS,
            socket_connect_timeout=_SECONDS,
            client_name="plait-gateway-reader",
            valkey_connect_func=self._reader_connects,
            password=password or None,
        )
        # Connections the reader has made. The client makes another without a word where one
        # was closed while it had nothing to do, and the server at its end may be another.
        self.connections = 0
        # Whether the reader's server may be the master no longer.
        self._left = False

    async def _reader_connects(self, connection: Any) -> None:
        self.connections += 1
        await connection.on_connect()

    @property
    def address(self) -> str:
        """Where Valkey is: HOST:PORT or a socket, without user and password."""
        known = self.commands.connection_pool.connection_kwargs
        return str(known.get("path") or f"{known.get('host')}:{known.get('port', 6379)}")

    async def close(self) -> None:
        """Let go of Valkey."""
        for client in (self.commands, self.reader):
            # Of a server that stands still: whatever else there is to close must be.
            with contextlib.suppress(ValkeyError, OSError, TimeoutError):
                await client.aclose()

    @asynccontextmanager
    async def explained(self) -> AsyncIterator[None]:
        """Have a command end as JournalAway or as it is meant to, also where its task is cancelled.

        The client sends by asyncio.wait_for, which on Python 3.11 forgets a cancellation that
        comes as the command has just been sent: whoever waits for the task's end waits for ever.
        """
        try:
            try:
                yield
            except ReadOnlyError:
                await self.look_for_master()
                raise
        except (ValkeyError, OSError, TimeoutError) as error:
            raise JournalAway(reason_of(error)) from None
        finally:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError

    async def look_for_master(self) -> None:
        """Let go of a server that is the master no longer: new connections find who is."""
        self._left = True
        await self.commands.connection_pool.disconnect(inuse_connections=False)

    async def before_reading(self) -> None:
        """Have the reader leave such a server as well; raises JournalAway where it did."""
        if self._left:
            self._left = False
            await self.reader.connection_pool.disconnect(inuse_connections=False)
            raise JournalAway("its server is the master no longer")


def reason_of(error: BaseException) -> str:
    """Return why the journal is away, for the log."""
    return str(error) or type(error).__name__
