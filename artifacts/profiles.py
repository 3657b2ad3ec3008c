"""A shopper's profile: what they like, what they pay, how often they come.

The one idea: a pure function of weighted events and the catalogue's columns. Nothing of
it is kept, so it can be had for any moment, in training (the events before a cut) and in
serving (the event of a second ago included), and is the same thing in both.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from artifacts.formulas import Floats, Rows
from artifacts.price_level import PriceLevel, price_level

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

DAY_MS = 86_400_000


class Shelf(Protocol):
    """The catalogue's columns that count, by row; n items."""

    @property
    def domain(self) -> Rows: ...  # noqa: D102 -- index [n]; -1 unknown
    @property
    def category(self) -> Rows: ...  # noqa: D102 -- index [n]; -1 unknown
    @property
    def brand(self) -> Rows: ...  # noqa: D102 -- index [n]; -1 unknown
    @property
    def price(self) -> Floats: ...  # noqa: D102 -- NaN unknown [n]


@dataclass(frozen=True, slots=True, eq=False)
class Deeds:
    """What a shopper did, oldest first; L events."""

    keys: Ints  # item keys, 0 for an event about no item [L]
    rows: Rows  # catalogue rows, -1 where the catalogue lacks the item [L]
    times: Ints  # milliseconds since 1970, ascending [L]
    weights: Floats  # how much each says that the item is wanted, by type and age; 0: not [L]
    bought: Bools  # [L]
    paid: Floats  # for one unit; NaN unknown [L]
    recent: Bools  # of the current session [L]
    step_weights: Floats  # as `weights`, by type and steps since; 0 before the session [L]


@dataclass(frozen=True, slots=True)
class Activity:
    """How recently and how often a shopper comes. Times in milliseconds, None: never."""

    events: int
    events_7_days: int
    events_30_days: int
    purchases: int
    purchases_30_days: int
    first_ms: int | None
    last_ms: int | None
    last_purchase_ms: int | None
    active_days: int
    days_between: float | None  # median from one active day to the next
    repeat_share: float | None  # purchases of what had been bought before


@dataclass(frozen=True, slots=True, eq=False)
class Interests:
    """Weight by one attribute of the items, strongest first; K distinct values."""

    values: Rows  # index into the attribute's names [K]
    shares: Doubles  # sum to 1 unless K is 0 [K]
    counts: Ints  # events [K]
    last_ms: Ints  # time of the newest [K]


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """Interests by each attribute."""

    domains: Interests
    categories: Interests
    brands: Interests


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What a shopper is doing now."""

    events: int
    start_ms: int
    tastes: Tastes


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One shopper as of one moment."""

    activity: Activity
    tastes: Tastes
    price_level: PriceLevel | None  # None: no price is known
    session: Session | None  # None: nothing is going on
    unknown_items: int  # events about items that the catalogue lacks


def profile(deeds: Deeds, shelf: Shelf, now_ms: int) -> Profile:
    """Return the profile that these events make."""
    recent = deeds.times[deeds.recent]
    session = None
    if len(recent):
        session = Session(len(recent), int(recent[0]), tastes(deeds, shelf, deeds.step_weights))
    return Profile(
        activity=activity(deeds, now_ms),
        tastes=tastes(deeds, shelf, deeds.weights),
        price_level=price_level(deeds, shelf),
        session=session,
        unknown_items=int(((deeds.rows < 0) & (deeds.keys != 0)).sum()),
    )


def activity(deeds: Deeds, now_ms: int) -> Activity:
    """Count what was done, and when. A day is one of UTC."""
    times, bought = deeds.times, deeds.times[deeds.bought]
    days = np.unique(times // DAY_MS)
    return Activity(
        events=len(times),
        events_7_days=int((times > now_ms - 7 * DAY_MS).sum()),
        events_30_days=int((times > now_ms - 30 * DAY_MS).sum()),
        purchases=len(bought),
        purchases_30_days=int((bought > now_ms - 30 * DAY_MS).sum()),
        first_ms=int(times[0]) if len(times) else None,
        last_ms=int(times[-1]) if len(times) else None,
        last_purchase_ms=int(bought[-1]) if len(bought) else None,
        active_days=len(days),
        days_between=float(np.median(np.diff(days))) if len(days) > 1 else None,
        repeat_share=_repeat_share(deeds.keys[deeds.bought], bought),
    )


def _repeat_share(keys: Ints, times: Ints) -> float | None:
    """Return the part of the purchases whose item had been bought before; None: no purchases."""
    if not len(keys):
        return None
    # Two lines of one basket are one purchase.
    items, _ = np.unique(np.stack([keys, times]), axis=1)
    return 1 - len(np.unique(items)) / len(items)


def tastes(deeds: Deeds, shelf: Shelf, weights: Floats) -> Tastes:
    """Return the interests that events have at these weights [L]."""
    at = (deeds.rows >= 0) & (weights > 0)
    rows, weight, times = deeds.rows[at], weights[at], deeds.times[at]
    return Tastes(
        domains=interests(shelf.domain[rows], weight, times),
        categories=interests(shelf.category[rows], weight, times),
        brands=interests(shelf.brand[rows], weight, times),
    )


def interests(values: Rows, weights: Floats, times: Ints) -> Interests:
    """Add up weights [L], above 0, by value [L]; -1 counts nowhere. `times` [L] ascend."""
    known = values >= 0
    found, which = np.unique(values[known], return_inverse=True)
    total = np.bincount(which, weights[known], len(found))
    newest = np.zeros(len(found), np.int64)
    newest[which] = times[known]  # of several written to one place the last stays
    order = np.argsort(-total, kind="stable")
    return Interests(
        values=found[order].astype(np.int32),
        shares=(total / total.sum())[order],
        counts=np.bincount(which, minlength=len(found))[order],
        last_ms=newest[order],
    )
