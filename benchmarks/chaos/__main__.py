"""What happens to shoppers when something breaks? `make chaos`.

python -m benchmarks.chaos [--only NAME,NAME] [--short] [--soak MINUTES] [--json FILE]

Ends with 1 where something that must hold did not.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from artifacts.layout import find
from benchmarks import machine
from benchmarks.chaos.faults import TRIALS
from benchmarks.chaos.run import run
from benchmarks.chaos.table import as_json, show
from benchmarks.chaos.trial import FULL, SHORT, Scale, Trial
from benchmarks.chaos.world import Ground
from benchmarks.command import above_0, count, count_or_0, ended, output, write
from cli.demo.places import Places
from cli.failures import UserError
from cli.topology import FUSION, SOURCES

_NEEDS = "Chaos needs the demo's data and models: make train"


def main() -> int:
    """Run the trials; 0 if all held, 1 if not or something is missing."""
    arguments = _arguments()
    return ended(lambda: _work(arguments), _NEEDS)


def _work(arguments: argparse.Namespace) -> int:
    trials, scale = _chosen(arguments.only), _scale(arguments)
    places = Places(arguments.root)
    _check(places)
    ground = Ground(places.models, places.seed)
    findings = list(run(trials, ground, scale, lambda text: print(text, file=sys.stderr)))
    show(findings, bounds=scale.bounds)
    found = as_json(findings, bounds=scale.bounds)
    write(arguments.json, {"machine": machine.describe(), "findings": found})
    return 0 if all(f.passed(bounds=scale.bounds) for f in findings) else 1


def _check(places: Places) -> None:
    """Raise ArtifactError or UserError where models or the seeded store are missing."""
    for name in (*SOURCES, FUSION):
        find(places.models, name)
    if not places.seed.exists():
        raise UserError(f"{places.seed}: there is no such file\n{_NEEDS}")


def _chosen(only: str) -> Sequence[Trial]:
    if not only:
        return TRIALS
    known = {trial.name: trial for trial in TRIALS}
    names = only.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"No fault named {', '.join(unknown)}; there are {', '.join(known)}")
    return [trial for trial in TRIALS if trial.name in names]


def _scale(arguments: argparse.Namespace) -> Scale:
    scale = SHORT if arguments.short else FULL
    given = {
        "soak_minutes": arguments.soak,
        "malformed": arguments.malformed,
        "overload_seconds": arguments.overload,
        "seed": arguments.seed,
    }
    return replace(scale, **{name: value for name, value in given.items() if value is not None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("var"), help="what `make train` made")
    parser.add_argument("--only", default="", help="names of faults, separated by commas")
    parser.add_argument("--short", action="store_true", help="small, and bounds on time not judged")
    parser.add_argument("--soak", type=above_0, metavar="MINUTES", help="minutes of steady load")
    parser.add_argument("--malformed", type=count, metavar="N", help="malformed requests")
    parser.add_argument("--overload", type=above_0, metavar="SECONDS", help="seconds of overload")
    parser.add_argument("--seed", type=count_or_0)
    parser.add_argument("--json", type=output, help="where the findings go, for machines")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
