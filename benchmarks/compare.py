"""What does the same job cost on Plait, on bare ONNX Runtime, and on other systems?

Closed loop: throughput, p50, p99 and CPU-milliseconds a request for 1, 16 and 64
callers. Open loop: latency at fractions of the rate that each system could do at
most. Costs: what longer histories, more sources and candidates, metrics and
explaining cost Plait. Rounds are interleaved, so that a slow minute of the machine
hits every system; reported are medians over rounds. No system is measured before
it has answered a set of fixed requests with the same top 20 as the others, and
every answer that counts has been checked.

python -m benchmarks.compare [--only NAME,...] [--parts closed,open,costs] [--quick]
                             [--beside before=../before]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import costs, machine
from benchmarks.budget import Budget
from benchmarks.command import above_0, count, count_or_0, counts, ended, output, write
from benchmarks.contest import Contest, Examiner, Row, median
from benchmarks.job.publish import repository
from benchmarks.job.reference import Reference
from benchmarks.job.state import write_state
from benchmarks.job.world import world
from benchmarks.load import SHOPPERS
from benchmarks.measure import Client
from benchmarks.systems import check_names, line_up
from benchmarks.systems.environment import pinned
from benchmarks.systems.plait import Plait
from benchmarks.systems.process import ROOT
from benchmarks.tables import show
from benchmarks.versions import MEANT, WRITTEN, versions
from cli.failures import UserError

PARTS = ("closed", "open", "costs")
# Loaded by the clock too: those that matter beside each other, and stay up.
_BY_THE_CLOCK = ("plait", "plait-whole", "plain", "triton")
_FRACTIONS = (0.25, 0.5, 0.8)
# By which part of the time each part must have begun its last round.
_SHARES = {"closed": 0.6, "open": 0.75, "costs": 0.95}


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing or differs."""

    def work() -> None:
        arguments = parse()
        result = run(arguments)
        show(result)
        write(arguments.json, result)

    return ended(work)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; nothing is left running."""
    budget = Budget(60 * arguments.minutes)
    models, shop = repository(arguments.seed), world(arguments.seed)
    examiner, say = Examiner(shop, Reference(models)), teller(budget)
    result: dict[str, Any] = {
        "question": "the same job on every system: four ONNX models, union, sum, top 20",
        "machine": machine.describe(),
        "other_systems": pinned(),
        "seed": arguments.seed,
        "seconds": arguments.seconds,
    }
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        work = Path(name)
        write_state(work / "state.sqlite", shop, SHOPPERS, costs.LENGTHS)
        systems = line_up(models, work, arguments.only, arguments.beside)
        with (
            Client(models, arguments.seed) as client,
            closing(Contest(systems, client, examiner, say)) as contest,
        ):
            contest.start()
            closed = {str(n): {"callers": n} for n in arguments.callers}
            result |= _closed(contest, arguments, models, closed, budget)
            if "open" in arguments.parts:
                result["open_loop"] = _open(contest, arguments, set(closed), budget)
            plait = systems.get("plait")
            if "costs" in arguments.parts and isinstance(plait, Plait):
                lines = costs.variants(plait, models, work)
                with closing(Contest(lines, client, examiner, say)) as other:
                    other.start()
                    result["costs"] = _costs(other, arguments, budget)
            result["without_an_answer"] = contest.empty()
    return result | {"took_seconds": budget.spent}


def _closed(
    contest: Contest, arguments: argparse.Namespace, models: Path, loads: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:  # fmt: skip
    floors: list[dict[str, Any]] = []
    for number in budget.rounds(arguments.rounds, _SHARES["closed"]):
        floors.append(floor(models, arguments.seed))
        contest.round(lambda _key, _row: loads, arguments.seconds, arguments.seed + number)
    return {
        "rounds": len(floors),
        "floor": median(floors),
        "closed_loop": contest.medians(),
        "every_round": {row.system.name: dict(row.rounds) for row in contest.rows.values()},
    }


def _open(
    contest: Contest, arguments: argparse.Namespace, closed: set[str], budget: Budget
) -> dict[str, Any]:
    """Load each system by the clock, at fractions of the most it did in the closed loop."""

    def plan(key: str, row: Row) -> dict[str, dict[str, float]]:
        if key not in _BY_THE_CLOCK or row.missing:
            return {}
        loads = [median(row.rounds[name]) for name in closed & set(row.rounds)]
        most = max((seen["requests_per_second"] for seen in loads), default=0.0)
        return {f"{f:.0%}": {"rate": f * most} for f in _FRACTIONS} if most else {}

    for number in budget.rounds(arguments.rounds, _SHARES["open"]):
        contest.round(plan, arguments.seconds, arguments.seed + number)
    return {
        row.system.name: {n: median(seen) for n, seen in row.rounds.items() if n not in closed}
        for key, row in contest.rows.items()
        if key in _BY_THE_CLOCK and not row.missing
    }


def _costs(contest: Contest, arguments: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    for number in budget.rounds(arguments.rounds, _SHARES["costs"]):
        contest.round(lambda _key, _row: costs.LOAD, arguments.seconds, arguments.seed + number)
    medians = contest.medians()
    ratios = costs.ratios({key: row.rounds.get("16", []) for key, row in contest.rows.items()})
    return {
        name: loads if "not available" in loads else loads["16"] | {"cpu_ratio": ratios[name]}
        for name, loads in medians.items()
        if "not available" in loads or name in ratios
    }


def floor(models: Path, seed: int) -> dict[str, Any]:
    """Return what the job costs in one process, without a server, by batch size."""
    command = [sys.executable, "-m", "benchmarks.job.reference", "--repository", str(models)]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--seconds", "0.7"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise UserError(f"the bare models could not be run: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def teller(budget: Budget) -> Callable[[str], None]:
    """Return what tells a person how far the run is."""
    return lambda text: print(f"{budget.spent:5.0f} s  {text}", file=sys.stderr)


def parse() -> argparse.Namespace:
    """Read the command line; raises UserError."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--json", type=output, metavar="FILE", help="write everything here as well")
    add("--only", type=_names, default=[], metavar="NAME,...", help="only these systems")
    add(
        "--beside",
        action="append",
        default=[],
        metavar=WRITTEN,
        help=f"another version of Plait as well, {MEANT}",
    )
    add("--parts", type=_names, default=PARTS, metavar="PART,...", help=", ".join(PARTS))
    add("--seconds", type=above_0, default=2.5, help="measured per round and load")
    add("--callers", type=counts, default=[1, 16, 64], help="numbers of callers")
    add("--rounds", type=count, default=3, help="as far as the time allows")
    add("--minutes", type=above_0, default=12.0, help="what a run may take")
    add("--quick", action="store_true", help="one short round: whether it runs, not how fast")
    add("--seed", type=count_or_0, default=0)
    arguments = parser.parse_args()
    check_names(arguments.only)
    arguments.beside = list(versions(arguments.beside).values())
    if arguments.quick:
        arguments.seconds, arguments.rounds = 1.0, 1
    if not {"closed"} <= set(arguments.parts) <= set(PARTS):
        raise UserError(f"--parts: some of {', '.join(PARTS)}, always with 'closed'")
    return arguments


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


if __name__ == "__main__":
    sys.exit(main())
