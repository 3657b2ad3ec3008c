"""A shopper's trail, made longer by what happened since.

Done for every request that brings events and every event that is taken, so by columns:
none of an event's fields is touched one by one.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from artifacts.among import among
from artifacts.compiled import BOOLS, INTS, SMALLS, compiled
from gateway.fusion.types import Bools, Ints
from gateway.reads import MOST_JUDGED, MOST_KEYS
from gateway.types import EventColumns, EventType, Times, Trail, Types

# Plain numbers: what an enumeration is asked for takes longer than the comparison.
_PURCHASE, _LIKE, _DISLIKE = map(int, (EventType.PURCHASE, EventType.LIKE, EventType.DISLIKE))


def extended(trail: Trail, events: EventColumns, length: int) -> Trail:
    """Return the trail with further events, its newest `length`, skipping those it holds.

    An event is held if one of its id is, or, without an id, one of the same item, type
    and time; of two that are stored only if it is the same one.
    """
    if not len(events):
        return trail
    held = _held(
        trail.keys, trail.types, trail.times, trail.ids,
        events.keys, events.types, events.times, events.ids, events.named, events.numbers,
    )  # fmt: skip
    if held.all():
        return trail
    # What the read left out came before all that it did not.
    left_out = (events.numbers > 0) & (events.numbers <= trail.seen)
    early, late = np.flatnonzero(left_out & ~held), np.flatnonzero(~left_out & ~held)

    def joined(have: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([new[early], have, new[late]])

    times = joined(trail.times, events.times)
    # Stable: events of the same moment stay in the order they came.
    newest = np.argsort(times, kind="stable")[-length:]
    fresh = np.concatenate([early, late])
    types = events.types[fresh]
    bought = events.keys[fresh[types == _PURCHASE]]
    longer = Trail(
        keys=joined(trail.keys, events.keys)[newest],
        types=joined(trail.types, events.types)[newest],
        times=times[newest],
        ids=joined(trail.ids, np.where(events.named, events.ids, -events.numbers))[newest],
        purchased=_union(trail.purchased, bought),
        disliked=trail.disliked,
        judged=trail.judged,
        judged_ms=trail.judged_ms,
        seen=trail.seen,
    )
    opinions = fresh[(types == _LIKE) | (types == _DISLIKE)]
    return _judged(longer, events, opinions, left_out) if len(opinions) else longer


@compiled(INTS, SMALLS, INTS, INTS, INTS, SMALLS, INTS, INTS, BOOLS, INTS)
def _held(  # noqa: PLR0917 -- compiled code takes arrays, not objects that hold them
    keys: Ints, types: Types, times: Times, ids: Ints,
    new_keys: Ints, new_types: Types, new_times: Times, new_ids: Ints, named: Bools, numbers: Ints,
) -> Bools:  # fmt: skip
    """Say of events [N] whether a trail [L] holds them."""
    held = np.zeros(len(new_keys), np.bool_)
    for i in range(len(new_keys)):
        for j in range(len(keys)):
            if named[i]:
                held[i] = ids[j] == new_ids[i]
            else:
                held[i] = (
                    keys[j] == new_keys[i]
                    and times[j] == new_times[i]
                    and types[j] == new_types[i]
                    # Which a repaired file may give again, to another.
                    and (numbers[i] == 0 or ids[j] == -numbers[i])
                )
            if held[i]:
                break
    return held


def _judged(trail: Trail, events: EventColumns, opinions: Ints, left_out: Bools) -> Trail:
    """Take in likes and dislikes, as the store reads them; `opinions` are their places.

    The newest of an item decides, of the same moment the last to come; one that comes
    late changes nothing.
    """
    known = dict(zip(trail.judged.tolist(), trail.judged_ms.tolist(), strict=True))
    newest: dict[int, int] = {}  # item key -> type
    for place in opinions.tolist():
        key, time_ms = int(events.keys[place]), int(events.times[place])
        if time_ms >= known.get(key, 0) + bool(left_out[place]):
            known[key], newest[key] = time_ms, int(events.types[place])
    if not newest:
        return trail
    fresh = np.array([*newest], np.int64)
    dislikes = np.array([*newest.values()], np.int8) == _DISLIKE
    others = ~among(trail.judged, np.sort(fresh))
    keys = np.concatenate([trail.judged[others], fresh])
    times = np.concatenate([trail.judged_ms[others], [known[key] for key in newest]])
    latest = np.argsort(times, kind="stable")[-MOST_JUDGED:]
    liked = among(trail.disliked, np.sort(fresh[~dislikes]))
    return replace(
        trail,
        disliked=_union(trail.disliked[~liked], fresh[dislikes]),
        judged=keys[latest],
        judged_ms=times[latest],
    )


def _union(have: Ints, more: Ints) -> Ints:
    """Return both, each key once, the latest last; the oldest go where there are too many."""
    if not len(more):
        return have
    fresh = np.array([*dict.fromkeys(more.tolist())], np.int64)
    return np.concatenate([have[~among(have, np.sort(fresh))], fresh])[-MOST_KEYS:]
