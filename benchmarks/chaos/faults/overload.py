"""Three times the load that the machine can carry, from a client process of its own.

The driver and the phases are those of `benchmarks.overload`: capacity in a closed loop,
overload by the clock, half the capacity, the capacity again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World
from benchmarks.overload_load import Plan
from cli.failures import UserError
from cli.scrape import Buckets

# That find the capacity: as many as `benchmarks.overload` has. Twice as many are refused in
# part and ask again at once, which is overload already.
_CALLERS = 16
_TIMES = 3.0
_SHARE = 0.9
_REFUSAL_MS = 5.0
_AFTERWARDS = 15.0
# What a caller waits; twice the deadline of the gateway.
_TIMEOUT = 0.5


@dataclass(frozen=True, slots=True)
class OverloadTrial:
    """Overloads, and looks at what is left of the service."""

    name: str = "overload"
    fault: str = f"{_TIMES:.0f} times the capacity"
    wiring: Wiring = PLAIN

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Measure the capacity, overload, calm down."""
        seconds = scale.overload_seconds
        short = min(1.0, seconds / 10)
        plan = Plan(
            callers=_CALLERS, warm_up=3 * short, capacity=10 * short, overload=seconds,
            times=_TIMES, after=_AFTERWARDS * short, calm=0.5,
        )  # fmt: skip
        before = _refusals(world)
        phases = _drive(world, plan, scale)
        return _checks(phases, _refusals(world).minus(before), scale)


def _refusals(world: World) -> Buckets:
    """Return how long the gateway took to refuse rankings, so far."""
    return world.scrape().histogram("plait_request_seconds", outcome="RESOURCE_EXHAUSTED")


def _drive(world: World, plan: Plan, scale: Scale) -> dict[str, Any]:
    (world.work / "users.json").write_text(json.dumps(world.users))
    items = [world.items[n % 100 : n % 100 + 5] for n in range(len(world.users))]
    (world.work / "histories.json").write_text(json.dumps(items))
    command = [
        sys.executable, "-m", "benchmarks.overload_load", "--address", world.address,
        "--work", str(world.work), "--plan", json.dumps(asdict(plan)),
        "--timeout", str(max(_TIMEOUT, 2e-3 * scale.deadline_ms)), "--seed", str(scale.seed),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"the client of the overload ended with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _checks(phases: dict[str, Any], refusals: Buckets, scale: Scale) -> list[Check]:
    overload, after = phases["overload"], phases["after"]
    before, again = (phases[name]["goodput_per_second"] for name in ("capacity", "again"))
    share = overload["share_of_capacity"]
    # Judged where the call arrives: the client shares its processor with what it overloads.
    refusal_ms = 1000 * (refusals.quantile(0.99) or 0.0)
    said = ", ".join(f"{number} {name}" for name, number in overload["outcomes"].items())
    answered = overload["outcomes"].get("ok", 0) > 0 and after["outcomes"].get("ok", 0) > 0
    return [
        Check("answers go on, and afterwards all is well", said, answered),
        Check(
            f"goodput at least {100 * _SHARE:.0f} % of the capacity",
            f"{100 * share:.0f} % of {overload['capacity_per_second']:.0f} a second "
            f"({before:.0f} before, {again:.0f} afterwards), p99 {overload['p99_ms']:.0f} ms",
            share >= _SHARE,
            bound=True,
        ),
        Check(
            f"refusals within {_REFUSAL_MS:.0f} ms",
            f"p99 {refusal_ms:.1f} ms from arrival; seen by a client that was late itself by "
            f"{overload['driver_late_p99_ms']:.0f} ms at p99: p50 "
            f"{overload['refused_p50_ms']:.1f}, p99 {overload['refused_p99_ms']:.1f} ms",
            refusal_ms <= _REFUSAL_MS,
            bound=True,
        ),
        Check(
            f"recovery within {scale.back:.0f} s",
            f"after {after['recovered_after_s']:.1f} s",
            after["recovered_after_s"] <= scale.back,
            bound=True,
        ),
    ]


TRIALS = (OverloadTrial(),)
