"""A reason a shopper can read.

Picks the fact that speaks most plainly for an item, from what the fusion
already knows; the wording is apart from the fact, so a storefront may say it in
its own language.
"""

from dataclasses import dataclass

import numpy as np

from gateway.fusion.types import Bools, Floats, Pool, Query, Rows

# Below this cosine two items are not visibly related.
_RELATED = 0.2
# Above this part of the market's strongest trend an item is said to trend.
_TRENDING = 0.25


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is shown.

    `kind` is one of buy_again, seen_before, because_bought, because_viewed,
    matches_query, goes_with_cart, similar_to, trending, popular, new, offered; `row` is
    the catalogue row it refers to, -1 where it refers to none.
    """

    kind: str
    row: int = -1


_WORDS = {
    "buy_again": "You bought this before",
    "seen_before": "You looked at this before",
    "because_bought": "Because you bought {title}",
    "because_viewed": "Because you looked at {title}",
    "matches_query": 'Matches "{query}"',
    "goes_with_cart": "Goes with {title} in your cart",
    "similar_to": "Similar to {title}",
    "trending": "Trending now",
    "popular": "Popular with other shoppers",
    "new": "New in the shop",
    "offered": "You might like this",
}


def reason_text(reason: Reason, title: str = "", query: str = "") -> str:
    """Say a reason in English; `title` names the item it refers to, `query` the search."""
    return _WORDS[reason.kind].format(title=title or "an item like this", query=query)


def find_reason(query: Query, pool: Pool, position: int) -> Reason:
    """Return the plainest reason for the candidate at pool index `position`."""
    row = int(pool.rows[position])
    scored = bool(np.any(~np.isnan(pool.scores[:, position])))
    if query.surface == "SEARCH" and (scored or row in query.named):
        return Reason("matches_query")
    if query.surface in ("ITEM", "CART") and len(query.context) and scored:
        near, _ = _nearest(query, row, query.context)
        return Reason("similar_to" if query.surface == "ITEM" else "goes_with_cart", near)
    personal = scored or pool.learned  # the ranker knows the shopper's habits by itself
    return (_from_history(query, row) if personal else None) or _from_market(query, row)


def _from_history(query: Query, row: int) -> Reason | None:
    """What the shopper did with the item, or else with one like it, on SESSION first in it."""
    recommends = _recommends(query, query.history, query.history_weight)
    history = query.history[recommends]
    bought = _bought(query)[recommends]
    had = history == row
    if np.any(had):
        return Reason("buy_again" if np.any(had & bought) else "seen_before", row)
    if query.surface == "SESSION" and len(query.session):
        theirs = query.session[_recommends(query, query.session, query.session_weight)]
        near, cosine = _nearest(query, row, theirs)
        if cosine >= _RELATED:
            return _because(near, history[bought])
    near, cosine = _nearest(query, row, history)
    return _because(near, history[bought]) if cosine >= _RELATED else None


def _recommends(query: Query, rows: Rows, weights: Floats) -> Bools:
    """Which events speak for what is like their items [L]: none of what is disliked by now."""
    wanted: Bools = weights > 0
    if len(query.rules.disliked):
        wanted &= ~np.isin(rows, query.rules.disliked)
    return wanted


def _because(near: int, bought: Rows) -> Reason:
    return Reason("because_bought" if np.any(bought == near) else "because_viewed", near)


def _from_market(query: Query, row: int) -> Reason:
    trending = float(query.trend[row]) if len(query.trend) else 0.0
    if trending >= _TRENDING:
        return Reason("trending")
    if trending > 0 or float(query.columns.popularity[row]) > 0:
        return Reason("popular")
    # What nobody has bought may have been here for years.
    return Reason("new" if query.is_new(int(query.columns.keys[row])) else "offered")


def _bought(query: Query) -> Bools:
    if len(query.history_bought) == len(query.history):
        return query.history_bought
    return np.zeros(len(query.history), np.bool_)


def _nearest(query: Query, row: int, others: Rows) -> tuple[int, float]:
    """Return the row of `others` nearest to `row` by item vector, and the cosine.

    The newest of equals; without any vector the newest of all, cosine 0.
    """
    if not len(others):
        return -1, 0.0
    vectors = query.columns.vectors
    cosine = vectors[others] @ vectors[row]
    at = len(others) - 1 - int(cosine[::-1].argmax())
    return int(others[at]), float(cosine[at])
