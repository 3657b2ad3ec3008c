"""What happens at three times the load that the machine can carry?

Finds the capacity (closed loop), then offers a multiple of it by the clock for a
minute, then half of it. Reported: goodput as a share of the capacity, how fast
refusals come back, which surfaces were served, how soon all is as before, and
CPU-milliseconds of each process. The client runs on the same machine and takes
its share of it (its CPU is in the table).

python -m benchmarks.overload [--json FILE] [--times 3] [--seconds 60]
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from artifacts.errors import ArtifactError
from artifacts.layout import find
from benchmarks import machine
from benchmarks.overload_load import Plan
from benchmarks.serving import prepare
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.output import console, table
from cli.processes import Fleet
from cli.topology import NAMES, SOURCES, on_free_ports
from models.data.errors import DataError

_CLIENT = "client"


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing."""
    arguments = _arguments()
    try:
        result = run(arguments)
    except (ArtifactError, DataError, UserError) as error:
        message = error.message if isinstance(error, UserError) else str(error)
        print(f"{message}\nThe benchmark needs the demo's data and models: make train",
              file=sys.stderr)  # fmt: skip
        return 1
    show(result)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the five processes on a copy of the data, measure, stop; return the result."""
    versions = {name: find(arguments.repository, name).name for name in (*SOURCES, "fusion")}
    plan = Plan(arguments.callers, 3.0, arguments.capacity_seconds, arguments.seconds,
                arguments.times, 10.0, 0.5, arguments.rate)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="plait-overload-") as name:
        work = Path(name)
        prepare(arguments, work)
        settings = {"PLAIT_GATEWAY_EXPOSURE_LOG": str(work / "exposures.jsonl")}
        settings |= dict(s.split("=", 1) for s in arguments.set)
        config = FleetConfig(
            repository=arguments.repository,
            state=work / "state.sqlite",
            topology=on_free_ports(),
            settings=settings,
            restart=False,
        )
        with Fleet(config) as fleet:
            phases = _drive(fleet, work, plan, arguments)
    return {
        "question": f"{plan.times:g} times the capacity for {plan.overload:g} s, all surfaces",
        "machine": machine.describe(),
        "models": versions,
        "seed": arguments.seed,
        "plan": asdict(plan),
        "phases": phases,
    }


def _drive(
    fleet: Fleet, work: Path, plan: Plan, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Run the client; note CPU where it says that a phase begins."""
    command = [
        sys.executable, "-m", "benchmarks.overload_load",
        "--address", fleet.topology.gateway.address, "--work", str(work),
        "--plan", json.dumps(asdict(plan)), "--timeout", str(arguments.timeout),
        "--seed", str(arguments.seed),
    ]  # fmt: skip
    processes = {name: psutil.Process(fleet.pid(name)) for name in NAMES}
    marks: list[tuple[str, dict[str, float]]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        if client.stdout is None:
            raise UserError("the client has no output")
        processes[_CLIENT] = psutil.Process(client.pid)
        for line in client.stdout:
            if not line.startswith("phase "):
                found: dict[str, dict[str, Any]] = json.loads(line)
                break
            used = {name: _cpu_seconds(p) for name, p in processes.items()}
            marks.append((line.split()[1], used))
    if client.returncode != 0:
        raise UserError(f"the client ended with exit code {client.returncode}")
    for (phase, before), (_, after) in itertools.pairwise(marks):
        seconds = found[phase]["seconds"]
        found[phase]["cpu_ms_per_second"] = {
            name: 1000 * (after[name] - before[name]) / seconds for name in before
        }
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def show(result: dict[str, Any]) -> None:
    """Print the phases for people."""
    out = console()
    phases = result["phases"]
    out.print(result["question"], markup=False)
    shown = table("Phase", ">Offered/s", ">Answered/s", ">p50 ms", ">p99 ms",
                  ">Refused p50 ms", ">p99 ms")  # fmt: skip
    for name, seen in phases.items():
        cells = ("offered_per_second", "goodput_per_second", "p50_ms", "p99_ms",
                 "refused_p50_ms", "refused_p99_ms")  # fmt: skip
        shown.add_row(name, *(f"{seen[c]:.1f}" for c in cells))
    out.print(shown)
    used = table("CPU-ms a second", *(f">{n}" for n in (*NAMES, _CLIENT)))
    for name, seen in phases.items():
        cpu = seen["cpu_ms_per_second"]
        used.add_row(name, *(f"{cpu[n]:.0f}" for n in (*NAMES, _CLIENT)))
    out.print(used)
    for name, seen in phases.items():
        shares = ", ".join(f"{s} {100 * v:.0f} %" for s, v in seen["served_share"].items())
        out.print(f"{name}: served {shares}; {seen['outcomes']}", markup=False)
    share = phases["overload"]["goodput_per_second"] / phases["capacity"]["goodput_per_second"]
    out.print(
        f"goodput under overload {100 * share:.0f} % of capacity; "
        f"recovered after {phases['after']['recovered_after_s']:.1f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here as well")
    parser.add_argument("--times", type=float, default=3.0, help="overload, times the capacity")
    parser.add_argument("--rate", type=float, default=0.0, help="a second, instead of times")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--capacity-seconds", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=16, help="that find the capacity")
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds a caller waits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repository", type=Path, default=Path("var/models"))
    parser.add_argument("--dataset", type=Path, default=Path("var/data/complete-journey"))
    parser.add_argument("--seeded", type=Path, default=Path("var/demo/seed.sqlite"))
    parser.add_argument("--set", action="append", default=[], metavar="PLAIT_GATEWAY_X=VALUE",
                        help="a setting of the processes under test")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
