"""Requests into small frozen data, refused where a field is wrong.

What passes here is safe for everything behind it: no NaN, no absurd size, no
unknown enum value.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict, TypeVar

from artifacts.keys import composed, item_key
from gateway.api import checks
from gateway.api.read_rules import read_rules
from gateway.types import NO_EVENTS, Ask, Event, EventColumns, EventType, Item
from plait.v1 import catalog_service_pb2 as catalog
from plait.v1 import event_service_pb2 as events
from plait.v1 import profile_service_pb2 as profiles
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t
from services.runtime.errors import InvalidArgument

_G = TypeVar("_G")
_R = TypeVar("_R")
_SURFACES = {
    t.SURFACE_HOME: "HOME",
    t.SURFACE_ITEM: "ITEM",
    t.SURFACE_CART: "CART",
    t.SURFACE_SESSION: "SESSION",
}
_EVENT_TYPES = tuple(map(int, EventType))
_SEARCH = int(EventType.SEARCH)
_MOST_EVENTS = 1_000
_MOST_ITEMS = 1_000
_MOST_IN_CART = 200
_LARGEST_PAGE = 200
_LONGEST_TOKEN = 128
_LONGEST_TEXT = 20_000
_LONGEST_IMAGE = 4_096  # numbers
_MOST_ATTRIBUTES = 100


class _Shopper(TypedDict):
    """The fields of an Ask that say who is asking."""

    user_id: str
    market: str
    events: EventColumns


def read_recommend(request: api.RecommendRequest, now_ms: int, default_page: int) -> Ask:
    """Read a RecommendRequest; raises InvalidArgument."""
    if request.surface == t.SURFACE_SEARCH:
        raise InvalidArgument("surface", "a search is asked with Search, which takes a query")
    surface = _SURFACES.get(request.surface)
    if surface is None:
        raise checks.none_of("surface", request.surface, t.Surface.DESCRIPTOR, _SURFACES)
    item_ids = checks.item_ids("item_ids", request.item_ids, _MOST_IN_CART)
    if surface == "ITEM" and len(item_ids) != 1:
        raise InvalidArgument("item_ids", f"ITEM is about one item, {len(item_ids)} given")
    if surface == "CART" and not item_ids:
        raise InvalidArgument("item_ids", "CART wants the content of the cart; for none ask HOME")
    if surface in ("HOME", "SESSION") and item_ids:
        raise InvalidArgument("item_ids", f"{surface} is about no item; ITEM and CART are")
    diversity = None
    if request.HasField("diversity"):
        diversity = checks.within("diversity", request.diversity, 0, 1)
    return Ask(
        surface=surface,
        **_shopper(request.shopper, now_ms),
        item_ids=item_ids,
        page_size=_page_size(request.page_size, default_page),
        page_token=checks.text("page_token", request.page_token, _LONGEST_TOKEN),
        rules=read_rules(request.rules),
        explain=request.explain,
        diversity=diversity,
    )


def read_search(request: api.SearchRequest, now_ms: int, default_page: int) -> Ask:
    """Read a SearchRequest; raises InvalidArgument."""
    return Ask(
        surface="SEARCH",
        **_shopper(request.shopper, now_ms),
        text=checks.text("query", request.query, checks.LONGEST_QUERY, required=True).strip(),
        page_size=_page_size(request.page_size, default_page),
        page_token=checks.text("page_token", request.page_token, _LONGEST_TOKEN),
        rules=read_rules(request.rules),
        explain=request.explain,
    )


def read_rank(request: api.RankRequest, now_ms: int) -> Ask:
    """Read a RankRequest; raises InvalidArgument."""
    item_ids = checks.item_ids("item_ids", request.item_ids, _MOST_ITEMS, least=1)
    return Ask(
        surface="RANK",
        **_shopper(request.shopper, now_ms),
        item_ids=item_ids,
        text=checks.text("query", request.query, checks.LONGEST_QUERY).strip(),
        page_size=len(item_ids),
        rules=read_rules(request.rules),
        explain=request.explain,
    )


def read_events(request: events.RecordEventsRequest, now_ms: int) -> tuple[Event, ...]:
    """Read the events to record; raises InvalidArgument."""
    checks.count("events", len(request.events), _MOST_EVENTS, least=1)

    def told(event: t.Event) -> Event:
        user_id = checks.name("user_id", event.user_id, required=True)
        return _event(event, user_id, now_ms)

    return tuple(_each("events", request.events, told))


def read_items(request: catalog.UpsertItemsRequest) -> tuple[Item, ...]:
    """Read the items to upsert; raises InvalidArgument."""
    checks.count("items", len(request.items), _MOST_ITEMS, least=1)
    items = tuple(_each("items", request.items, read_item))
    seen: set[int] = set()
    for number, item in enumerate(items):
        if item.key in seen:
            raise InvalidArgument(f"items[{number}].item_id", f"'{item.item_id}' is given twice")
        seen.add(item.key)
    return items


def read_deletes(request: catalog.DeleteItemsRequest) -> tuple[str, ...]:
    """Read the ids to delete; raises InvalidArgument."""
    return checks.item_ids("item_ids", request.item_ids, _MOST_ITEMS, least=1)


def read_item_id(request: catalog.GetItemRequest) -> str:
    """Read the id to get; raises InvalidArgument."""
    return checks.item_id("item_id", request.item_id)


def read_profile(request: profiles.GetProfileRequest, now_ms: int) -> tuple[str, tuple[Event, ...]]:
    """Read whose profile is asked for, and what they just did; raises InvalidArgument."""
    user_id = checks.name("user_id", request.user_id, required=True)
    checks.count("events", len(request.events), _MOST_EVENTS)
    told = _each("events", request.events, lambda event: _event(event, user_id, now_ms))
    return user_id, tuple(told)


def read_user_id(request: profiles.DeleteProfileRequest) -> str:
    """Read who is to be forgotten; raises InvalidArgument."""
    return checks.name("user_id", request.user_id, required=True)


def _page_size(size: int, default: int) -> int:
    if not 0 <= size <= _LARGEST_PAGE:
        raise InvalidArgument("page_size", f"must lie in 0 .. {_LARGEST_PAGE}, is {size}")
    return size or default


def _shopper(shopper: api.Shopper, now_ms: int) -> _Shopper:
    checks.count("shopper.events", len(shopper.events), _MOST_EVENTS)
    return {
        "user_id": checks.name("shopper.user_id", shopper.user_id),
        "market": checks.name("shopper.market", shopper.market, checks.LONGEST_MARKET),
        "events": _columns("shopper.events", shopper.events, now_ms),
    }


def _columns(field: str, given: Sequence[t.Event], now_ms: int) -> EventColumns:
    """Read a request's own events; a history of hundreds may come with each request."""
    if not given:
        return NO_EVENTS

    def told(event: t.Event) -> tuple[int, int, int, str, int]:
        key, time_ms = _checked(event, now_ms)
        return key, event.type, time_ms, event.event_id, 0

    return EventColumns.of(_each(field, given, told))


def _each(field: str, given: Sequence[_G], read: Callable[[_G], _R]) -> Iterator[_R]:
    """Read one after the other; only who is refused pays for the name of the place."""
    for number, one in enumerate(given):
        try:
            yield read(one)
        except InvalidArgument as error:
            raise error.inside(f"{field}[{number}]") from None


def _event(event: t.Event, user_id: str, now_ms: int) -> Event:
    key, time_ms = _checked(event, now_ms)
    return Event(
        user_id=user_id,
        key=key,
        type=EventType(event.type),
        time_ms=time_ms,
        event_id=event.event_id,
        quantity=event.quantity or 1.0,
        price=event.price if event.HasField("price") else None,
        market=event.market.strip(),
        query=event.query,
        ranking_id=event.ranking_id,
    )


def _checked(event: t.Event, now_ms: int) -> tuple[int, int]:
    """Check an event; return its item's key, 0 for none, and its time in ms."""
    kind, item_id, query = event.type, event.item_id, event.query
    if kind not in _EVENT_TYPES:
        raise checks.none_of("type", kind, t.EventType.DESCRIPTOR, _EVENT_TYPES)
    key = 0
    if item_id or kind != _SEARCH:
        key = item_key(checks.item_id("item_id", item_id))
    time_ms = now_ms
    if event.HasField("event_time"):
        time_ms = checks.time_ms("event_time", event.event_time, now_ms)
    if query:
        checks.text("query", query, checks.LONGEST_QUERY)
    if not key and not query.strip():
        raise InvalidArgument("query", "required: this SEARCH is about no item either")
    _check_rest(event)
    return key, time_ms


def _check_rest(event: t.Event) -> None:
    """Check what most events lack: an absent field costs a look, and no call."""
    if event.HasField("price"):
        checks.amount("price", event.price)
    if quantity := event.quantity:
        checks.amount("quantity", quantity)
    if event_id := event.event_id:
        checks.text("event_id", event_id, checks.LONGEST_EVENT_ID)
    if market := event.market:
        checks.name("market", market, checks.LONGEST_MARKET)
    if ranking_id := event.ranking_id:
        checks.text("ranking_id", ranking_id, checks.LONGEST_RANKING_ID)


def read_item(item: t.Item) -> Item:
    """Read one item; raises InvalidArgument."""
    item_id = checks.item_id("item_id", item.item_id)
    price = checks.amount("price", item.price) if item.HasField("price") else None
    checks.count("attributes", len(item.attributes), _MOST_ATTRIBUTES)
    for name, value in item.attributes.items():
        checks.text("attributes", name, checks.LONGEST_NAME)
        checks.text(f"attributes[{name}]", value, checks.LONGEST_NAME * 4)
    return Item(
        item_id=item_id,
        key=item_key(item_id),
        title=checks.text("title", item.title, checks.LONGEST_NAME * 4),
        text=checks.text("text", item.text, _LONGEST_TEXT),
        domain=_kind("domain", item.domain),
        category=_kind("category", item.category),
        brand=_kind("brand", item.brand),
        price=price,
        available=item.available if item.HasField("available") else True,
        provider=_kind("provider", item.provider),
        attributes=dict(item.attributes),
        image=checks.vector("image_vector", item.image_vector, _LONGEST_IMAGE),
    )


def _kind(field: str, value: str) -> str:
    """Read what items have in common, its accents encoded as by an import: one name, not two."""
    return composed(checks.text(field, value, checks.LONGEST_NAME))
