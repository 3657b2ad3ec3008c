"""A shopper's profile is that of this second, and shows sums, never the events."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.v1 import profile_service_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.profile_service_pb2_grpc import ProfileServiceStub
from tests.integration.gateway.world import CATEGORIES, Shop, items, open_shop


async def profile(shop: Shop, user: str, *events: t.Event) -> pb.Profile:
    stub: Any = ProfileServiceStub(shop.channel)
    answer = await stub.GetProfile(pb.GetProfileRequest(user_id=user, events=events))
    found: pb.Profile = answer.profile
    return found


def event(item: str, kind: t.EventType.ValueType, **fields: Any) -> t.Event:
    return t.Event(item_id=item, type=kind, **fields)


def shares(interests: pb.Interests) -> dict[str, float]:
    return {one.name: round(one.share, 3) for one in interests.interests}


async def test_what_was_seeded_is_described(shop: Shop) -> None:
    ann = await profile(shop, "ann")
    assert ann.user_id == "ann"
    assert shares(ann.categories) == {"YOGURT": 1.0}
    assert shares(ann.domains) == {"GROCERY": 1.0}
    assert (ann.activity.event_count, ann.activity.purchase_count) == (3, 3)
    assert ann.activity.event_count_7_days == 0
    assert ann.activity.repeat_share == 0.0
    assert not ann.activity.truncated
    # Items 6, 12 and 18 are the three cheapest of ten yogurts.
    assert ann.price_level.basis == pb.PRICE_BASIS_PURCHASES
    assert ann.price_level.level == pytest.approx(1 / 9, abs=1e-3)
    assert ann.price_level.usual_price == 3.0
    assert not ann.HasField("session")


async def test_an_event_is_in_the_next_profile(shop: Shop) -> None:
    await profile(shop, "ann")
    bought = event("2", t.EVENT_TYPE_PURCHASE, user_id="ann", price=13.25, event_id="now")
    searched = t.Event(user_id="ann", type=t.EVENT_TYPE_SEARCH, query="soap")
    unknown = event("nowhere", t.EVENT_TYPE_VIEW, user_id="ann")
    await shop.events.RecordEvents(RecordEventsRequest(events=[bought, searched, unknown]))
    ann = await profile(shop, "ann", bought)  # told again: it is known by its id
    assert (ann.activity.event_count, ann.activity.event_count_7_days) == (6, 3)
    assert ann.activity.purchase_count == 4
    assert ann.unknown_item_count == 1
    assert ann.session.event_count == 3
    assert shares(ann.session.categories) == {"SOAP": 1.0}
    assert 0 < shares(ann.categories)["SOAP"] < 1
    assert sum(shares(ann.categories).values()) == pytest.approx(1, abs=1e-3)
    # Soap number 2 costs 0.50 today; what was paid would be the dearest but one.
    assert ann.price_level.level == pytest.approx((1 / 3 + 17 / 18) / 4, abs=1e-3)


async def test_an_event_of_the_request_counts_though_nothing_records_it(shop: Shop) -> None:
    view = event("5", t.EVENT_TYPE_VIEW)
    new = await profile(shop, "somebody-new", view, view)
    assert shares(new.session.categories) == {"BANANAS": 1.0}
    assert new.price_level.basis == pb.PRICE_BASIS_INTEREST
    assert not new.activity.HasField("repeat_share")
    assert (await profile(shop, "somebody-new")) == pb.Profile(
        user_id="somebody-new",
        activity=pb.Activity(),
        domains=pb.Interests(),
        categories=pb.Interests(),
        brands=pb.Interests(),
    )


async def test_more_than_ten_brands_leave_a_share_for_the_others(shop: Shop) -> None:
    items = [
        t.Item(item_id=f"new-{n}", title="Skyr", brand=f"maker {n}", category="SKYR")
        for n in range(12)
    ]
    await shop.catalog.UpsertItems(UpsertItemsRequest(items=items))
    seen = [event(item.item_id, t.EVENT_TYPE_CLICK) for item in items]
    brands = (await profile(shop, "eva", *seen)).brands
    assert (len(brands.interests), brands.distinct_count) == (10, 12)
    assert sum(one.share for one in brands.interests) + brands.other_share == pytest.approx(1)
    assert brands.other_share == pytest.approx(2 / 12)


async def test_a_wrong_field_is_named(shop: Shop) -> None:
    for user, events, field in (
        ("", (), "user_id"),
        ("x" * 129, (), "user_id"),
        ("ann", (event("", t.EVENT_TYPE_VIEW),), "events[0].item_id"),
        ("ann", (t.Event(item_id="1"),), "events[0].type"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await profile(shop, user, *events)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_a_store_that_cannot_be_read_makes_no_shopper_unknown(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    state = shop.application._state
    assert state is not None
    state.store._use().reader.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await profile(shop, "ann")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "cannot be read" in (caught.value.details() or "")
    assert "ann" not in caplog.text


async def test_equal_interests_stand_by_name_before_and_after_a_restart(directory: Path) -> None:
    """What comes through the API is read last at a start, and with it its category."""
    views = [event(str(n), t.EVENT_TYPE_VIEW) for n in range(1, 7)]
    for one in views:
        one.event_time.FromSeconds(1_700_000_000)
    again = [
        t.Item(item_id=item.item_id, title=item.title, domain=item.domain, category=item.category)
        for item in items()
        if item.category in ("APPLES", "CHEESE")
    ]
    for _ in range(2):
        async with open_shop(directory) as shop:
            found = await profile(shop, "new", *views)
            assert [one.name for one in found.categories.interests] == sorted(CATEGORIES)
            await shop.catalog.UpsertItems(UpsertItemsRequest(items=again))
