"""From the state file to the state in memory, at start."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from artifacts.fusion import FusionArtifact
from gateway.catalogue import Catalogue
from gateway.condition import State as Condition
from gateway.config import GatewayConfig
from gateway.errors import StoreDamaged
from gateway.new_items import NewItems
from gateway.reads import AdaptedRow
from gateway.store import Store, StoreSettings
from gateway.trails import Trails
from gateway.trends import Trends
from gateway.types import MOST_AHEAD_MS, Item
from services.runtime.metrics import EVENT_SECONDS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What the gateway remembers: the file, and what is derived from it in memory."""

    store: Store
    catalogue: Catalogue
    new_items: NewItems
    trails: Trails
    trends: Trends
    adapted: list[AdaptedRow]


def load_state(
    config: GatewayConfig,
    fusion: FusionArtifact,
    tell: Callable[[Condition], None] | None = None,
    stopping: threading.Event | None = None,
) -> State:
    """Open the store and build everything from it; blocks for seconds per million events.

    A damaged file is replaced by what can be saved of it. `tell` hears of every
    change of the store's condition from here on, in the thread that finds it; once
    `stopping` is set no repair is waited for. Raises StoreError naming the file and what to do.
    """
    settings = StoreSettings(config.trail_length, config.event_sync_ms, config.event_keep_days)
    observe = EVENT_SECONDS.observe
    store = Store(config.state, settings, observe=observe, tell=tell, stopping=stopping)
    store.start()
    try:
        try:
            with store.undisturbed():  # the upkeep may find damage that is not read here
                return _load(config, fusion, store)
        except StoreDamaged:
            store.repair()
            with store.undisturbed():
                return _load(config, fusion, store)
    except BaseException:
        store.stop()
        raise


def _load(config: GatewayConfig, fusion: FusionArtifact, store: Store) -> State:
    start = time.perf_counter()
    catalogue = Catalogue(fusion, store.items())
    new = _new(catalogue, config.max_new_items)
    new_items = _load_new_items(config, store, catalogue, new)
    trends = _load_trends(config, fusion, store, catalogue)
    trails = Trails(store.trail, capacity=config.cached_users, length=config.trail_length)
    seconds = round(time.perf_counter() - start, 3)
    _log.info("state loaded", extra={"items": len(catalogue), "new": len(new), "seconds": seconds})
    return State(store, catalogue, new_items, trails, trends, store.adapted())


def _new(catalogue: Catalogue, most: int) -> list[Item]:
    """Return the items that no model knows, at most so many, the latest last.

    Seeded ones too: a shop may be seeded with newer data than its models learned from.
    """
    # Rows are in the order of reading: what was seeded, then what came through the API.
    rows = np.flatnonzero(catalogue.are_new(catalogue.columns.keys))
    return [catalogue.item(row) for row in rows[max(len(rows) - most, 0) :].tolist()]


def _load_new_items(
    config: GatewayConfig, store: Store, catalogue: Catalogue, items: list[Item]
) -> NewItems:
    new_items = NewItems(config.encoders(), config.max_new_items, catalogue.place)
    by_key = {item.key: item for item in items}
    for item in items:
        new_items.put(item)
    for source in config.encoders():
        stored = {k: v for k, v in store.embeddings(source).items() if k in by_key}
        # By width too: a repository that was begun anew counts its versions from 1 again.
        # Vectors of two widths cannot be kept together; those that give way are made again.
        for version, width in {(version, len(vector)) for version, vector in stored.values()}:
            made = {k: x for k, (v, x) in stored.items() if (v, len(x)) == (version, width)}
            matrix = np.stack(list(made.values()))
            new_items.put_vectors(source, version, [by_key[k] for k in made], matrix)
    return new_items


def _load_trends(
    config: GatewayConfig, fusion: FusionArtifact, store: Store, catalogue: Catalogue
) -> Trends:
    now_ms = int(time.time() * 1000)
    trends = Trends(
        fusion.settings.trend_half_life_days,
        config.max_markets,
        now_ms,
        keys=lambda: catalogue.columns.keys,
    )
    middle_ms, (snapshots, last_seq) = store.middle_ms(), store.trends()
    # Before half of what is in the file: then it is not set yet.
    behind = middle_ms is not None and middle_ms > now_ms
    if not behind and any(s.time_ms > now_ms + MOST_AHEAD_MS for s in snapshots.values()):
        # Beside these nothing would count until then.
        _log.warning("trends of a clock that was ahead are counted anew from the events")
        snapshots, last_seq = {}, 0
    trends.restore(snapshots, {m: catalogue.rows(s.keys) for m, s in snapshots.items()})
    events = store.events_after(last_seq, trends.oldest_ms())
    if not behind:  # what was stamped by such a clock happened by now
        events = replace(events, times=np.minimum(events.times, now_ms))
    trends.replay(events, catalogue.rows(events.keys))
    return trends
