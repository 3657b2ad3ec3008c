"""Naming the text that is not UTF-8."""

from inference import inference_pb2 as pb
from plait.v1 import catalog_service_pb2 as catalog
from plait.v1 import recommendation_service_pb2 as api
from services.runtime import wire


def _spoil(message: bytes, text: bytes) -> bytes:
    return message.replace(text, b"\xff" * len(text))


def test_the_field_is_named_with_its_path() -> None:
    request = api.SearchRequest(query="yogurt", page_size=300, rules=api.SearchRequest().rules)
    request.shopper.user_id = "someone"
    whole = request.SerializeToString()
    message = api.SearchRequest.DESCRIPTOR
    assert wire.bad_text(message, whole) is None
    assert wire.bad_text(message, _spoil(whole, b"yogurt")) == "query"
    assert wire.bad_text(message, _spoil(whole, b"someone")) == "shopper.user_id"


def test_an_element_of_a_list_is_named_with_its_place() -> None:
    request = catalog.UpsertItemsRequest()
    for title in ("milk", "bread", "butter"):
        request.items.add(title=title)
    spoilt = _spoil(request.SerializeToString(), b"bread")
    assert wire.bad_text(catalog.UpsertItemsRequest.DESCRIPTOR, spoilt) == "items[1].title"


def test_bytes_fields_may_hold_anything_and_nonsense_names_nothing() -> None:
    request = pb.ModelInferRequest(raw_input_contents=[b"\xff\xfe"])
    message = pb.ModelInferRequest.DESCRIPTOR
    assert wire.bad_text(message, request.SerializeToString()) is None
    for nonsense in (b"\x0a\x7f", b"\x80" * 9, b"\x07\x07", b"\x0a"):
        assert wire.bad_text(message, nonsense) is None


def test_the_request_type_of_a_method_is_found_by_name() -> None:
    found = wire.request_type("/inference.GRPCInferenceService/ModelInfer")
    assert found is not None
    assert found.full_name == "inference.ModelInferRequest"
    assert wire.request_type("/no.Such/Method") is None
