"""Stage: the shop's soft rules, which move candidates.

A boost adds to the score, a pin puts in front, a bury puts at the end. Between pin and
bury the pin wins: it names a place, a bury only a direction. What a hard rule forbids
is off the slate already (forbid.py), pinned or not. On SESSION, which shows what may come
next, what the session holds is at the end too: models name it among their best. On SEARCH
the item whose id was typed stands in front, behind what is pinned, and then what holds all of
several words: a learned ranker knows what sells and what the shopper likes so well that it
would put these before a product that was asked for by its name.
"""

import numpy as np

from gateway.fusion.hard_rules import member
from gateway.fusion.pool import fire, with_term
from gateway.fusion.types import (
    BURIED,
    HELD,
    NORMAL,
    PINNED,
    Bools,
    BoostRule,
    Floats,
    Pool,
    Query,
    Rows,
)


def rules(query: Query, pool: Pool) -> Pool:
    """Boost, pin and bury."""
    pool = _boost(query, pool)
    if query.surface == "SESSION":
        pool = _last(query, pool, query.session, "seen")
    return _pin(query, _hold(query, _last(query, pool, query.rules.bury, "bury")))


def _boost(query: Query, pool: Pool) -> Pool:
    if not query.rules.boosts:
        return pool
    total: Floats = np.zeros(len(pool.rows), np.float32)
    for rule in query.rules.boosts:
        which = _matches(query, pool, rule)
        total += np.where(which, np.float32(rule.weight), np.float32(0))
        pool = fire(pool, rule.label, which)
    return with_term(pool, "boost", total)


def _matches(query: Query, pool: Pool, rule: BoostRule) -> Bools:
    columns = query.columns
    by_name = {
        "category": columns.category,
        "domain": columns.domain,
        "brand": columns.brand,
        "provider": columns.provider,
    }
    values = pool.rows if rule.column == "item" else by_name[rule.column][pool.rows]
    # -1 is "unknown" in a column and "no such name" in a rule: the two are not a match.
    matches: Bools = (values == rule.value) & (values >= 0)
    return matches


def _last(query: Query, pool: Pool, listed: Rows, label: str) -> Pool:
    if not len(listed):
        return pool
    which = member(pool.rows, listed, len(query.columns.keys))
    # Behind what no source has scored as well: last is what was asked for.
    tier = np.where(which, np.int8(BURIED), pool.tier)
    return fire(pool._replace(tier=tier), label, which)


def _hold(query: Query, pool: Pool) -> Pool:
    if not pool.learned or not len(query.held):
        return pool
    which = member(pool.rows, query.held, len(query.columns.keys)) & (pool.tier == NORMAL)
    tier = np.where(which, np.int8(HELD), pool.tier)
    return fire(pool._replace(tier=tier), "words", which)


def _pin(query: Query, pool: Pool) -> Pool:
    pins = query.rules.pin
    # The pins last: of an item that is in both the shop's place stays.
    pool = _first(pool, query.named, "item_id", start=len(pins))
    return _first(pool, pins, "pin", start=0)


def _first(pool: Pool, listed: Rows, label: str, *, start: int) -> Pool:
    """Give the listed rows the first places in this order, from place `start` on."""
    if not len(listed) or not len(pool.rows):
        return pool
    at = np.minimum(np.searchsorted(pool.rows, listed), len(pool.rows) - 1)
    found = pool.rows[at] == listed
    which = np.zeros(len(pool.rows), np.bool_)
    place, tier = pool.place.copy(), pool.tier.copy()
    # Backwards, so that of an item listed twice the first place stays.
    for number in range(len(at) - 1, -1, -1):
        if found[number]:
            which[at[number]] = True
            place[at[number]] = start + number
            tier[at[number]] = PINNED
    return fire(pool._replace(tier=tier, place=place), label, which)
