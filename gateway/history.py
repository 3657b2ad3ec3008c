"""What a shopper did, as the models and the fusion read it.

Each event weighs by its type and its age. A dislike never recommends: it is
kept from the models, hides its item, and repels what is like it while the
session lasts.
"""

from dataclasses import dataclass, replace

import numpy as np

from gateway.fusion.types import Bools, Floats, Ints
from gateway.trails import extended
from gateway.types import Ask, EventType, Times, Trail

_DAY_MS = 86_400_000.0
# How much an event says that the shopper wants the item, the most certain being 1; as in
# training. Index is the type; a search names no item.
TYPE_WEIGHT = np.zeros(8, np.float32)
TYPE_WEIGHT[EventType.VIEW] = 0.25
TYPE_WEIGHT[EventType.CLICK] = 0.5
TYPE_WEIGHT[EventType.CART] = 0.75
TYPE_WEIGHT[EventType.PURCHASE] = 1.0
TYPE_WEIGHT[EventType.LIKE] = 1.0
# In a session the last step says most; each step before it this much less.
_STEP = 0.85


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How events age."""

    length: int  # newest events that count
    half_life_days: float  # 0: they never fade
    floor: float  # least that age leaves of a weight
    session_minutes: float


@dataclass(frozen=True, slots=True)
class History:
    """What one request knows of its shopper's events, oldest event first."""

    keys: Ints  # item keys that models are told [L]
    weights: Floats  # [L], positive
    types: Ints  # EventType of each [L]
    ages: Floats  # seconds from each to the question [L]
    session_keys: Ints  # [M]
    session_weights: Floats  # [M]; negative for a dislike
    purchased: Ints  # item keys, all there ever were
    disliked: Ints  # item keys
    # All that is remembered of what recommends an item, for the learned ranker.
    past_keys: Ints  # [R]
    past_age: Floats  # days before now [R]
    past_worth: Floats  # weight by type alone [R]

    @property
    def bought(self) -> Bools:
        """Which events were purchases [L]."""
        bought: Bools = self.types == EventType.PURCHASE
        return bought


def history_for(ask: Ask, trail: Trail, now_ms: int, settings: HistorySettings) -> History:
    """Combine what the store knows with the request's own events, for the ask's surface.

    ITEM and CART are about the items they name; SESSION about this session; the
    others about everything.
    """
    if ask.events:
        trail = extended(trail, ask.events, len(trail.keys) + len(ask.events))
    recent = trail.times >= now_ms - settings.session_minutes * 60_000
    if ask.events:
        # What comes with the request is happening now, whatever the caller's clock says.
        recent |= np.isin(trail.times, np.array([e.time_ms for e in ask.events], np.int64))
    base = TYPE_WEIGHT[trail.types]
    age_ms = now_ms - trail.times
    weights: Floats = np.multiply(base, fading(age_ms, settings))
    signed = np.where(trail.types == EventType.DISLIKE, np.float32(-1), base)
    told = weights > 0
    if ask.surface == "SESSION":
        told &= recent
    told_at = np.flatnonzero(told)[-settings.length :]
    past = base > 0
    age = np.maximum(age_ms[past], 0) / _DAY_MS
    return History(
        keys=trail.keys[told_at],
        weights=weights[told_at],
        types=trail.types[told_at].astype(np.int64),
        ages=_seconds(age_ms[told_at]),
        session_keys=trail.keys[recent],
        session_weights=by_step(signed[recent]),
        purchased=trail.purchased,
        disliked=trail.disliked,
        past_keys=trail.keys[past],
        past_age=age.astype(np.float32),
        past_worth=base[past],
    )


def about(history: History, keys: Ints) -> History:
    """Return what a question about given items (ITEM, CART) knows: these are its history."""
    return replace(
        history,
        keys=keys,
        weights=np.ones(len(keys), np.float32),
        # They are what is looked at now.
        types=np.full(len(keys), EventType.VIEW, np.int64),
        ages=np.zeros(len(keys), np.float32),
    )


def fading(age_ms: Times, settings: HistorySettings) -> Floats:
    """Return what age leaves of each event's weight, floor .. 1 [L]; ages in ms."""
    faded: Floats = np.ones(len(age_ms), np.float32)
    if settings.half_life_days > 0:
        half_lives = np.maximum(age_ms, 0) / (settings.half_life_days * _DAY_MS)
        faded = np.maximum(np.exp2(-half_lives), settings.floor).astype(np.float32)
    return faded


def _seconds(age_ms: Times) -> Floats:
    seconds: Floats = (np.maximum(age_ms, 0) / 1000).astype(np.float32)
    return seconds


def by_step(weights: Floats) -> Floats:
    """Return a session's weights [M], oldest first, less for each step that followed."""
    steps = np.arange(len(weights) - 1, -1, -1, dtype=np.float32)
    stepped: Floats = weights * np.float32(_STEP) ** steps
    return stepped
