"""What a shopper did, as the models and the fusion read it.

Each event weighs by its type and its age. A dislike never recommends: it is
kept from the models, hides its item, and repels what is like it while the
session lasts.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from artifacts.among import among
from artifacts.compiled import BOOLS, FLAG, INTS, NUMBER, REAL, SMALLS, compiled
from artifacts.formulas import by_step
from gateway.extending import extended
from gateway.fusion.types import Bools, Floats, Ints
from gateway.types import MOST_AHEAD_MS, Ask, EventType, Times, Trail, Types

_DAY_MS = 86_400_000.0
# A plain number: what an enumeration is asked for takes longer than the comparison.
_PURCHASE = int(EventType.PURCHASE)
# How much an event says that the shopper wants the item, the most certain being 1; as in
# training. Index is the type; a search names no item.
TYPE_WEIGHT = np.zeros(8, np.float32)
TYPE_WEIGHT[EventType.VIEW] = 0.25
TYPE_WEIGHT[EventType.CLICK] = 0.5
TYPE_WEIGHT[EventType.CART] = 0.75
TYPE_WEIGHT[EventType.PURCHASE] = 1.0
TYPE_WEIGHT[EventType.LIKE] = 1.0
# As compiled code knows it.
_DISLIKE = int(EventType.DISLIKE)
# Parts of a History, in the order of its fields.
_Told: TypeAlias = tuple[Ints, Floats, Ints, Floats]
_Session: TypeAlias = tuple[Ints, Floats]
_Past: TypeAlias = tuple[Ints, Floats, Floats]


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
    # What recommends an item, for a learned ranker: on SESSION of this session, on ITEM and
    # CART the items they are about, else all that is remembered.
    past_keys: Ints  # [R]
    past_age: Floats  # days before now [R]
    past_worth: Floats  # weight by type alone [R]

    @property
    def bought(self) -> Bools:
        """Which events were purchases [L]."""
        bought: Bools = self.types == _PURCHASE
        return bought


def history_for(ask: Ask, trail: Trail, now_ms: int, settings: HistorySettings) -> History:
    """Combine what the store knows with the request's own events, for the ask's surface.

    ITEM and CART are about the items they name; SESSION about this session; the
    others about everything.
    """
    trail = extended(trail, ask.events, len(trail.keys) + len(ask.events))
    recent = is_recent(trail.times, now_ms, settings)
    if len(ask.events):
        # What comes with the request is happening now, whatever the caller's clock says.
        recent |= among(trail.times, np.sort(ask.events.times))
    told, session, past = _read(
        trail.keys, trail.types, trail.times, recent,
        now_ms, settings.half_life_days * _DAY_MS, settings.floor,
        settings.length, ask.surface == "SESSION",
    )  # fmt: skip
    keys, weights, types, ages = told
    session_keys, session_weights = session
    past_keys, past_age, past_worth = past
    return History(
        keys=keys,
        weights=weights,
        types=types,
        ages=ages,
        session_keys=session_keys,
        session_weights=session_weights,
        purchased=trail.purchased,
        disliked=trail.disliked,
        past_keys=past_keys,
        past_age=past_age,
        past_worth=past_worth,
    )


def is_recent(times: Times, now_ms: int, settings: HistorySettings) -> Bools:
    """Say of events [L] whether they are of the current session.

    What a wrong clock stamped would be until that time has come, and is not.
    """
    recent: Bools = times >= now_ms - settings.session_minutes * 60_000
    return recent & (times <= now_ms + MOST_AHEAD_MS)


@compiled(NUMBER, REAL, REAL)
def _left(age: int, half_life: float, floor: float) -> float:
    """Return what age leaves of a weight, floor .. 1; both in ms, half-life 0: all of it."""
    if half_life <= 0:
        return 1.0
    return max(float(np.exp2(-max(age, 0) / half_life)), floor)


@compiled(INTS, REAL, REAL)
def _faded(ages: Times, half_life: float, floor: float) -> Floats:
    faded = np.empty(len(ages), np.float32)
    for i in range(len(ages)):
        faded[i] = _left(ages[i], half_life, floor)
    return faded


@compiled(INTS, SMALLS, INTS, BOOLS, NUMBER, REAL, REAL, NUMBER, FLAG)
def _read(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    keys: Ints, types: Types, times: Times, recent: Bools,
    now: int, half_life: float, floor: float, length: int, session_only: bool,
) -> tuple[_Told, _Session, _Past]:  # fmt: skip
    """Return what the models are told, the session, and the past, as History has them.

    Times and `half_life` in milliseconds.
    """
    sessions, past = 0, 0
    for i in range(len(keys)):
        sessions += recent[i]
        past += TYPE_WEIGHT[types[i]] > 0 and (recent[i] or not session_only)
    told = min(past, length)
    told_keys, told_weights = np.empty(told, np.int64), np.empty(told, np.float32)
    told_types, told_ages = np.empty(told, np.int64), np.empty(told, np.float32)
    session_keys, session_weights = np.empty(sessions, np.int64), np.empty(sessions, np.float32)
    past_keys = np.empty(past, np.int64)
    past_age, past_worth = np.empty(past, np.float32), np.empty(past, np.float32)
    for i in range(len(keys) - 1, -1, -1):  # the newest first: its are the places that count
        worth, age = TYPE_WEIGHT[types[i]], max(now - times[i], 0)
        if recent[i]:
            sessions -= 1
            session_keys[sessions] = keys[i]
            session_weights[sessions] = -1 if types[i] == _DISLIKE else worth
        if not worth > 0 or (session_only and not recent[i]):
            continue
        past -= 1
        past_keys[past], past_age[past], past_worth[past] = keys[i], age / _DAY_MS, worth
        if told:
            told -= 1
            told_keys[told], told_weights[told] = keys[i], worth * _left(age, half_life, floor)
            told_types[told], told_ages[told] = types[i], age / 1000
    return (
        (told_keys, told_weights, told_types, told_ages),
        (session_keys, by_step(session_weights)),
        (past_keys, past_age, past_worth),
    )


def about(history: History, keys: Ints) -> History:
    """Return what a question about given items (ITEM, CART) knows: these are its history."""
    certain, now = np.ones(len(keys), np.float32), np.zeros(len(keys), np.float32)
    return replace(
        history,
        keys=keys,
        weights=certain,
        # They are what is looked at now.
        types=np.full(len(keys), EventType.VIEW, np.int64),
        ages=now,
        past_keys=keys,
        past_age=now,
        past_worth=certain,
    )


def fading(age_ms: Times, settings: HistorySettings) -> Floats:
    """Return what age leaves of each event's weight, floor .. 1 [L]; ages in ms."""
    faded: Floats = _faded(
        np.ascontiguousarray(age_ms), settings.half_life_days * _DAY_MS, settings.floor
    )
    return faded
