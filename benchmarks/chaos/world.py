"""The five real processes of a trial, on copies of what they write, and what stands between.

Everything listens on loopback and on free ports, and is gone when the world ends.
"""

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.chaos.helper import Helper
from benchmarks.chaos.load import Load
from benchmarks.chaos.small_disk import Disk, small_disk
from benchmarks.chaos.trial import Scale, Wiring
from cli.fleet_config import FleetConfig
from cli.processes import Fleet
from cli.scrape import Scrape, scrape
from cli.topology import GATEWAY, NAMES, on_free_ports

# Shoppers with a history, and items, always the same ones.
_HOUSEHOLDS = (
    "SELECT user_id FROM events GROUP BY user_id HAVING count(*) >= 20 ORDER BY user_id LIMIT 256"
)
_ITEMS = "SELECT item_id FROM items ORDER BY item_key LIMIT 200"
# Kept for their next pages.
_RANKINGS = 500


@dataclass(frozen=True, slots=True)
class Ground:
    """What a world is made from: never written to."""

    repository: Path
    seeded: Path  # a seeded state file


class World:
    """Five processes, wired as a trial wants them; use as a context manager."""

    def __init__(self, ground: Ground, wiring: Wiring, scale: Scale) -> None:
        self.ground = ground
        self.wiring = wiring
        self.scale = scale
        self.log: list[tuple[str, str]] = []
        self.helpers: dict[str, Helper] = {}
        self._stack = ExitStack()
        self.disk: Disk
        # Requests per second the processes answer (0: not measured), and the load of a trial.
        self.capacity = 0.0
        self.rate = scale.rate

    def __enter__(self) -> "World":
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.work = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-chaos-"))
        )
        self.state = self._state_directory() / "state.sqlite"
        shutil.copyfile(self.ground.seeded, self.state)
        self.users = _column(self.state, _HOUSEHOLDS)
        self.items = _column(self.state, _ITEMS)
        self.repository = self.work / "models"
        # Links: a trial may add versions; what is there stays as it is.
        for version in self.ground.repository.glob("*/[0-9]*"):
            home = self.repository / version.parent.name
            home.mkdir(parents=True, exist_ok=True)
            (home / version.name).symlink_to(version.resolve(), target_is_directory=True)
        topology = on_free_ports()
        addresses = {end.name: end.address for end in topology.sources}
        for source, module in ((self.wiring.meddled, "meddler"), (self.wiring.cut, "cutter")):
            if source:
                helper = self._stack.enter_context(Helper(module, addresses[source]))
                self.helpers[source], addresses[source] = helper, helper.address
        sources = ",".join(f"{name}={address}" for name, address in addresses.items())
        config = FleetConfig(
            repository=self.repository,
            state=self.state,
            topology=topology,
            settings={
                "PLAIT_GATEWAY_SOURCES": sources,
                "PLAIT_GATEWAY_MAX_DEADLINE_MS": str(self.scale.deadline_ms),
                "PLAIT_GATEWAY_EXPOSURE_LOG": str(self.state.with_name("exposures.jsonl")),
                # Full before memory is judged: what grows from there on is a leak.
                "PLAIT_GATEWAY_MAX_RANKINGS": str(_RANKINGS),
            },
            first_pause=1.0,
            longest_pause=1.0,
        )
        self.fleet = self._stack.enter_context(
            Fleet(config, lambda name, line: self.log.append((name, line)))
        )
        self.address = topology.gateway.address

    def _state_directory(self) -> Path:
        if not self.wiring.small_disk:
            return self.work
        # Room for a repair, which writes the file anew, and for the log.
        room = 3 * self.ground.seeded.stat().st_size // 2**20 + 160
        made = small_disk(self.work / "disk", room, lambda: self.fleet.pid(GATEWAY))
        self.disk = self._stack.enter_context(made)
        return self.work / "disk"

    def load(self, rate: float) -> Load:
        """Return a load on the gateway, to be entered."""
        return Load(self.address, self.users, rate, self.scale.seed)

    def scrape(self, name: str = GATEWAY) -> Scrape:
        """Read the metrics of a process."""
        end = self.fleet.topology.find(name)
        return scrape(end.host, end.metrics_port, timeout=10.0)

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of each process."""
        pids = {name: self.fleet.pid(name) for name in NAMES}
        return {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in pids.items()}

    def bugs(self) -> list[str]:
        """Return log lines that begin a traceback, or speak of an unexpected error."""
        return [f"{name}: {line}" for name, line in self.log if name in NAMES and _is_bug(line)]

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False if it does not come true in the scale's patience."""
        end = time.monotonic() + self.scale.patience
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.02)
        return False


def _is_bug(line: str) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        # gRPC's own core writes plain lines about broken connections, bytes of theirs included.
        return line.startswith("Traceback")
    known = ("unexpected error", "failed unexpectedly")
    return isinstance(said, dict) and said.get("message") in known


def _column(state: Path, query: str) -> list[str]:
    connection = sqlite3.connect(f"file:{state}?mode=ro", uri=True)
    try:
        return [str(row[0]) for row in connection.execute(query)]
    finally:
        connection.close()
