"""Steady load for a long time: neither memory nor latency grows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.chaos.account import Account
from benchmarks.chaos.faults.sources import shoppers
from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World
from cli.topology import NAMES

_READINGS = 60
# The first part warms caches up and is left out; the rest must not grow.
_WARM = 0.25
_BREATH = 1.05
_BREATH_MB = 16.0
_SLOWER = 1.25


@dataclass(frozen=True, slots=True)
class SteadyTrial:
    """Soaks the processes in load and events."""

    name: str = "soak"
    fault: str = "none: steady load"
    wiring: Wiring = PLAIN

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Load, and read memory at even times."""
        seconds = 60 * scale.soak_minutes
        readings: list[dict[str, float]] = []
        began = time.monotonic()
        with world.load(world.rate) as load:
            for number in range(_READINGS):
                time.sleep(max(began + seconds * (number + 1) / _READINGS - time.monotonic(), 0))
                readings.append(world.memory_mb())
        warm = began + _WARM * seconds
        seen = load.account.between(warm)
        failed, late = shoppers(seen, scale)
        return [failed, late, _memory(readings), _latency(seen, warm, began + seconds)]


def _memory(readings: Sequence[dict[str, float]]) -> Check:
    """Compare the line through the readings at its ends: single readings jump."""
    kept = readings[int(_WARM * len(readings)) :]
    ends = {name: _line([reading[name] for reading in kept]) for name in NAMES}
    said = ", ".join(f"{name} {first:.0f} to {last:.0f}" for name, (first, last) in ends.items())
    flat = all(last <= max(first * _BREATH, first + _BREATH_MB) for first, last in ends.values())
    return Check("memory stays flat", f"MB: {said}", flat, bound=True)


def _line(values: Sequence[float]) -> tuple[float, float]:
    at = np.arange(len(values))
    slope, start = np.polyfit(at, np.asarray(values), 1)
    return float(start), float(start + slope * at[-1])


def _latency(seen: Account, start: float, end: float) -> Check:
    half = (start + end) / 2
    early, late = seen.between(start, half), seen.between(half)
    before, after = early.quantile_ms(0.5), late.quantile_ms(0.5)
    return Check(
        "latency stays flat",
        f"p50 {before:.1f} to {after:.1f} ms, "
        f"p99 {early.quantile_ms(0.99):.0f} to {late.quantile_ms(0.99):.0f} ms",
        after <= _SLOWER * before,
        bound=True,
    )


TRIALS = (SteadyTrial(),)
