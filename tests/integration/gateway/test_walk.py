"""A long random walk: whatever was called before, every answer is what the protos promise.

Shoppers, the shop and its models do as they like; a plain oracle is told of what was
acknowledged, and knows what may be shown. Half of the way the gateway is started anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, GetItemRequest, UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from tests.integration.gateway import world
from tests.integration.gateway.dice import Dice, few, foreign, infinite, no_numbers
from tests.integration.gateway.oracle import Oracle, Shopper
from tests.integration.gateway.world import Shop, fake_sources, ids, open_shop

STEPS = 60
USERS = ("una", "ida", "")
SURFACES = {
    t.SURFACE_HOME: 0, t.SURFACE_SESSION: 0, t.SURFACE_ITEM: 1, t.SURFACE_CART: 3,
}  # fmt: skip
ADJUSTMENTS = {"fallback", "cross_domain", "session", "trend", "cost", "boost"}


@dataclass
class Asked:
    """A request, what is known of it, and what its pages have shown so far."""

    method: str
    request: Any
    shopper: Shopper
    context: Sequence[str] = ()  # of ITEM and CART
    shown: list[str] = field(default_factory=list)
    last: int = 0  # position
    ranking_id: str = ""
    token: str = ""

    @property
    def surface(self) -> int:
        return int(getattr(self.request, "surface", 0))

    @property
    def size(self) -> int:
        return int(getattr(self.request, "page_size", 0)) or 20


class Walk:
    """One shop, its oracle, and dice."""

    def __init__(self, seed: int) -> None:
        self.dice = Dice(seed)
        self.oracle = Oracle(map(_item, world.items()))
        self.open: list[Asked] = []
        self.sent: list[t.Event] = []

    async def go(self, shop: Shop) -> None:
        """Take the steps against a gateway."""
        self.shop = shop
        self.open.clear()  # tokens end with the process
        for item_id in ("1", "new-1", "new-2", *self.dice.sample(list(self.oracle.items), 5)):
            await self.get(item_id)
        steps = (self.record, self.upsert, self.delete, self.ask, self.turn, self.trouble)
        for _ in range(STEPS):
            await self.dice.choices(steps, (3, 2, 1, 9, 4, 1))[0]()

    async def record(self) -> None:
        events = [
            self.event_of(self.dice.choice(USERS[:-1])) for _ in range(self.dice.randint(1, 6))
        ]
        if self.sent:
            events.append(self.dice.choice(self.sent))
        self.sent = [*self.sent, *(e for e in events if e.event_id)][-40:]
        done = await self.shop.events.RecordEvents(RecordEventsRequest(events=events))
        counts = done.recorded_count, done.duplicate_count, done.unknown_item_count
        assert counts == self.oracle.record(events)
        await self.ask(events[0].user_id)

    async def upsert(self) -> None:
        some = [self.any_id(), f"new-{self.dice.randrange(6)}", str(self.dice.randint(1, 70))]
        items = [self.dice.item(item_id) for item_id in dict.fromkeys(some)]
        done = await self.shop.catalog.UpsertItems(UpsertItemsRequest(items=items))
        assert (done.created_count, done.updated_count) == self.oracle.upsert(items)
        await self.get(items[0].item_id)

    async def delete(self) -> None:
        item_ids = [self.any_id() for _ in range(2)]
        done = await self.shop.catalog.DeleteItems(DeleteItemsRequest(item_ids=item_ids))
        assert (done.deleted_count, done.missing_count) == self.oracle.delete(item_ids)
        await self.get(item_ids[0])

    async def get(self, item_id: str) -> None:
        request = GetItemRequest(item_id=item_id)
        if self.oracle.lacks(item_id):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await self.shop.catalog.GetItem(request)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            return
        assert _bare((await self.shop.catalog.GetItem(request)).item) == self.oracle.items[item_id]

    async def trouble(self) -> None:
        """One source is broken, wrong, modest or well from now on."""
        source = self.dice.choice([*self.shop.sources.values()])
        source.status = self.dice.choice((None, None, grpc.StatusCode.INTERNAL))
        source.mangle = self.dice.choice((None, few, no_numbers, foreign, infinite))

    async def ask(self, user_id: str | None = None) -> None:
        user_id = self.dice.choice(USERS) if user_id is None else user_id
        events = tuple(self.event_of("") for _ in range(self.dice.choice((0, 0, 2))))
        asked = self.asked(Shopper(user_id, events))
        answer = await self.answered(asked)
        self.check_first(asked, answer)
        self.check(asked, answer)
        again = await self.answered(asked)
        if _sources(again) == _sources(answer):
            self.check_same(answer, again)

    async def turn(self) -> None:
        """Turn a page, maybe of another size, after whatever happened since."""
        if not self.open:
            return
        asked = self.open.pop(self.dice.randrange(len(self.open)))
        request = type(asked.request).FromString(asked.request.SerializeToString())
        request.page_token, request.page_size = asked.token, self.dice.choice((1, 9, 200))
        request.shopper.events.append(self.event_of(""))
        shopper = Shopper(asked.shopper.user_id, tuple(request.shopper.events))
        asked = replace(asked, request=request, shopper=shopper)
        answer = await self.answered(asked)
        rules = t.Rules(include_unavailable=request.rules.include_unavailable)
        assert not any(self.oracle.verdicts(shopper, rules, (), ids(answer)).values())
        self.check(asked, answer)

    async def answered(self, asked: Asked) -> Any:
        return await getattr(self.shop.recommendations, asked.method)(asked.request)

    def check_first(self, asked: Asked, answer: Any) -> None:
        """The first page holds what may be shown, as much of it as was asked for."""
        rules, shown, ranked = asked.request.rules, ids(answer), asked.method == "Rank"
        every = dict.fromkeys((*self.oracle.items, *shown, *asked.request.item_ids) if ranked else
                              (*self.oracle.items, *shown))  # fmt: skip
        verdicts = self.oracle.verdicts(asked.shopper, rules, asked.context, every)
        assert not any(verdicts[item_id] for item_id in shown)
        named = asked.request.item_ids if ranked else self.oracle.items
        allowed = [i for i in dict.fromkeys(named) if not verdicts[i]]
        if ranked:
            assert sorted(shown) == sorted(allowed)
            lacking = list(map(self.oracle.lacks, shown))
            assert lacking == sorted(lacking)
        elif asked.method == "Recommend":
            assert len(shown) == min(asked.size, len(allowed))
        pins = [p for p in dict.fromkeys(rules.pin_item_ids) if p in allowed]
        pins = [p for p in pins if not self.oracle.lacks(p)]
        assert shown[: len(pins)] == pins[: len(shown)]
        buried = [i in rules.bury_item_ids and i not in pins for i in shown]
        known = [b for b, i in zip(buried, shown, strict=True) if not self.oracle.lacks(i)]
        # On SESSION what has been seen is last as well.
        assert known == sorted(known) or asked.surface == t.SURFACE_SESSION
        for dropped in answer.dropped:
            assert dropped.reason == verdicts[dropped.item_id]
        named = {*getattr(asked.request, "item_ids", ())}
        unknown = [*named, *(e.item_id for e in asked.shopper.events)]
        assert answer.unknown_item_count == sum(map(self.oracle.lacks, unknown))

    def check(self, asked: Asked, answer: Any) -> None:
        """Every page goes on where the last one ended, and says what is so."""
        shown = ids(answer)
        assert len(set(shown)) == len(shown)
        assert not set(shown) & set(asked.shown)
        assert asked.method == "Rank" or not any(map(self.oracle.lacks, shown))
        positions = [item.position for item in answer.items]
        assert positions == sorted({*positions})
        assert not positions or positions[0] > asked.last
        assert asked.ranking_id in ("", answer.ranking_id)
        token = getattr(answer, "next_page_token", "")
        assert not token or len(shown) == asked.size
        asked_for = [s for s in answer.sources if s.outcome != t.SOURCE_OUTCOME_SKIPPED]
        answered = [s for s in asked_for if s.outcome == t.SOURCE_OUTCOME_OK]
        assert all((s in answered) != bool(s.detail) for s in answer.sources)
        coverage = answer.coverage
        assert (coverage.asked, coverage.answered) == (len(asked_for), len(answered))
        assert coverage.partial == (len(answered) < len(asked_for))
        for item in answer.items:
            self.check_item(asked, answer, item)
        if token:
            later = replace(asked, shown=[*asked.shown, *shown], last=positions[-1], token=token,
                            ranking_id=answer.ranking_id)  # fmt: skip
            self.open.append(later)

    def check_item(self, asked: Asked, answer: Any, item: t.RankedItem) -> None:
        """A card is the catalogue's, and an explanation adds up and is true."""
        if self.oracle.lacks(item.item_id):
            assert not item.HasField("item")
            return
        assert _bare(item.item) == self.oracle.items[item.item_id]
        assert item.HasField("explanation") == asked.request.explain
        if not asked.request.explain:
            return
        told = item.explanation
        parts = [c.value for c in told.contributions] + [a.value for a in told.adjustments]
        assert math.fsum(parts) == pytest.approx(item.score, abs=1e-5)
        assert {a.name for a in told.adjustments} <= ADJUSTMENTS
        assert all(c.HasField("score") == (c.rank > 0) for c in told.contributions)
        weights = sum(c.weight for c in told.contributions)
        assert weights == pytest.approx(0 if answer.coverage.fallback else 1, abs=1e-5)
        if not asked.token:
            self.check_reason(asked, item)

    def check_reason(self, asked: Asked, item: t.RankedItem) -> None:
        reason, bought = item.explanation.reason, self.oracle.bought(asked.shopper)
        looked = self.oracle.looked_at(asked.shopper)
        if reason == "You bought this before":
            assert item.item_id in bought
        elif reason == "You looked at this before":
            assert item.item_id in looked
        elif reason.startswith("Because you bought "):
            assert reason.removeprefix("Because you bought ") in self.titles(bought)
        elif reason.startswith("Because you looked at "):
            assert reason.removeprefix("Because you looked at ") in self.titles(looked)
        elif reason.startswith("Similar to "):
            assert reason.removeprefix("Similar to ") in self.titles(asked.context)

    def check_same(self, one: Any, other: Any) -> None:
        """Nothing has happened: items come as before, but for scores that are equal."""
        scores = {item.item_id: item.score for item in one.items}
        assert one.ranking_id != other.ranking_id
        for before, after in zip(one.items, other.items, strict=True):
            assert before.score == pytest.approx(after.score, abs=1e-3)
            assert scores[after.item_id] == pytest.approx(after.score, abs=1e-3)

    def titles(self, item_ids: Any) -> set[str]:
        return {self.oracle.items[i].title for i in item_ids if not self.oracle.lacks(i)}

    def any_id(self) -> str:
        return self.dice.choice(self.some_ids())

    def some_ids(self) -> list[str]:
        return [*self.oracle.items, "nothing", "nowhere", "never"]

    def event_of(self, user_id: str) -> t.Event:
        return self.dice.event(user_id, self.any_id())

    def asked(self, shopper: Shopper) -> Asked:
        """Any of the three calls."""
        dice = self.dice
        who = api.Shopper(user_id=shopper.user_id, market="m", events=shopper.events)
        usual: dict[str, Any] = {
            "shopper": who,
            "rules": self.dice.rules(self.some_ids()),
            "explain": dice.random() < 0.5,
        }
        size = dice.choice((0, 1, 10, 200))
        method = dice.choice(("Recommend", "Recommend", "Search", "Rank"))
        if method == "Search":
            query = dice.choice(("yogurt", "soap number 7", "zzz"))
            return Asked(method, api.SearchRequest(query=query, page_size=size, **usual), shopper)
        if method == "Rank":
            given = [self.any_id() for _ in range(dice.choice((1, 20, 60)))]
            return Asked(method, api.RankRequest(item_ids=given, **usual), shopper)
        surface = dice.choice([*SURFACES])
        about = [self.any_id() for _ in range(SURFACES[surface])]
        request = api.RecommendRequest(surface=surface, item_ids=about, page_size=size, **usual)
        return Asked(method, request, shopper, about)


def _sources(answer: Any) -> list[tuple[str, int, int]]:
    return [(s.source, s.outcome, s.candidate_count) for s in answer.sources]


def _item(item: Any) -> t.Item:
    """A seeded item as the API gives it."""
    return t.Item(
        item_id=item.item_id, title=item.title, domain=item.domain, category=item.category,
        brand=item.brand, price=item.price, available=True, attributes=item.attributes,
    )  # fmt: skip


def _bare(item: t.Item) -> t.Item:
    item.item_key = 0
    return item


@pytest.mark.parametrize(("seed", "settings"), [(1, {}), (2, {"idle_seconds": 600.0})])
async def test_every_answer_is_what_was_promised(
    directory: Path, seed: int, settings: dict[str, Any]
) -> None:
    walk = Walk(seed)
    for _ in range(2):
        async with open_shop(directory, sources=fake_sources(), cached_users=1, **settings) as shop:
            await walk.go(shop)
