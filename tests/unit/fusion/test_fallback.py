"""What sells is found without a look at everything, unless the rules leave too little of it."""

import numpy as np

from gateway.fusion.fallback import popular_rows
from gateway.fusion.pipeline import build_pool, run
from tests.unit.fusion.builders import columns, query, rows, scored


def test_known_sellers_are_shown_best_first_without_the_rest_of_the_catalogue() -> None:
    trend = np.zeros(40, np.float32)
    trend[30], trend[39] = 1.0, 0.9
    known = columns(40, sellers=rows(3, 1, 2))
    asked = query(columns=known, trend=trend, trending=lambda: rows(30), limit=3)
    assert popular_rows(asked).tolist() == [30, 1, 2]


def test_where_the_rules_leave_too_few_sellers_the_whole_catalogue_is_looked_through() -> None:
    known = columns(40, sellers=rows(0, 1, 2))
    asked = query({"categories": (4,), "exclude": rows(4)}, columns=known, limit=3)
    assert popular_rows(asked).tolist() == [9, 14, 19]


def test_sellers_that_came_after_the_snapshot_are_left_out() -> None:
    asked = query(columns=columns(4), trending=lambda: rows(2, 70), limit=9)
    assert popular_rows(asked).tolist() == [0, 1, 2, 3]


def test_what_is_buried_stands_behind_what_no_source_has_scored() -> None:
    """What sells fills a page, and on RANK there is the caller's own list."""
    found = scored(cf={1: 1.0, 2: 0.9})
    for asked, own, shown in (
        (query({"bury": rows(1, 0)}, limit=5), rows(), [2, 3, 4, 1, 0]),
        (query({"bury": rows(1)}, surface="RANK"), rows(1, 2, 30), [2, 30, 1]),
        (query(surface="SESSION", session=rows(2), limit=4), rows(), [1, 0, 3, 2]),
    ):
        pool = run(asked, build_pool(asked, found, own))
        assert pool.rows[pool.order].tolist() == shown
