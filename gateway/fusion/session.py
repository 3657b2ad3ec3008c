"""Stage: nearness to what the shopper is doing right now.

The models read the session as the end of a long history; this term lets the
last minutes speak for themselves, so that one event visibly moves the next
answer.
"""

import numpy as np

from artifacts.formulas import session_affinity
from gateway.fusion.pool import with_term
from gateway.fusion.types import Pool, Query


def session(query: Query, pool: Pool) -> Pool:
    """Add w_session * affinity to the session's items, affinity in -1..1.

    session_weight holds type and recency; negative, such as a dislike's, repels.
    """
    if not query.w_session or not len(query.session) or not np.any(query.session_weight):
        return pool
    columns = query.columns
    affinity = session_affinity(
        query.session_weight, (columns.vectors, columns.category), query.session, pool.rows
    )
    return with_term(pool, "session", np.float32(query.w_session) * affinity)
