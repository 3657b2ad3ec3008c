"""Bytes that are no message are refused with the name of the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from services.runtime.errors import InvalidArgument
from services.runtime.interceptors import decode_request
from services.runtime.wire import bad_text


def decode(raw: bytes) -> RecommendRequest:
    method = "/plait.v1.RecommendationService/Recommend"
    request: RecommendRequest = decode_request(method, RecommendRequest.FromString, raw)
    return request


def test_what_is_well_comes_through() -> None:
    request = RecommendRequest(shopper=Shopper(user_id="ü"), page_size=3)
    assert decode(request.SerializeToString()) == request


def test_the_path_of_a_nested_and_repeated_field_is_named() -> None:
    event = t.Event(item_id="fine", query="#MARK#")
    request = RecommendRequest(
        shopper=Shopper(user_id="u", events=[t.Event(quantity=2.5), event]), page_size=9
    )
    raw = request.SerializeToString().replace(b"#MARK#", b"#\xc3(##\xff")
    with pytest.raises(InvalidArgument) as caught:
        decode(raw)
    assert caught.value.message == "shopper.events[1].query: not UTF-8"


def test_map_entries_are_named_by_their_place() -> None:
    item = t.Item(item_id="a", attributes={"size": "#MARK#"})
    raw = item.SerializeToString().replace(b"#MARK#", b"######"[:-1] + b"\xff")
    assert bad_text(t.Item.DESCRIPTOR, raw) == "attributes[0].value"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_invalid_argument(raw: bytes) -> None:
    try:
        decode(raw)
    except InvalidArgument as error:
        assert error.field
