"""What cannot be answered is refused with INVALID_ARGUMENT that names the field."""

import time
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, GetItemRequest, UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import (
    RankRequest,
    RecommendRequest,
    SearchRequest,
    Shopper,
)
from tests.integration.gateway.world import Shop

NAN, INFINITE = float("nan"), float("inf")
HOME = t.SURFACE_HOME


def home(**fields: Any) -> RecommendRequest:
    return RecommendRequest(**{"surface": HOME} | fields)


def with_event(**fields: Any) -> RecommendRequest:
    given: dict[str, Any] = {"item_id": "1", "type": t.EVENT_TYPE_VIEW} | fields
    event = t.Event(**given)
    return home(shopper=Shopper(events=[event]))


def event(**fields: Any) -> RecordEventsRequest:
    good: dict[str, Any] = {"user_id": "ann", "item_id": "1", "type": t.EVENT_TYPE_VIEW}
    return RecordEventsRequest(events=[t.Event(**good | fields)])


def item(**fields: Any) -> UpsertItemsRequest:
    return UpsertItemsRequest(items=[t.Item(**{"item_id": "new"} | fields)])


LATER = Timestamp(seconds=int(time.time()) + 86_400)
CASES: list[tuple[str, Any, str]] = [
    ("Recommend", RecommendRequest(), "surface"),
    ("Recommend", home(surface=t.SURFACE_SEARCH), "surface"),
    ("Recommend", home(surface=99), "surface"),
    ("Recommend", home(page_size=-1), "page_size"),
    ("Recommend", home(page_size=201), "page_size"),
    ("Recommend", home(page_token="not a token"), "page_token"),
    ("Recommend", home(page_token="x" * 500), "page_token"),
    ("Recommend", home(diversity=NAN), "diversity"),
    ("Recommend", home(diversity=1.5), "diversity"),
    ("Recommend", home(item_ids=["1"]), "item_ids"),
    ("Recommend", home(surface=t.SURFACE_ITEM), "item_ids"),
    ("Recommend", home(surface=t.SURFACE_ITEM, item_ids=["1", "2"]), "item_ids"),
    ("Recommend", home(surface=t.SURFACE_CART), "item_ids"),
    ("Recommend", home(surface=t.SURFACE_CART, item_ids=["1", ""]), "item_ids[1]"),
    ("Recommend", home(surface=t.SURFACE_CART, item_ids=["1" * 129]), "item_ids[0]"),
    ("Recommend", home(shopper=Shopper(user_id="u" * 129)), "shopper.user_id"),
    ("Recommend", home(shopper=Shopper(market="m" * 65)), "shopper.market"),
    ("Recommend", with_event(type=t.EVENT_TYPE_UNSPECIFIED), "shopper.events[0].type"),
    ("Recommend", with_event(type=42), "shopper.events[0].type"),
    ("Recommend", with_event(item_id=""), "shopper.events[0].item_id"),
    ("Recommend", with_event(price=-1), "shopper.events[0].price"),
    ("Recommend", with_event(quantity=NAN), "shopper.events[0].quantity"),
    ("Recommend", with_event(event_time=LATER), "shopper.events[0].event_time"),
    ("Recommend", home(rules=t.Rules(min_price=-1)), "rules.min_price"),
    ("Recommend", home(rules=t.Rules(max_price=NAN)), "rules.max_price"),
    ("Recommend", home(rules=t.Rules(max_price=INFINITE)), "rules.max_price"),
    ("Recommend", home(rules=t.Rules(min_price=3, max_price=2)), "rules.min_price"),
    ("Recommend", home(rules=t.Rules(exclude_item_ids=[""])), "rules.exclude_item_ids[0]"),
    ("Recommend", home(rules=t.Rules(categories=[""])), "rules.categories[0]"),
    ("Recommend", home(rules=t.Rules(boosts=[t.Boost(weight=1)])), "rules.boosts[0].target"),
    (
        "Recommend",
        home(rules=t.Rules(boosts=[t.Boost(brand="b", weight=NAN)])),
        "rules.boosts[0].weight",
    ),
    (
        "Recommend",
        home(rules=t.Rules(boosts=[t.Boost(brand="b", weight=11)])),
        "rules.boosts[0].weight",
    ),
    (
        "Recommend",
        home(rules=t.Rules(boosts=[t.Boost(item_id="1" * 129, weight=1)])),
        "rules.boosts[0].item_id",
    ),
    ("Search", SearchRequest(), "query"),
    ("Search", SearchRequest(query="   "), "query"),
    ("Search", SearchRequest(query="q" * 257), "query"),
    ("Search", SearchRequest(query="q", page_size=1000), "page_size"),
    ("Rank", RankRequest(), "item_ids"),
    ("Rank", RankRequest(item_ids=[str(n) for n in range(1001)]), "item_ids"),
    ("Rank", RankRequest(item_ids=["1"], query="q" * 257), "query"),
    ("RecordEvents", RecordEventsRequest(), "events"),
    ("RecordEvents", event(user_id=""), "events[0].user_id"),
    ("RecordEvents", event(event_id="e" * 65), "events[0].event_id"),
    ("RecordEvents", event(item_id=""), "events[0].item_id"),
    ("RecordEvents", event(type=0), "events[0].type"),
    (
        "RecordEvents",
        event(item_id="", type=t.EVENT_TYPE_SEARCH, query=" "),
        "events[0].query",
    ),
    ("RecordEvents", event(price=NAN), "events[0].price"),
    ("RecordEvents", event(quantity=-1), "events[0].quantity"),
    ("RecordEvents", event(event_time=LATER), "events[0].event_time"),
    ("RecordEvents", event(event_time=Timestamp(seconds=1)), "events[0].event_time"),
    ("RecordEvents", event(event_time=Timestamp(seconds=2**60)), "events[0].event_time"),
    ("UpsertItems", UpsertItemsRequest(), "items"),
    ("UpsertItems", item(item_id=""), "items[0].item_id"),
    ("UpsertItems", item(price=-0.01), "items[0].price"),
    ("UpsertItems", item(price=NAN), "items[0].price"),
    ("UpsertItems", item(text="t" * 20_001), "items[0].text"),
    ("UpsertItems", UpsertItemsRequest(items=[t.Item(item_id="a")] * 2), "items[1].item_id"),
    ("DeleteItems", DeleteItemsRequest(), "item_ids"),
    ("GetItem", GetItemRequest(), "item_id"),
]


async def status(shop: Shop, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
    for stub in (shop.recommendations, shop.events, shop.catalog):
        if hasattr(stub, method):
            try:
                await getattr(stub, method)(request)
            except grpc.aio.AioRpcError as error:
                return error.code(), error.details() or ""
            return grpc.StatusCode.OK, ""
    raise AssertionError(method)


async def test_every_bad_field_is_refused_by_name(shop: Shop) -> None:
    for method, request, field in CASES:
        code, details = await status(shop, method, request)
        assert code == grpc.StatusCode.INVALID_ARGUMENT, (method, field, details)
        assert details.startswith(f"{field}: "), (method, field, details)


@pytest.mark.parametrize(
    ("method", "request_", "shown"),
    [
        ("UpsertItems", item(price=1e9 + 1), "1000000001.0"),
        ("Recommend", home(diversity=1.0000001), "1.0000001"),
        ("Recommend", home(rules=t.Rules(min_price=9999999.5, max_price=9999999)), "9999999.5"),
    ],
    ids=["price", "diversity", "range"],
)
async def test_a_number_just_beyond_its_limit_is_shown_as_it_was_given(
    shop: Shop, method: str, request_: Any, shown: str
) -> None:
    code, details = await status(shop, method, request_)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert shown in details


@pytest.mark.parametrize(
    ("method", "request_", "told"),
    [
        (
            "Recommend",
            home(surface=0),
            "surface: must be one of SURFACE_HOME, SURFACE_ITEM, SURFACE_CART, SURFACE_SESSION; "
            "is SURFACE_UNSPECIFIED",
        ),
        (
            "RecordEvents",
            event(type=42),
            "events[0].type: must be one of EVENT_TYPE_VIEW, EVENT_TYPE_CLICK, EVENT_TYPE_CART, "
            "EVENT_TYPE_PURCHASE, EVENT_TYPE_LIKE, EVENT_TYPE_DISLIKE, EVENT_TYPE_SEARCH; is 42",
        ),
    ],
    ids=["surface", "type"],
)
async def test_names_of_an_enum_are_told_as_clients_write_them(
    shop: Shop, method: str, request_: Any, told: str
) -> None:
    assert await status(shop, method, request_) == (grpc.StatusCode.INVALID_ARGUMENT, told)


async def test_a_page_size_of_zero_is_the_default_and_the_limit_is_allowed(shop: Shop) -> None:
    assert len((await shop.recommend(page_size=0)).items) == 20
    assert len((await shop.recommend(page_size=200)).items) == 60


@pytest.mark.parametrize(
    ("service", "method", "request_", "field"),
    [
        ("RecommendationService", "Search", SearchRequest(query="#MARK#"), "query"),
        (
            "RecommendationService",
            "Recommend",
            home(shopper=Shopper(user_id="#MARK#")),
            "shopper.user_id",
        ),
        (
            "RecommendationService",
            "Recommend",
            home(rules=t.Rules(categories=["fine", "#MARK#"])),
            "rules.categories[1]",
        ),
        ("EventService", "RecordEvents", event(query="#MARK#"), "events[0].query"),
        ("CatalogService", "UpsertItems", item(title="#MARK#"), "items[0].title"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_utf8_is_refused_naming_the_field(
    shop: Shop, service: str, method: str, request_: Any, field: str
) -> None:
    raw = request_.SerializeToString().replace(b"#MARK#", b"#\xff\xfe##\xc3")
    call: Any = shop.channel.unary_unary(f"/plait.v1.{service}/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(raw)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"{field}: not UTF-8"


async def test_bytes_that_are_no_message_are_refused(shop: Shop) -> None:
    call: Any = shop.channel.unary_unary("/plait.v1.RecommendationService/Recommend")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_nothing_refused_leaves_a_trace(shop: Shop) -> None:
    good = t.Event(user_id="carl", item_id="3", type=t.EVENT_TYPE_PURCHASE)
    bad = t.Event(user_id="carl", item_id="3", type=t.EVENT_TYPE_PURCHASE, price=NAN)
    code, _ = await status(shop, "RecordEvents", RecordEventsRequest(events=[good, bad]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert (await shop.recommend("carl")).coverage.fallback
