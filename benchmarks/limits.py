"""Which law finds the right limit on concurrency by itself?

In virtual time, so exactly repeatable: a machine that works in batches (a fixed
cost and a cost per row, as measured of the five processes), three times the load
it can carry; then the same with half of its speed lost; then at its full speed with
callers who have waited up to 100 ms before the gate sees them. Compared: fixed limits,
AIMD, the gradient against the no-load time as published, and the gradient against
a target, which the gateway uses, also with other constants than the gateway's. Each
refusal costs the machine time as well.

python -m benchmarks.limits [--times 3] [--seconds 60]
"""

import argparse
import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from benchmarks.command import above_0
from benchmarks.open_loop import Shot, open_loop, poisson, quantile
from benchmarks.virtual_time import run
from cli.output import console, table
from gateway.admission.gate import Gate
from gateway.admission.lanes import CEILING, FLOOR, RANKINGS_WAITING, START
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from gateway.config import GatewayConfig
from services.runtime.errors import PlaitError

# As the gateway's default: what a ranking may take, and what it should take.
ALLOWED = (GatewayConfig.max_deadline_ms - GatewayConfig.merge_reserve_ms) / 1000
TARGET = GatewayConfig.load_share * GatewayConfig.max_deadline_ms / 1000
# Spent before the gate at most, where calls queue in the transport.
LATE = 0.1


@dataclass
class Machine:
    """Works on all that came while it was busy, at once. Times in seconds."""

    fixed: float
    per_row: float
    # What a refusal takes from it.
    per_refusal: float = 0.00015
    speed: float = 1.0
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    _busy: bool = False
    _debt: float = 0.0

    def refused(self) -> None:
        """Spend the time of a refusal."""
        self._debt += self.per_refusal

    async def work(self) -> None:
        """Do a call's work."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._next)
        await done

    def _next(self) -> None:
        batch = [w for w in self._waiting if not w.done()]
        self._waiting = []
        if not batch:
            self._busy = False
            return
        spent = (self.fixed + self.per_row * len(batch)) / self.speed + self._debt
        self._debt = 0.0
        asyncio.get_running_loop().call_later(spent, self._end, batch)

    def _end(self, batch: list[asyncio.Future[None]]) -> None:
        for done in batch:
            if not done.done():
                done.set_result(None)
        self._next()


class Fixed(Limit):
    """A constant."""

    def _close(self) -> None:
        exact = self._exact
        super()._close()
        self._exact = exact


class Aimd(Limit):
    """One more while calls are in time, a tenth less where they are not (Chiu and Jain, 1989)."""

    def _close(self) -> None:
        exact, felt = self._exact, self._peak >= self.value
        super()._close()
        if self.typical > self.target:
            exact *= 0.9
        elif felt:
            exact += 1
        self._exact = min(max(exact, self._floor), self._ceiling)


class NoLoad(Limit):
    """The published gradient: against the long-term time, with room for a root of queue."""

    _long = 0.0

    def _close(self) -> None:
        exact, felt, now = self._exact, self._peak >= self.value / 2, median(self._took)
        super()._close()
        self._long = now if not self._long else self._long + (now - self._long) / 60
        if self._long / now > 2:
            self._long *= 0.95
        gradient = max(0.5, min(1.0, 1.5 * self._long / now))
        if felt:
            exact = 0.8 * exact + 0.2 * (exact * gradient + math.sqrt(exact))
        self._exact = min(max(exact, self._floor), self._ceiling)


def fixed(value: int) -> Callable[[], Limit]:
    """Return a maker of a constant limit."""
    return lambda: Fixed(target=TARGET, floor=value, ceiling=value, start=value)


def adaptive(law: type[Limit], target: float = TARGET, floor: int = FLOOR) -> Callable[[], Limit]:
    """Return a maker of an adaptive limit."""
    return lambda: law(target=target, floor=floor, ceiling=CEILING, start=START)


LAWS: dict[str, Callable[[], Limit]] = {
    "fixed 8": fixed(8),
    "fixed 32": fixed(32),
    "fixed 128": fixed(128),
    "AIMD to the target": adaptive(Aimd),
    "gradient, no-load time": adaptive(NoLoad),
    "gradient to the target": adaptive(Limit),
    "the same, floor 4": adaptive(Limit, floor=4),
    "the same, floor 12": adaptive(Limit, floor=12),
    "the same, target 20 %": adaptive(Limit, 0.2 * 0.25),
    "the same, target 45 %": adaptive(Limit, 0.45 * 0.25),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some load."""

    shots: list[Shot]
    seconds: float
    limit: int

    @property
    def goodput(self) -> float:
        """Calls answered in time, a second."""
        return sum(s.outcome == "ok" for s in self.shots) / self.seconds


def load(
    machine: Machine, limit: Limit, rate: float, seconds: float, *, late: float = 0.0
) -> Outcome:
    """Offer a rate of calls to a gate before a machine, in virtual time.

    `late`: up to so many seconds of a call's time are gone when the gate sees it.
    """

    async def offer() -> list[Shot]:
        clock = asyncio.get_running_loop().time
        chance = random.Random(0)  # noqa: S311 -- not for secrets
        gate = Gate(
            {"HOME": 0}, limit, Notes("rankings", ("HOME",)),
            queue_share=RANKINGS_WAITING, clock=clock,
        )  # fmt: skip

        async def call(_: int) -> str:
            left = ALLOWED - late * chance.random()
            try:
                async with asyncio.timeout(left), gate.admitted("HOME", clock() + left):
                    await machine.work()
            except PlaitError as error:
                machine.refused()
                return error.status.name
            except TimeoutError:
                return "late"
            return "ok"

        return await open_loop(call, poisson(rate, seconds, 0))

    return Outcome(run(offer()), seconds, limit.value)


def capacity(machine: Callable[[], Machine]) -> float:
    """Return the goodput of the best constant: what somebody who knew the machine would get."""
    best = 0.0
    for value in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128):
        limit = fixed(value)()
        best = max(best, load(machine(), limit, 1.02 / machine().per_row, 10).goodput)
    return best


def main() -> None:
    """Run as `python -m benchmarks.limits`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=above_0, default=3.0)
    parser.add_argument("--seconds", type=above_0, default=60.0)
    arguments = parser.parse_args()
    for name, per_row in (
        ("rows of 1.5 ms", 0.0015),
        ("rows of 6 ms", 0.006),
        ("rows of 18 ms", 0.018),
    ):
        machine = partial(Machine, 0.006, per_row)
        most = capacity(machine)
        # Goodput and the last limit at full speed, at half of it, and where calls come late.
        shown = table(name, ">Goodput %", ">p50 ms", ">p99 ms", ">Limit",
                      ">Half %", ">Limit", ">Late %", ">Limit")  # fmt: skip
        for law, make in LAWS.items():
            full = load(machine(), make(), arguments.times * most, arguments.seconds)
            slow = machine()
            slow.speed = 0.5
            half = load(slow, make(), arguments.times * most, arguments.seconds)
            late = load(machine(), make(), arguments.times * most, arguments.seconds, late=LATE)
            good = [s for s in full.shots if s.outcome == "ok"]
            shown.add_row(
                law, f"{100 * full.goodput / most:.0f}", f"{1000 * quantile(good, 0.5):.0f}",
                f"{1000 * quantile(good, 0.99):.0f}", str(full.limit),
                f"{200 * half.goodput / most:.0f}", str(half.limit),
                f"{100 * late.goodput / most:.0f}", str(late.limit),
            )  # fmt: skip
        out = console()
        out.print(f"capacity {most:.0f} a second", style="dim")
        out.print(shown)


if __name__ == "__main__":
    main()
