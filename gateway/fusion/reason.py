"""A reason a shopper can read.

Picks the fact that speaks most plainly for an item, from what the fusion
already knows; the wording is apart from the fact, so a storefront may say it in
its own language.
"""

from dataclasses import dataclass

import numpy as np

from gateway.fusion.hard_rules import member
from gateway.fusion.types import Bools, Floats, Pool, Query, Rows

# Below this cosine two items are not visibly related.
_RELATED = 0.2
# Above this part of the market's strongest trend an item is said to trend.
_TRENDING = 0.25
# Surfaces that are about items, and how what is like one of these is called there.
_ABOUT = {"ITEM": "similar_to", "CART": "goes_with_cart"}


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


def reasons(query: Query, pool: Pool, positions: Rows) -> list[Reason]:
    """Return the plainest reason for each of the candidates at these pool indices [N]."""
    scored: list[bool] = np.any(~np.isnan(pool.scores[:, positions]), axis=0).tolist()
    rows: list[int] = pool.rows[positions].tolist()
    about = query.surface in _ABOUT and len(query.context) > 0
    context = _Others(query, query.context)
    past: _Past | None = None  # which few pages of a search, or about items, need
    found = []
    for row, known in zip(rows, scored, strict=True):
        if query.surface == "SEARCH" and (known or row in query.named):
            found.append(Reason("matches_query"))
        elif about and known:
            found.append(Reason(_ABOUT[query.surface], context.nearest(row)[0]))
        elif known or pool.learned:  # the ranker knows the shopper's habits by itself
            past = past or _Past(query)
            found.append(past.reason(row) or _from_market(query, row))
        else:
            found.append(_from_market(query, row))
    return found


class _Others:
    """Items that another may be like; their vectors are gathered once for a page."""

    def __init__(self, query: Query, rows: Rows) -> None:
        self.rows = rows
        self._all = query.columns.vectors
        self._vectors: Floats | None = None

    def nearest(self, row: int) -> tuple[int, float]:
        """Return the one nearest to `row` by item vector, and the cosine.

        The newest of equals; without any vector the newest of all, cosine 0.
        """
        if not len(self.rows):
            return -1, 0.0
        if self._vectors is None:
            self._vectors = self._all[self.rows]
        cosine = self._vectors @ self._all[row]
        at = len(cosine) - 1 - int(cosine[::-1].argmax())
        return int(self.rows[at]), float(cosine[at])


class _Past:
    """What a shopper did, as far as it recommends something."""

    def __init__(self, query: Query) -> None:
        recommends = _recommends(query, query.history, query.history_weight)
        self._history = _Others(query, query.history[recommends])
        self._had = set(self._history.rows.tolist())
        self._bought = set(self._history.rows[_bought(query)[recommends]].tolist())
        self._places = [self._history]
        if query.surface == "SESSION" and len(query.session):  # there first what is of it
            theirs = query.session[_recommends(query, query.session, query.session_weight)]
            self._places.insert(0, _Others(query, theirs))

    def reason(self, row: int) -> Reason | None:
        """What the shopper did with an item, or else with one like it."""
        if row in self._had:
            return Reason("buy_again" if row in self._bought else "seen_before", row)
        for others in self._places:
            near, cosine = others.nearest(row)
            if cosine >= _RELATED:
                return Reason("because_bought" if near in self._bought else "because_viewed", near)
        return None


def _recommends(query: Query, rows: Rows, weights: Floats) -> Bools:
    """Which events speak for what is like their items [L]: none of what is disliked by now."""
    wanted: Bools = weights > 0
    if len(query.rules.disliked):
        wanted &= ~member(rows, query.rules.disliked, len(query.columns.keys))
    return wanted


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
