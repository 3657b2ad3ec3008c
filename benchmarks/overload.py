"""What happens at three times the load that the machine can carry?

Finds the capacity (closed loop), then offers a multiple of it by the clock for a
minute, then half of it, then finds the capacity again. Reported: goodput as a share of
the capacity, the mean of both; how fast refusals come back, which surfaces were served,
how soon all is as before, and CPU-milliseconds of each process. The client runs on the
same machine and takes its share of it (its CPU is in the table). Refusals are
timed twice: at the client, from when a call was due, and in the gateway, from when its
code first saw the call.

With --without the same is done with a part of the protection taken away, turn by turn,
every round with processes of its own; reported are medians over the rounds.

python -m benchmarks.overload [--json FILE] [--times 3] [--seconds 60]
                              [--rounds 3 --without turns gates]
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import demo_shop, machine
from benchmarks.command import above_0, child, count
from benchmarks.overload_load import Plan
from benchmarks.serving import Round, median
from benchmarks.unguarded import PARTS
from benchmarks.versions import setting
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.output import console, table
from cli.processes import Fleet
from cli.scrape import Buckets, scrape
from cli.topology import NAMES, Endpoint, Topology, on_free_ports

_CLIENT = "client"
WHOLE = "as it is"
# Times in milliseconds.
_COLUMNS = (
    (">Offered/s", "offered_per_second"),
    (">Complete/s", "goodput_per_second"),
    (">Died %", "died_percent"),
    (">p50", "p50_ms"),
    (">p99", "p99_ms"),
    (">Refused p50", "refused_p50_ms"),
    (">p99", "refused_p99_ms"),
    (">Inside p50", "refused_inside_p50_ms"),
    (">p99", "refused_inside_p99_ms"),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when a phase began."""

    phase: str
    cpu: Mapping[str, float]
    refusals: Buckets


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing."""
    arguments = _arguments()
    return demo_shop.main(lambda: run(arguments), show, arguments)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each variant in each round; return all of it, and medians."""
    versions = demo_shop.versions(arguments.repository)
    plan = Plan(arguments.callers, 3.0, arguments.capacity_seconds, arguments.seconds,
                arguments.times, 10.0, 0.5, arguments.rate)  # fmt: skip
    rounds: dict[str, list[Round]] = {name: [] for name in (WHOLE, *arguments.without)}
    for _, name in itertools.product(range(arguments.rounds), rounds):
        rounds[name].append(_round(name, plan, arguments))
    return {
        "question": f"{plan.times:g} times the capacity for {plan.overload:g} s, all surfaces",
        "machine": machine.describe(),
        "models": versions,
        "seed": arguments.seed,
        "plan": asdict(plan),
        "median": {name: median(seen) for name, seen in rounds.items()},
        "rounds": rounds,
    }


def _round(without: str, plan: Plan, arguments: argparse.Namespace) -> Round:
    """Start five processes on a copy of the data, measure, stop."""
    with tempfile.TemporaryDirectory(prefix="plait-overload-") as name:
        work = Path(name)
        demo_shop.prepare(arguments, work)
        settings = {"PLAIT_GATEWAY_EXPOSURE_LOG": str(work / "exposures.jsonl")}
        settings |= dict(arguments.set)
        config = FleetConfig(
            repository=arguments.repository,
            state=work / "state.sqlite",
            topology=topology(without),
            settings=settings,
            restart=False,
        )
        with Fleet(config) as fleet:
            return _drive(fleet, work, plan, arguments)


def topology(without: str) -> Topology:
    """Return free ports, and what to run there."""
    free = on_free_ports()
    if without == WHOLE:
        return free
    program = ("-m", "benchmarks.unguarded", without, *free.gateway.arguments[1:])
    return replace(free, gateway=replace(free.gateway, program=program))


def _drive(fleet: Fleet, work: Path, plan: Plan, arguments: argparse.Namespace) -> Round:
    """Run the client; note CPU and the gateway's metrics where it says that a phase begins."""
    command = [
        sys.executable, "-m", "benchmarks.overload_load",
        "--address", fleet.topology.gateway.address, "--work", str(work),
        "--plan", json.dumps(asdict(plan)), "--timeout", str(arguments.timeout),
        "--seed", str(arguments.seed),
    ]  # fmt: skip
    processes = {name: psutil.Process(fleet.pid(name)) for name in NAMES}
    marks: list[Mark] = []
    with child(command) as client:
        if client.stdout is None:
            raise UserError("the client has no output")
        processes[_CLIENT] = psutil.Process(client.pid)
        for line in client.stdout:
            if not line.startswith("phase "):
                found: Round = json.loads(line)
                break
            used = {name: _cpu_seconds(p) for name, p in processes.items()}
            marks.append(Mark(line.split()[1], used, _refusals(fleet.topology.gateway)))
    if client.returncode != 0:
        raise UserError(f"the client ended with exit code {client.returncode}")
    for before, after in itertools.pairwise(marks):
        seen = found[before.phase]
        seen["cpu_ms_per_second"] = {
            name: 1000 * (after.cpu[name] - used) / seen["seconds"]
            for name, used in before.cpu.items()
        }
        inside = after.refusals.minus(before.refusals)
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            seen[f"refused_inside_{name}_ms"] = 1000 * (inside.quantile(q) or 0.0)
    return found


def _refusals(gateway: Endpoint) -> Buckets:
    """Return how long refusals took in the gateway, until now."""
    said = scrape(gateway.host, gateway.metrics_port, timeout=10.0)
    return said.histogram("plait_request_seconds", outcome="RESOURCE_EXHAUSTED")


def _cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def show(result: dict[str, Any]) -> None:
    """Print the medians for people."""
    out = console()
    out.print(result["question"])
    for name, phases in result["median"].items():
        out.print(f"\n{name} (median of rounds: {len(result['rounds'][name])})")
        shown = table("Phase", *(title for title, _ in _COLUMNS))
        for phase, seen in phases.items():
            shown.add_row(phase, *(f"{seen[c]:.1f}" for _, c in _COLUMNS))
        out.print(shown)
        used = table("CPU-ms a second", *(f">{n}" for n in (*NAMES, _CLIENT)))
        for phase, seen in phases.items():
            used.add_row(phase, *(f"{seen['cpu_ms_per_second'][n]:.0f}" for n in (*NAMES, _CLIENT)))
        out.print(used)
        for phase, seen in phases.items():
            shares = ", ".join(f"{s} {100 * v:.0f} %" for s, v in seen["served_share"].items())
            last = result["rounds"][name][-1][phase]["outcomes"]
            out.print(f"{phase}: served {shares}; last round {last}")
        out.print(
            f"goodput under overload {100 * phases['overload']['share_of_capacity']:.0f} % of "
            f"capacity; recovered after {phases['after']['recovered_after_s']:.1f} s"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=above_0, default=3.0, help="overload, times the capacity")
    parser.add_argument("--rate", type=above_0, default=0.0, help="a second, instead of times")
    parser.add_argument("--seconds", type=above_0, default=60.0, help="of overload")
    parser.add_argument("--rounds", type=count, default=1)
    parser.add_argument("--without", nargs="*", default=[], choices=list(PARTS), metavar="PART",
                        help=f"also without this part: {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--capacity-seconds", type=above_0, default=10.0)
    parser.add_argument("--callers", type=count, default=16, help="that find the capacity")
    parser.add_argument("--timeout", type=above_0, default=0.5, help="seconds a caller waits")
    demo_shop.add_arguments(parser)
    parser.add_argument("--set", action="append", type=setting, default=[],
                        metavar="PLAIT_GATEWAY_X=VALUE",
                        help="a setting of the processes under test")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
