"""The gateway's three doors: rankings, events, catalogue. None can fill another's.

A flood of rankings leaves events their own places, and the other way round; only
the processor is shared, and each limit adapts to what the others leave of it.
"""

from dataclasses import dataclass

from gateway.admission.door import Door
from gateway.admission.gate import Gate
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from gateway.config import GatewayConfig
from gateway.quality import Quality
from services.runtime import metrics

EVENTS = "EVENTS"
CATALOGUE = "CATALOGUE"
# Fewer at once would leave batches empty; more than the most is never of use to a machine.
_FLOOR, _START, _CEILING = 8, 64, 1000


@dataclass(frozen=True, slots=True)
class Lanes:
    """A gate for each kind of work, and the quality that rankings are made with."""

    rankings: Gate
    events: Gate
    catalogue: Gate
    quality: Quality
    door: Door


def build_lanes(config: GatewayConfig) -> Lanes:
    """Build the gates of a configuration."""
    quality = Quality(metrics.QUALITY_FACTOR.labels("rankings").set, floor=config.least_quality)
    door = Door(lambda: rankings.busy)
    ranks = config.ranks()
    most = config.max_catalogue_calls
    rankings = Gate(
        ranks,
        _adaptive(config.load_share * config.max_deadline_ms / 1000),
        Notes("rankings", tuple(ranks)),
        moved=quality.note,
        unseen=lambda: door.delay,
    )
    return Lanes(
        rankings=rankings,
        events=Gate(
            {EVENTS: 0}, _adaptive(config.event_target_ms / 1000), Notes("events", (EVENTS,))
        ),
        # An upsert may wait for models, which says nothing of load: its limit stands still.
        catalogue=Gate(
            {CATALOGUE: 0},
            Limit(target=1.0, floor=most, ceiling=most, start=most),
            Notes("catalogue", (CATALOGUE,)),
        ),
        quality=quality,
        door=door,
    )


def _adaptive(target: float) -> Limit:
    return Limit(target=target, floor=_FLOOR, ceiling=_CEILING, start=_START)
