"""What a request names is what an import of the same words names."""

from artifacts.keys import item_key
from gateway.api import read
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import GetItemRequest, UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.profile_service_pb2 import GetProfileRequest
from plait.v1.recommendation_service_pb2 import RankRequest, Shopper

NOW_MS = 1_700_000_000_000


def test_blanks_around_ids_are_no_part_of_them() -> None:
    event = t.Event(user_id=" ann", item_id=" 123 ", type=t.EVENT_TYPE_VIEW, market=" de ")
    (recorded,) = read.read_events(RecordEventsRequest(events=[event]), NOW_MS)
    assert (recorded.user_id, recorded.key, recorded.market) == ("ann", 123, "de")
    rules = t.Rules(
        exclude_item_ids=["9 "], pin_item_ids=[" 8"], boosts=[t.Boost(item_id=" 7 ", weight=1)]
    )
    asked = read.read_rank(
        RankRequest(
            shopper=Shopper(user_id="ann ", market=" de"), item_ids=["123", " 123"], rules=rules
        ),
        NOW_MS,
    )
    assert (asked.user_id, asked.market, asked.item_ids) == ("ann", "de", ("123",))
    assert (asked.rules.exclude, asked.rules.pin) == (("9",), ("8",))
    assert asked.rules.boosts[0].value == "7"
    (item,) = read.read_items(UpsertItemsRequest(items=[t.Item(item_id="\tnew 1 ")]))
    assert (item.item_id, item.key) == ("new 1", item_key("new 1"))
    assert read.read_item_id(GetItemRequest(item_id=" 5")) == "5"
    assert read.read_profile(GetProfileRequest(user_id=" ann "), NOW_MS)[0] == "ann"


def test_a_kind_of_items_is_read_as_an_import_has_it() -> None:
    apart = "cafe\u0301"
    told = t.Item(item_id="1", domain=apart, category=apart, brand=apart, provider=apart)
    (item,) = read.read_items(UpsertItemsRequest(items=[told]))
    assert {item.domain, item.category, item.brand, item.provider} == {"caf\u00e9"}
