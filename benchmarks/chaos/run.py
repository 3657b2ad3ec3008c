"""Trial after trial, each in a world wired as it wants; neighbours with one wiring share it."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.chaos import capacity
from benchmarks.chaos.trial import Check, Finding, Scale, Trial
from benchmarks.chaos.world import Ground, World

Say = Callable[[str], None]


def run(trials: Sequence[Trial], ground: Ground, scale: Scale, say: Say) -> Iterator[Finding]:
    """Yield what each trial found, as soon as it is known."""
    for wiring, group in itertools.groupby(trials, key=lambda t: t.wiring):
        with World(ground, wiring, scale) as world:
            if not scale.rate:
                most = capacity.measure(world.address, world.users)
                world.capacity, world.rate = most, scale.share * most
                say(f"capacity {most:.0f} requests/s; load {world.rate:.0f} requests/s")
            for trial in group:
                finding = _tried(trial, world, scale)
                _tell(finding, scale, say)
                yield finding


def _tell(finding: Finding, scale: Scale, say: Say) -> None:
    failed = finding.failed(bounds=scale.bounds)
    held = "DID NOT HOLD" if failed else "held"
    say(f"{finding.fault}: {held} ({finding.seconds:.0f} s)")
    for check in failed:
        say(f"  {check.must}: {check.measured}")


def _tried(trial: Trial, world: World, scale: Scale) -> Finding:
    began = time.monotonic()
    checks = (*trial.run(world, scale), _sound(world))
    return Finding(trial.name, trial.fault, checks, time.monotonic() - began)


def _sound(world: World) -> Check:
    """No process spoke of an unexpected error, whatever was done to it."""
    bugs = world.bugs()
    world.log.clear()
    return Check("no process logs an unexpected error", bugs[0] if bugs else "none", not bugs)
