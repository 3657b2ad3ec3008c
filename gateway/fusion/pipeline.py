"""The stages, in the order they run.

Read STAGES from top to bottom and you know what happens to a candidate. A new
step is a new file and one line here.
"""

from collections.abc import Callable
from time import perf_counter

from gateway.fusion.calibrate import calibrate
from gateway.fusion.cost import cost
from gateway.fusion.cross_domain import cross_domain
from gateway.fusion.diversify import diversify
from gateway.fusion.forbid import forbid
from gateway.fusion.fuse import fuse
from gateway.fusion.order import order
from gateway.fusion.pool import build_pool
from gateway.fusion.rules import rules
from gateway.fusion.sanitise import sanitise
from gateway.fusion.session import session
from gateway.fusion.trend import trend
from gateway.fusion.types import Pool, Query, Stage

__all__ = ["SCORING", "STAGES", "build_pool", "run"]

SCORING: tuple[Stage, ...] = (
    forbid,  # what must not be shown out
    sanitise,  # bad scores out
    calibrate,  # every source to 0..1
    fuse,  # one preference
    cross_domain,  # what other domains say
    session,  # what is happening now
    trend,  # what the market does
    cost,  # what it costs
    rules,  # what the shop moves
)
STAGES: tuple[Stage, ...] = (
    *SCORING,
    diversify,  # variety in front
    order,  # the slate
)


def run(
    query: Query,
    pool: Pool,
    observe: Callable[[str, float], None] | None = None,
    stages: tuple[Stage, ...] = STAGES,
) -> Pool:
    """Run every stage; `observe` gets each stage's name and seconds."""
    for stage in stages:
        start = perf_counter()
        pool = stage(query, pool)
        if observe is not None:
            observe(stage.__name__, perf_counter() - start)
    return pool
