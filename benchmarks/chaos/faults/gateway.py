"""kill -9 of the gateway while events come in: what was acknowledged is there, and once."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.events import EventStream
from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World
from cli.topology import GATEWAY


@dataclass(frozen=True, slots=True)
class GatewayTrial:
    """Kills at random moments of a stream of events."""

    name: str = "kill-gateway"
    fault: str = "kill -9 of the gateway during a stream of events"
    wiring: Wiring = PLAIN

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Stream, kill and kill again, wait for the last acknowledgement, count."""
        chance = random.Random(scale.seed)  # noqa: S311 -- not for secrets
        stretch = scale.event_seconds / (scale.gateway_kills + 1)
        away = []
        stream = EventStream(world.address, world.items, scale.events_per_second, scale.patience)
        with stream:
            began = time.monotonic()
            time.sleep(stretch)
            for _ in range(scale.gateway_kills):
                time.sleep(chance.random() * 0.2)
                away.append(_kill(world))
                time.sleep(stretch)
            rate = len(stream.acknowledged) / (time.monotonic() - began)
        stored = _stored(world.state)
        return [
            _kept(stream, stored),
            _once(stream, stored),
            _back(away, scale),
            _rate(rate, scale),
        ]


def _kill(world: World) -> float:
    """Kill the gateway; return the seconds from its restart until it serves."""
    pid = world.fleet.kill(GATEWAY)
    world.until(lambda: world.fleet.pid(GATEWAY) != pid)
    began = time.monotonic()
    served = world.fleet.wait_healthy(GATEWAY, world.scale.patience)
    return time.monotonic() - began if served else float("inf")


def _stored(state: Path) -> Counter[str]:
    """Return how often each event of the stream is in the state file."""
    connection = sqlite3.connect(f"file:{state}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT event_id FROM events WHERE event_id LIKE 'chaos-%'")
        return Counter(row[0] for row in rows)
    finally:
        connection.close()


def _kept(stream: EventStream, stored: Counter[str]) -> Check:
    lost = stream.acknowledged - stored.keys()
    said = f"{len(lost)} of {len(stream.acknowledged):,} lost; {stream.refusals} calls sent again"
    return Check("no acknowledged event is lost", said, not lost and bool(stream.acknowledged))


def _once(stream: EventStream, stored: Counter[str]) -> Check:
    doubled = sum(times > 1 for times in stored.values())
    said = f"{doubled} stored twice, {stream.miscounted} calls miscounted"
    return Check("none is doubled", said, not doubled and not stream.miscounted)


def _back(away: Sequence[float], scale: Scale) -> Check:
    said = ", ".join(f"{seconds:.1f}" for seconds in away)
    return Check(
        f"the gateway serves within {scale.back:.0f} s of its restart",
        f"after {said} s",
        max(away) <= scale.back,
        bound=True,
    )


def _rate(rate: float, scale: Scale) -> Check:
    """Time without a gateway counts, so that half the rate is proof enough of a real stream."""
    wanted = scale.events_per_second
    return Check(
        f"{wanted:,} events a second are sent",
        f"{rate:,.0f} a second acknowledged, restarts included",
        rate >= wanted / 2,
        bound=True,
    )


TRIALS = (GatewayTrial(),)
