"""The journal as Valkey keeps it, without a gateway."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from valkey import Valkey as Client

from benchmarks.valkey import Valkey, running_valkey
from gateway.errors import JournalAway
from gateway.journal.stream import Journal


@contextmanager
def standing_still(valkey: Valkey) -> Iterator[None]:
    """Have it answer nobody for the length of the block, and go on then."""
    pid = valkey.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_who_waits_for_valkey_as_the_gateway_ends_hears_of_it(valkey: Valkey) -> None:
    journal = Journal(valkey.url, minutes=1)
    journal.follow(1)
    with standing_still(valkey):
        waiting = [asyncio.create_task(journal.append(b"x", b"y")) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(journal.append(b"x", b"y")))
        await asyncio.sleep(0.1)
        await journal.stop()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(a) for a in answers] == ["the journal is away (this gateway stops)"] * 3


async def test_a_server_that_is_the_master_no_longer_is_left_for_who_is(
    valkey: Valkey, tmp_path: Path
) -> None:
    with running_valkey(tmp_path / "next") as following:
        port = valkey.port

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(piped(reader, back), piped(there, writer))

        async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as named:
            address = named.sockets[0].getsockname()
            journal = Journal(f"valkey://127.0.0.1:{address[1]}/0", minutes=1)
            assert await journal.found(7) == 7
            port = following.port
            with Client.from_url(valkey.url) as client:
                client.replicaof("127.0.0.1", str(following.port))
            with pytest.raises(JournalAway, match="read only"):
                await journal.found(7)
            assert await journal.found(7) == 7
            # Its reader too: it would wait for ever for what that one hears no more.
            journal.follow(7)
            await journal.append(b"x", b"y")
            with pytest.raises(JournalAway, match="master no longer"):
                await journal.read(0, wait=False)
            entries, _ = await journal.read(0, wait=False)
            assert [entry.raw for entry in entries] == [b"y"]
            await journal.stop()


async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(1 << 16):
        writer.write(content)
    writer.close()


async def test_what_its_caller_waits_for_no_more_is_not_written_later(valkey: Valkey) -> None:
    journal = Journal(valkey.url, minutes=1)
    journal.follow(1)
    with standing_still(valkey):
        sent = asyncio.create_task(journal.append(b"x", b"sent"))
        await asyncio.sleep(0.1)
        gone = asyncio.create_task(journal.append(b"x", b"gone"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await asyncio.gather(sent, return_exceptions=True)
    await journal.append(b"x", b"later")
    entries, _ = await journal.read(0, wait=False)
    await journal.stop()
    assert [entry.raw for entry in entries if entry.raw != b"sent"] == [b"later"]
