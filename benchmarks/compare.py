"""What does the same job cost on Plait, on bare ONNX Runtime, and on other systems?

Throughput, p50, p99 and CPU-milliseconds a request for 1, 16 and 64 callers. Rounds
are interleaved, so that a slow minute of the machine hits every system; reported
are medians over rounds. No system is measured before it has answered a set of
fixed requests with the same top 20 as the others, and every answer that counts has
been checked.

python -m benchmarks.compare [--only NAME,...] [--quick] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contest import CHECKED, Contest, median
from benchmarks.job.publish import repository
from benchmarks.job.reference import Reference
from benchmarks.job.state import write_state
from benchmarks.job.world import world
from benchmarks.load import SHOPPERS
from benchmarks.measure import Client
from benchmarks.systems import line_up
from benchmarks.systems.process import ROOT
from benchmarks.tables import show
from cli.failures import UserError

LENGTHS = (50,)


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing or differs."""
    arguments = parse()
    try:
        result = run(arguments)
    except UserError as error:
        print(error.message, file=sys.stderr)
        return 1
    show(result)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; nothing is left running."""
    began = time.monotonic()
    models, shop = repository(arguments.seed), world(arguments.seed)
    loads = {n: {"callers": int(n)} for n in arguments.callers.split(",")}
    floors = []
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        work = Path(name)
        write_state(work / "state.sqlite", shop, SHOPPERS, LENGTHS)
        systems = line_up(models, work, arguments.only.split(",") if arguments.only else [])
        checks = (shop.histories(SHOPPERS)[:CHECKED], Reference(models))
        with (
            Client(models, arguments.seed) as client,
            closing(Contest(systems, client, checks, say(began))) as contest,
        ):
            contest.start()
            for number in range(arguments.rounds):
                floors.append(floor(models, arguments.seed))
                contest.round(loads, arguments.seconds, arguments.seed + number)
            measured = contest.medians()
            rounds = {row.system.name: row.rounds for row in contest.rows}
    return {
        "question": "the same job on every system: four ONNX models, union, sum, top 20",
        "machine": machine.describe(),
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "floor": median(floors),
        "closed_loop": measured,
        "every_round": rounds,
        "took_seconds": time.monotonic() - began,
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


def say(began: float) -> Any:
    """Return what tells a person how far the run is."""
    return lambda text: print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here as well")
    parser.add_argument("--only", default="", metavar="NAME,...", help="only these systems")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured per round and load")
    parser.add_argument("--callers", default="1,16,64", help="numbers of callers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
