"""What does a request cost as the catalogue grows?

For each size a made-up shop (benchmarks/large_data.py) goes through the real
`plait import`, `plait train --preset quick` and `plait seed`, once, and is kept. Then
five processes serve it and one caller at a time asks for HOME; all sizes take turns,
so that a slow minute of the machine hits all of them. CPU is summed over the five
processes. A million items take about an hour to prepare and 10 GB of memory.

python -m benchmarks.catalogue [--sizes 20000,100000] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from artifacts import manifest
from artifacts.layout import find
from benchmarks import large_data, machine
from benchmarks.command import (
    above_0,
    child,
    count,
    count_or_0,
    counts,
    ended,
    folder,
    output,
    write,
)
from benchmarks.demo_shop import users_and_histories
from benchmarks.serving import Round, load, median
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.output import console, table
from cli.processes import Fleet
from cli.topology import NAMES, SOURCES, on_free_ports
from gateway.config import GatewayConfig
from models.data.dataset import load_dataset
from services.runtime import config

_USERS_PER_ITEM = 0.1
_LEAST_USERS = 4_000
_EVENTS_EACH = 40
# The size that others are compared with.
_BASE = 20_000
_NOT_ASKED = "PLAIT_GATEWAY_NOT_ASKED"


def main() -> int:
    """Run the benchmark; 1 with one line where something fails."""
    arguments = _arguments()
    sizes = sorted(set(arguments.sizes))

    def work() -> None:
        for size in sizes:
            prepare(arguments.directory / str(size), size)
        result = run(arguments, sizes)
        show(result)
        write(arguments.json, result)

    return ended(work)


def prepare(home: Path, size: int) -> None:
    """Make, import, train and seed a shop of this size, unless it is there already."""
    if (home / "prepared.json").is_file():
        return
    users = max(_LEAST_USERS, int(size * _USERS_PER_ITEM))
    steps = {
        "import": ["import", "parquet", str(home / "raw"), str(home / "data")],
        "train": ["train", str(home / "data"), str(home / "models"), "--preset", "quick"],
        "seed": ["seed", str(home / "data"), "--state", str(home / "state.sqlite"), "--replace"],
    }
    large_data.write(home / "raw", size, (users, _EVENTS_EACH), seed=0)
    took = {"import": _step(steps["import"])}
    large_data.write_cheap_vectors(pl.read_parquet(home / "data" / "items.parquet"))
    took |= {name: _step(steps[name]) for name in ("train", "seed")}
    (home / "prepared.json").write_text(json.dumps(took))


def _step(command: list[str]) -> dict[str, float]:
    """Run a `plait` command; return its seconds and the most memory it had."""
    began, peak = time.perf_counter(), 0
    with child([sys.executable, "-m", "cli.main", *command], subprocess.STDOUT) as process:
        inside = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, inside.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise UserError(f"plait {' '.join(command)} failed: {said.strip()[-800:]}")
    return {"seconds": time.perf_counter() - began, "peak_gb": peak / 1e9}


def run(arguments: argparse.Namespace, sizes: list[int]) -> dict[str, Any]:
    """Serve all sizes, let them take turns, and return what each cost."""
    rounds: dict[str, list[Round]] = {str(size): [] for size in sizes}
    facts: dict[str, Any] = {}
    with ExitStack() as stack:
        fleets: dict[int, tuple[Fleet, Path]] = {}
        for size in sizes:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-bench-")))
            home = arguments.directory / str(size)
            users_and_histories(load_dataset(home / "data"), work, arguments.seed)
            began = time.perf_counter()
            fleet = stack.enter_context(Fleet(_config(home, work, arguments.not_asked)))
            facts[str(size)] = {"start_seconds": time.perf_counter() - began, **_facts(home)}
            fleets[size] = fleet, work
            load(fleet, work, 1, arguments.seconds, arguments.seed)  # warms caches, not counted
        for number in range(arguments.rounds):
            for size, (fleet, work) in fleets.items():
                seen = load(fleet, work, 1, arguments.seconds, arguments.seed + number)
                rounds[str(size)].append(seen)
        for size, (fleet, _) in fleets.items():
            facts[str(size)]["memory_mb"] = {name: _memory(fleet.pid(name)) for name in NAMES}
    return {
        "question": "Recommend HOME, page of 20, one caller, five processes, by catalogue size",
        "machine": machine.describe(),
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "facts": facts,
        "median": {size: median(found) for size, found in rounds.items()},
        "rounds": rounds,
    }


def _config(home: Path, work: Path, not_asked: str) -> FleetConfig:
    return FleetConfig(
        repository=home / "models",
        state=home / "state.sqlite",
        topology=on_free_ports(),
        settings={
            "PLAIT_GATEWAY_EXPOSURE_LOG": str(work / "exposures.jsonl"),
            _NOT_ASKED: not_asked,
        },
        restart=False,
    )


def _facts(home: Path) -> dict[str, Any]:
    """What was paid before serving, and what the indexes find."""
    read = {name: manifest.read(find(home / "models", name)) for name in SOURCES}
    recall = {n: m.metrics.get("index_recall@100", 1.0) for n, m in read.items() if n != "cf"}
    return {"prepared": json.loads((home / "prepared.json").read_text()), "recall": recall}


def _memory(pid: int) -> float:
    """Return a process's memory in MB; what is mapped by several counts in part."""
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


def show(result: dict[str, Any]) -> None:
    """Print a line per size."""
    out = console()
    out.print(result["question"])
    rows = table(">Items", ">CPU ms", ">Times", ">Gateway ms", ">p50 ms", ">Not ok %",
                 ">Recall", ">Memory MB", ">B/item", ">Start s")  # fmt: skip
    sizes = list(result["median"])
    base = result["median"].get(str(_BASE), result["median"][sizes[0]])["cpu_ms_per_request"]
    small = sum(result["facts"][sizes[0]]["memory_mb"].values())
    for size, seen in result["median"].items():
        facts = result["facts"][size]
        memory, more = sum(facts["memory_mb"].values()), int(size) - int(sizes[0])
        rows.add_row(
            f"{int(size):,}",
            f"{seen['cpu_ms_per_request']:.2f}",
            f"{seen['cpu_ms_per_request'] / base:.2f}",
            f"{seen['cpu_ms_by_process']['gateway']:.2f}",
            f"{seen['p50_ms']:.1f}",
            f"{100 * seen['not_ok'] / seen['requests']:.1f}",
            f"{min(facts['recall'].values()):.3f}",
            f"{memory:,.0f}",
            f"{1e6 * (memory - small) / more:,.0f}" if more else "-",
            f"{facts['start_seconds']:.1f}",
        )
    out.print(rows)


def _not_asked(text: str) -> str:
    """Check the setting for argparse: the gateway would refuse it when all shops are made."""
    try:
        config.load(GatewayConfig, "gateway", {_NOT_ASKED: text})
    except config.ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=counts, default="10000,20000,100000")
    parser.add_argument(
        "--not-asked", type=_not_asked, default="",
        help="the gateway's setting, as HOME=text: without text",
    )  # fmt: skip
    parser.add_argument("--directory", type=folder, default=Path("var/benchmarks/catalogue"))
    parser.add_argument("--json", type=output, metavar="FILE", help="write everything here as well")
    parser.add_argument("--seconds", type=above_0, default=5.0, help="measured per round and size")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--seed", type=count_or_0, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
