"""How much does a home recommendation cost through all five processes?

Requests per second, p50, p99 and CPU-milliseconds per request (summed over the
five processes: the figure that noise on a shared machine moves least) for 1, 16
and 64 callers, beside the bare cost of the same four models in one process.
Rounds are interleaved, so that a slow minute of the machine hits all of them;
reported is the median over rounds.

python -m benchmarks.serving [--json FILE] [--seconds N] [--callers 1,16,64]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import demo_shop, machine
from benchmarks.command import above_0, child, count, counts
from benchmarks.report import show
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.processes import Fleet
from cli.topology import NAMES, on_free_ports

Round = dict[str, Any]


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing."""
    arguments = _arguments()
    return demo_shop.main(lambda: run(arguments), show, arguments)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the five processes on a copy of the data, measure, stop; return the result."""
    versions = demo_shop.versions(arguments.repository)
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        work = Path(name)
        demo_shop.prepare(arguments, work)
        config = FleetConfig(
            repository=arguments.repository,
            state=work / "state.sqlite",
            topology=on_free_ports(),
            settings={
                "PLAIT_GATEWAY_EXPOSURE_LOG": str(work / "exposures.jsonl"),
                # Callers who ask again at once, refused or not, are no shop: with time
                # enough all are served, and what they wait for is seen.
                "PLAIT_GATEWAY_MAX_DEADLINE_MS": "5000",
            },
            restart=False,
        )
        with Fleet(config) as fleet:
            load(fleet, work, 16, arguments.seconds, arguments.seed)  # warms caches, not counted
            for number in range(arguments.rounds):
                seen = {
                    str(n): load(fleet, work, n, arguments.seconds, arguments.seed + number)
                    for n in arguments.callers
                }
                rounds.append({"serving": seen, "bare": _bare(arguments, work)})
    return {
        "question": "Recommend HOME, page of 20, closed loop, five processes on one machine",
        "machine": machine.describe(),
        "models": versions,
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "median": median(rounds),
        "rounds": rounds,
    }


def median(rounds: Sequence[Round]) -> Round:
    """Return the median over rounds of every number."""
    first = rounds[0]
    made: Round = {}
    for key, value in first.items():
        values = [r[key] for r in rounds if key in r]
        made[key] = median(values) if isinstance(value, Mapping) else statistics.median(values)
    return made


def load(fleet: Fleet, work: Path, callers: int, seconds: float, seed: int) -> Round:
    """Run the client once; CPU is read over exactly the measured stretch."""
    command = [
        sys.executable, "-m", "benchmarks.callers",
        "--address", fleet.topology.gateway.address, "--users", str(work / "users.json"),
        "--callers", str(callers), "--seconds", str(seconds), "--seed", str(seed),
    ]  # fmt: skip
    processes = {name: psutil.Process(fleet.pid(name)) for name in NAMES}
    with child(command) as client:
        if client.stdout is None:
            raise UserError("the client has no output")
        client.stdout.readline()
        before = {name: _cpu_seconds(p) for name, p in processes.items()}
        client.stdout.readline()
        after = {name: _cpu_seconds(p) for name, p in processes.items()}
        text = client.stdout.read()
    if client.returncode != 0:
        raise UserError(f"the client ended with exit code {client.returncode}")
    return figures(json.loads(text), {n: after[n] - before[n] for n in NAMES})


def figures(seen: Mapping[str, Any], cpu: Mapping[str, float]) -> Round:
    """Turn latencies (seconds) and CPU-seconds by process into the reported figures.

    Rate, latencies and CPU are those of rankings; `requests` are all that ended.
    """
    latencies, outcomes = sorted(seen["latencies"]), seen["outcomes"]
    count, ended = len(latencies), sum(outcomes.values())
    if not count:
        raise UserError(f"no request was answered in the measured time: {outcomes or 'none ended'}")
    return {
        "requests": ended,
        "requests_per_second": count / seen["seconds"],
        "p50_ms": 1000 * latencies[count // 2],
        "p99_ms": 1000 * latencies[min(count - 1, int(0.99 * count))],
        "cpu_ms_per_request": 1000 * sum(cpu.values()) / count,
        "cpu_ms_by_process": {name: 1000 * used / count for name, used in cpu.items()},
        "not_ok": ended - outcomes.get("ok", 0),
    }


def _cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _bare(arguments: argparse.Namespace, work: Path) -> Round:
    command = [
        sys.executable, "-m", "benchmarks.bare", "--repository", str(arguments.repository),
        "--histories", str(work / "histories.json"), "--seconds", "0.5",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"the bare models could not be run: {done.stderr.strip()[-500:]}")
    found: Round = json.loads(done.stdout)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=above_0, default=5.0, help="measured per round and load")
    parser.add_argument("--callers", type=counts, default=[1, 16, 64], help="numbers of callers")
    parser.add_argument("--rounds", type=count, default=3)
    demo_shop.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
