"""What of a ranking's time says how busy the machine is.

The gateway's own work, waiting for its turn included, and the time of the slowest source
but one. Not the slowest: a model that hangs makes every ranking wait and leaves the
machine idle; a limit that shrank for it would turn one sick model into refusals. Not the
median: a busy machine shows first where work is heavy, and rankings wait for that.
"""

from gateway.types import Outcome, Ranking

_WORKED = (Outcome.OK, Outcome.LATE, Outcome.SHED)


def load_seconds(ranking: Ranking, fair: float) -> float | None:
    """Return the seconds a ranking took, had no source been slower than the slowest but one.

    None where it was not given the `fair` time and most sources are late for that.
    """
    waited = dict(ranking.timings.stages).get("fan_out", 0.0)
    sources = sorted(a.seconds for a in ranking.answers if a.outcome in _WORKED)
    typical = sources[max(len(sources) - 2, 0)] if sources else 0.0
    late = sum(a.outcome is Outcome.LATE for a in ranking.answers)
    if 2 * late > len(sources) and waited < fair:
        return None
    return ranking.timings.total - waited + min(typical, waited)
