"""The gateway's gates: rankings, events, catalogue, profiles. None can fill another's.

A flood of rankings leaves events their own places, and the other way round; only
the processor is shared, and each limit adapts to what the others leave of it.
"""

from dataclasses import dataclass

from gateway.admission.gate import Gate
from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from gateway.config import GatewayConfig
from gateway.quality import Quality
from gateway.traffic import Traffic
from services.runtime import metrics

EVENTS = "EVENTS"
CATALOGUE = "CATALOGUE"
PROFILES = "PROFILES"
# The least: fewer at once leave batches empty, so that each costs more; 12 would all be late
# on a machine that has become slow (python -m benchmarks.limits). The start: somewhat more
# than two cores carry, the first windows correct it. The most only bounds memory.
FLOOR, START, CEILING = 8, 64, 1000
# Of rankings few wait, enough that one rank goes before another: a place inside costs an
# answer as much time as one in the queue and fills a batch besides (docs/decisions/0010).
RANKINGS_WAITING = 0.125


@dataclass(frozen=True, slots=True)
class Lanes:
    """A gate for each kind of work, and the quality that rankings are made with."""

    rankings: Gate
    events: Gate
    catalogue: Gate
    profiles: Gate
    quality: Quality


def build_lanes(config: GatewayConfig, traffic: Traffic) -> Lanes:
    """Build the gates of a configuration; the traffic hears who comes."""
    quality = Quality(floor=config.least_quality)
    # Read when it is asked for: it rises without anybody telling, when nobody asks.
    metrics.QUALITY_FACTOR.labels("rankings").set_function(lambda: quality.factor)
    ranks = config.ranks()
    rankings = Gate(
        ranks,
        _adaptive(config.load_share * config.max_deadline_ms / 1000),
        Notes("rankings", tuple(ranks)),
        queue_share=RANKINGS_WAITING,
        moved=quality.note,
        came=traffic.arrive,
    )
    return Lanes(
        rankings=rankings,
        events=Gate(
            {EVENTS: 0},
            _adaptive(config.event_target_ms / 1000),
            Notes("events", (EVENTS,)),
            came=traffic.arrive,
        ),
        # An upsert may wait for models, which says nothing of load: its limit stands still, and
        # its time counts for nobody.
        catalogue=Gate(
            {CATALOGUE: 0},
            _fixed(config.max_catalogue_calls),
            Notes("catalogue", (CATALOGUE,)),
            came=traffic.arrive,
        ),
        # They share the thread that reads the histories of rankings.
        profiles=Gate(
            {PROFILES: 0},
            _fixed(config.max_profile_calls),
            Notes("profiles", (PROFILES,)),
            came=traffic.arrive,
        ),
        quality=quality,
    )


def _adaptive(target: float) -> Limit:
    return Limit(target=target, floor=FLOOR, ceiling=CEILING, start=START)


def _fixed(most: int) -> Limit:
    return Limit(target=1.0, floor=most, ceiling=most, start=most)
