"""What memory holds is what the next start reads from the file, whatever happened before."""

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from artifacts.fusion import FusionSettings
from artifacts.keys import item_key
from gateway.config import GatewayConfig
from gateway.embedder import Embedder
from gateway.events import EventTaker
from gateway.keeper import CatalogueKeeper
from gateway.learned import learn
from gateway.loading import State, load_state
from gateway.types import Event, EventType, Item, Trail
from tests.unit.gateway.test_catalogue import FUSION

T = TypeVar("T")
USERS = ("ann", "bob", "zoë")
MARKETS = ("", "m", "n")
# "1" and "2" are known to the models, "gone" is never in the catalogue.
IDS = ("1", "2", "7", "x")
LENGTH = 4
MINUTE, DAY = 60_000, 86_400_000
# Long ago, days apart, the same moment twice, and as far ahead as the API lets pass.
AGES = (400 * DAY, 9 * DAY, 2 * DAY, MINUTE, 1, 0, -10 * MINUTE)

events = st.tuples(
    st.sampled_from(USERS), st.sampled_from((*IDS, "gone")), st.sampled_from(EventType),
    st.sampled_from(AGES), st.sampled_from(("", "", "a", "b", "c", "d", "e", "f")),
    st.sampled_from(MARKETS),
)  # fmt: skip
items = st.builds(
    lambda item_id, title, price: Item(
        item_id, item_key(item_id), title=title, price=price, domain="A"
    ),
    st.sampled_from(IDS), st.sampled_from(("soap", "olive soap", "")),
    st.sampled_from((None, 0.0, 2.5)),
)  # fmt: skip


@dataclass
class Model:
    """What was acknowledged, in plain Python."""

    events: list[Event] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    items: dict[str, Item] = field(default_factory=dict)

    def take(self, given: list[Event]) -> int:
        new = 0
        for event in given:
            if event.event_id and event.event_id in self.ids:
                continue
            self.ids.add(event.event_id)
            self.events.append(event)
            new += 1
        return new

    def of(self, user: str) -> list[Event]:
        """A shopper's events that name an item, oldest first, as they came where times agree."""
        mine = [e for e in self.events if e.user_id == user and e.key]
        return sorted(mine, key=lambda e: e.time_ms)

    def disliked(self, user: str) -> set[int]:
        opinions = {
            e.key: e.type for e in self.of(user) if e.type in (EventType.LIKE, EventType.DISLIKE)
        }
        return {key for key, kind in opinions.items() if kind is EventType.DISLIKE}


class Memory(RuleBasedStateMachine):
    """One gateway's state, and what it ought to be."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.config = GatewayConfig(
            state=Path(self.directory.name) / "state.sqlite", history_length=LENGTH,
            remembered_events=LENGTH, sources=("cf=h:1",), item_encoders=(),
            max_markets=1,
        )  # fmt: skip
        self.model = Model()
        self.now = int(time.time() * 1000)
        self.fusion = FUSION
        self.state: State | None = None
        self.load()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def load(self) -> None:
        self.state = load_state(self.config, self.fusion)
        state = self.state
        self.taker = EventTaker(state.store, state.catalogue, state.trails, state.trends)
        embedder = Embedder({}, state.new_items, state.store, retry_ms=1)
        self.keeper = CatalogueKeeper(
            state.store, state.catalogue, state.new_items, state.trends, embedder, embed_seconds=0.0
        )

    @property
    def here(self) -> State:
        assert self.state is not None
        return self.state

    def made(self, given: tuple[str, str, EventType, int, str, str]) -> Event:
        user, item, kind, age, event_id, market = given
        key = 0 if kind is EventType.SEARCH else item_key(item)
        when = self.now - age
        return Event(user, key, kind, when, event_id=event_id, market=market)

    @rule(given=st.lists(events, min_size=1, max_size=5))
    def record(self, given: list[tuple[str, str, EventType, int, str, str]]) -> None:
        made = [self.made(one) for one in given]
        done = self.run(self.taker.record(made))
        assert done.new == self.model.take(made)
        assert done.duplicates == len(made) - done.new

    @rule(user=st.sampled_from(USERS))
    def look(self, user: str) -> None:
        self.check_trail(user, self.run(self.trail(user)))

    async def trail(self, user: str) -> Trail:
        return await self.here.trails.get(user, 1e9)

    @rule(given=st.lists(items, min_size=1, max_size=3, unique_by=lambda i: i.item_id))
    def upsert(self, given: list[Item]) -> None:
        done = self.run(self.keeper.upsert(given, None))
        assert done.created == sum(i.item_id not in self.model.items for i in given)
        self.model.items |= {i.item_id: i for i in given}

    @rule(given=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True))
    def delete(self, given: list[str]) -> None:
        done = self.run(self.keeper.delete(given))
        assert done[0] == sum(self.model.items.pop(i, None) is not None for i in given)

    @rule(days=st.sampled_from((1.0, 7.0)))
    def change_fusion(self, days: float) -> None:
        self.fusion = replace(self.fusion, settings=FusionSettings(trend_half_life_days=days))
        catalogue = self.here.catalogue
        catalogue.learn(learn(self.fusion, catalogue.columns.keys, catalogue.capacity))
        self.here.new_items.keep(catalogue.are_new)
        self.here.trends.set_half_life(days, self.now)

    @rule(saved=st.booleans())
    def restart(self, *, saved: bool) -> None:
        """Start again, after a stop or a kill."""
        if saved:
            keys = self.here.catalogue.columns.keys
            snapshots = self.here.trends.snapshots(keys, self.now)
            self.run(self.here.store.put_trends(snapshots, self.here.trends.last_seq))
        self.here.store.stop()
        self.load()

    def check_trail(self, user: str, trail: Trail) -> None:
        mine = self.model.of(user)
        told = list(
            zip(trail.keys.tolist(), trail.types.tolist(), trail.times.tolist(), strict=True)
        )
        assert told == [(e.key, int(e.type), e.time_ms) for e in mine[-LENGTH:]]
        bought = {e.key for e in mine if e.type is EventType.PURCHASE}
        assert set(trail.purchased.tolist()) == bought
        assert set(trail.disliked.tolist()) == self.model.disliked(user)

    @invariant()
    def the_catalogue_is_the_models(self) -> None:
        catalogue, model = self.here.catalogue, self.model.items
        assert len(catalogue) == len(model)
        for item_id in IDS:
            row = catalogue.row_of(item_id)
            assert (row >= 0) == (item_id in model)
            if row >= 0:
                assert catalogue.item(row) == model[item_id]
        new = {item_key(i) for i in model if i in ("7", "x")}
        assert {i.key for i in self.here.new_items._items.values()} == new

    def trends(self) -> dict[str, dict[str, float]]:
        catalogue, found = self.here.catalogue, {}
        for market in MARKETS:
            values = self.here.trends.now(market, len(catalogue.columns.keys), self.now)[:]
            found[market] = {i: float(values[catalogue.row_of(i)]) for i in self.model.items}
        return found

    @rule()
    def compare(self) -> None:
        """What a start reads is what was in memory."""
        for user in USERS:
            self.check_trail(user, self.run(self.trail(user)))
        before = self.trends()
        self.restart(saved=True)
        after = self.trends()
        for market, values in before.items():
            for item_id, value in values.items():
                # What fades below 2^-8 of an event is left out.
                assert after[market][item_id] == pytest.approx(value, abs=0.05), (market, item_id)
        for user in USERS:
            self.check_trail(user, self.run(self.trail(user)))

    def teardown(self) -> None:
        self.here.store.stop()
        self.runner.close()
        self.directory.cleanup()


Memory.TestCase.settings = settings(
    max_examples=12, stateful_step_count=20, derandomize=True, deadline=None
)
TestMemory = Memory.TestCase
