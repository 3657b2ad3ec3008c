"""Which of several versions of Plait answers more, and sooner?

Runs the five processes of each version at once, on the demo's data and models, and
loads them in turn, some seconds each: a machine whose speed drifts by a quarter within
a minute drifts for all alike. Reported are medians over the rounds, and the median of
each round's ratio to the first version. A load is a number of callers that ask again at
once (16), or rankings a second by the clock (300/s), on all surfaces. To compare this
checkout with an earlier one:

git worktree add --detach ../before HEAD~1
python -m benchmarks.turns before=../before now [--loads 16,300/s,900/s]
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import demo_shop, machine
from benchmarks.command import above_0, count
from benchmarks.measure import cpu_seconds, tree
from benchmarks.open_loop import Shot, closed_loop, open_loop, poisson
from benchmarks.overload_load import asking, figures
from benchmarks.versions import MEANT, WRITTEN, Version, versions
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.output import console, table
from cli.processes import Fleet
from cli.topology import NAMES, on_free_ports

Figures = dict[str, Any]
# Asked before each measured stretch and not counted: connections, caches, and for a version
# that was idle while the others had their turn, its place in the processor's caches.
_WARM_SECONDS = 0.7
_COLUMNS = (
    (">Complete/s", "goodput_per_second"),
    (">To the first", "ratio"),
    (">p50", "p50_ms"),
    (">p99", "p99_ms"),
    (">CPU-ms", "cpu_ms_per_answer"),
    (">Refused %", "refused_percent"),
    (">Partial %", "partial_percent"),
)


@dataclass(frozen=True, slots=True)
class Load:
    """Callers that ask again at once, or a rate by the clock; the other one is 0."""

    callers: int = 0
    rate: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Load":
        """Read "16" or "300/s"; raises UserError."""
        number, by_the_clock, _ = text.partition("/s")
        try:
            made = cls(rate=float(number)) if by_the_clock else cls(callers=int(number))
        except ValueError:
            made = cls()
        if made.rate <= 0 and made.callers <= 0:
            raise UserError(f"--loads: {text}: a load is callers (16) or a rate (300/s)")
        return made

    async def put(self, ask: Any, seconds: float, seed: int, first: int) -> list[Shot]:
        """Ask for so many seconds."""
        if self.callers:
            return await closed_loop(ask, self.callers, seconds, first)
        return await open_loop(ask, poisson(self.rate, seconds, seed), first)


@dataclass(frozen=True, slots=True)
class Running:
    """A version's processes."""

    fleet: Fleet
    work: Path

    def measure(self, load: Load, arguments: argparse.Namespace, seed: int) -> Figures:
        """Load it once."""
        trees = [tree(self.fleet.pid(name)) for name in NAMES]

        async def run() -> tuple[list[Shot], float, Any]:
            async with asking(
                self.fleet.topology.gateway.address, self.work,
                patience=arguments.timeout, seed=arguments.seed,
            ) as asker:  # fmt: skip
                await load.put(asker.ask, _WARM_SECONDS, seed, 0)
                before = sum(cpu_seconds(processes) for processes in trees)
                shots = await load.put(asker.ask, arguments.seconds, seed, 1000 * seed)
                after = sum(cpu_seconds(processes) for processes in trees)
                return shots, after - before, asker.surface

        shots, cpu, surface = asyncio.run(run())
        made = figures(shots, arguments.seconds, surface)
        ended = made["outcomes"]
        good = max(1, ended.get("ok", 0))
        partial = ended.get("partial", 0) + ended.get("fallback", 0)
        return made | {
            "cpu_ms_per_answer": 1000 * cpu / good,
            "refused_percent": 100 * ended.get("refused", 0) / max(1, len(shots)),
            "partial_percent": 100 * partial / max(1, len(shots)),
        }


def main() -> int:
    """Run the benchmark; 1 with one line where something is missing."""
    arguments = _arguments()

    def made() -> Figures:
        loads = {text: Load.read(text) for text in arguments.loads.split(",")}
        return run(arguments, versions(arguments.version), loads)

    return demo_shop.main(made, show, arguments)


def run(
    arguments: argparse.Namespace, compared: Mapping[str, Version], loads: Mapping[str, Load]
) -> Figures:
    """Start every version, load them in turn, stop all; return every round and medians."""
    models = demo_shop.versions(arguments.repository)
    seen: dict[str, dict[str, list[Figures]]] = {n: {v: [] for v in compared} for n in loads}
    with tempfile.TemporaryDirectory(prefix="plait-turns-") as name, ExitStack() as stack:
        running: dict[str, Running] = {}
        for each in compared.values():
            work = Path(name) / each.name
            work.mkdir()
            demo_shop.prepare(arguments, work)
            fleet = Fleet(_config(each, work, arguments))
            running[each.name] = Running(stack.enter_context(fleet), work)
        for number, (said, load) in itertools.product(range(arguments.rounds), loads.items()):
            for who in turned(list(running), number):
                print(f"round {number + 1} of {arguments.rounds}: {said}, {who}", file=sys.stderr)
                seen[said][who].append(running[who].measure(load, arguments, number))
    return {
        "question": f"versions in turn, {arguments.seconds:g} s each, all surfaces",
        "machine": machine.describe(),
        "models": models,
        "seed": arguments.seed,
        "versions": {each.name: dict(each.environment) for each in compared.values()},
        "median": {load: medians(found) for load, found in seen.items()},
        "rounds": seen,
    }


def _config(each: Version, work: Path, arguments: argparse.Namespace) -> FleetConfig:
    log = str(work / "exposures.jsonl")
    return FleetConfig(
        repository=arguments.repository,
        state=work / "state.sqlite",
        topology=on_free_ports(),
        settings={"PLAIT_GATEWAY_EXPOSURE_LOG": log, **each.environment},
        restart=False,
    )


def turned(names: Sequence[str], number: int) -> list[str]:
    """Return the names from another one on each round: nobody is always the first."""
    at = number % len(names)
    return [*names[at:], *names[:at]]


def medians(found: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """Return version -> medians over rounds; `ratio`, of complete answers, is of each round."""
    first = next(iter(found.values()))
    made: dict[str, Figures] = {}
    for name, rounds in found.items():
        ratios = [
            mine["goodput_per_second"] / max(base["goodput_per_second"], 1e-9)
            for mine, base in zip(rounds, first, strict=True)
        ]
        made[name] = {
            key: statistics.median(ratios if key == "ratio" else [r[key] for r in rounds])
            for _, key in _COLUMNS
        }
    return made


def show(result: Mapping[str, Any]) -> None:
    """Print the medians for people."""
    out = console()
    host = result["machine"]
    out.print(result["question"])
    out.print(
        f"{host['cpu']}, {host['cores']} cores, load average {host['load_average'][0]}",
        style="dim",
    )  # fmt: skip
    shown = table("Load", "Version", *(title for title, _ in _COLUMNS))
    for load, found in result["median"].items():
        for name, seen in found.items():
            numbers = (f"{seen[c]:.2f}" if c == "ratio" else f"{seen[c]:.1f}" for _, c in _COLUMNS)
            shown.add_row(load, name, *numbers)
    out.print(shown)
    for load, found in result["rounds"].items():
        for name, rounds in found.items():
            each = " ".join(f"{r['goodput_per_second']:.0f}" for r in rounds)
            out.print(f"{load}, {name}: complete a second in each round {each}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("version", nargs="+", metavar=WRITTEN, help=MEANT)
    add("--loads", default="16", metavar="LOAD,...", help="callers (16) or rates (300/s)")
    add("--rounds", type=count, default=8)
    add("--seconds", type=above_0, default=4.0, help="of each turn")
    add("--timeout", type=above_0, default=0.5, help="seconds a caller waits")
    demo_shop.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
