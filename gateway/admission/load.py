"""What of a ranking's time says how busy the machine is.

The gateway's own work, waiting for its turn included, and the time of the typical
source. Not the slowest: a model that hangs makes every ranking wait and leaves the
machine idle; a limit that shrank for it would turn one sick model into refusals.
"""

from gateway.types import Outcome, Ranking

_WORKED = (Outcome.OK, Outcome.LATE, Outcome.SHED)


def load_seconds(ranking: Ranking, fair: float) -> float | None:
    """Return the seconds a ranking took, as though all sources were like the median one.

    None where it was not given the `fair` time and most sources are late for that.
    """
    waited = dict(ranking.timings.stages).get("fan_out", 0.0)
    sources = sorted(a.seconds for a in ranking.answers if a.outcome in _WORKED)
    typical = sources[(len(sources) - 1) // 2] if sources else 0.0
    late = sum(a.outcome is Outcome.LATE for a in ranking.answers)
    if 2 * late > len(sources) and waited < fair:
        return None
    return ranking.timings.total - waited + min(typical, waited)
