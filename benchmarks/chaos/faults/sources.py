"""The course of every fault of a source: calm, fault, end of the fault, back in use, calm.

What differs is how the fault is brought about and how it ends, and what must be seen
meanwhile. Always: no request fails, and an answer that lacks a source says so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.chaos.account import Account
from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World


@dataclass(frozen=True, slots=True)
class SourceTrial:
    """A fault of one or more sources under load."""

    name: str
    fault: str
    victims: tuple[str, ...]
    act: Callable[[World], None]
    # Ends the fault, and returns when it is over; called even if watching fails.
    undo: Callable[[World], None]
    wiring: Wiring = PLAIN
    # Whether the victims must be seen missing: one that is only slow need not be.
    missing: bool = True
    # Whether the breaker of each victim must open.
    breaker: bool = False

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Break, watch, mend, watch."""
        with world.load(world.rate) as load:
            time.sleep(scale.calm)
            before = {victim: _opened(world, victim) for victim in self.victims}
            began = time.monotonic()
            try:
                self.act(world)
                time.sleep(scale.hold)
            finally:
                self.undo(world)
            mended = time.monotonic()
            world.until(lambda: None not in self._back(load.account, mended))
            time.sleep(scale.calm)
        opened = {victim: _opened(world, victim) - before[victim] for victim in self.victims}
        back = self._back(load.account, mended)
        seen = load.account.between(began)
        calm = load.account.between(0, began).quantile_ms(0.99)
        checks = [
            *shoppers(seen, scale, f", {calm:.0f} ms before"),
            self._marked(seen),
            *self._used_again(back, mended, scale),
        ]
        if self.breaker:
            checks.append(self._breaker(seen, opened))
        return checks

    def _back(self, account: Account, since: float) -> list[float | None]:
        return [account.first_use(victim, since) for victim in self.victims]

    def _marked(self, seen: Account) -> Check:
        lacking = seen.count("partial", "fallback")
        held = seen.dishonest() == 0 and (lacking > 0 or not self.missing)
        return Check(
            "answers that lack a model say so",
            f"{lacking} lacked one, {seen.dishonest()} did not say so",
            held,
        )

    def _used_again(
        self, back: Sequence[float | None], mended: float, scale: Scale
    ) -> tuple[Check, Check]:
        missed = [v for v, at in zip(self.victims, back, strict=True) if at is None]
        last = max((at - mended for at in back if at is not None), default=float("nan"))
        return (
            Check(
                "every model is used again by itself",
                f"never again: {', '.join(missed)}" if missed else "all are",
                not missed,
            ),
            Check(
                f"within {scale.back:.0f} s",
                f"after {last:.1f} s",
                not missed and last <= scale.back,
                bound=True,
            ),
        )

    def _breaker(self, seen: Account, opened: dict[str, float]) -> Check:
        refused = {victim: seen.outcomes(victim)["OPEN"] for victim in self.victims}
        said = ", ".join(f"{v}: opened {opened[v]:.0f} x, {refused[v]} not asked" for v in refused)
        return Check(
            "its breaker opens, is counted, and closes again",
            said,
            all(opened.values()) and all(refused.values()),
        )


def ordered(
    victim: str,
    wiring: Wiring,
    name: str,
    fault: str,
    order: str,
    *,
    missing: bool = True,
    breaker: bool = False,
) -> SourceTrial:
    """Return a fault that the proxy before a source brings about by an order, until "pass"."""
    return SourceTrial(
        name,
        fault,
        (victim,),
        lambda world: world.helpers[victim].order(order),
        lambda world: world.helpers[victim].order("pass"),
        wiring=wiring,
        missing=missing,
        breaker=breaker,
    )


def shoppers(seen: Account, scale: Scale, beside: str = "") -> tuple[Check, Check]:
    """What must hold for every request under every fault of a source.

    `beside` is shown with the latency.
    """
    bad, late = seen.count("failed", "refused"), seen.count("late")
    again = f"; {seen.sent_again} sent again as asked" if seen.sent_again else ""
    said = "; ".join([f"{bad} of {len(seen.calls)}{again}", *seen.reasons()])
    p99 = seen.quantile_ms(0.99)
    return (
        Check("no request fails", said, not bad),
        Check(
            f"p99 within the deadline of {scale.deadline_ms} ms, and none runs out of time",
            f"{p99:.0f} ms{beside}; {late} did",
            p99 <= scale.deadline_ms and not late,
            bound=True,
        ),
    )


def _opened(world: World, source: str) -> float:
    """Return how often the breaker of a source has opened."""
    return world.scrape().sum("plait_breaker_changes_total", source=source, state="open")
