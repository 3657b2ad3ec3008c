"""One or more valid requests for every unary rpc of every server: what mutations start from."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceStub
from plait.v1 import catalog_service_pb2 as catalog
from plait.v1 import event_service_pb2 as events
from plait.v1 import profile_service_pb2 as profiles
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t
from services.runtime.tensors import Array, write_request

_WIDTH = 6
_DTYPES = {"INT64": np.int64, "FP32": np.float32}


@dataclass(frozen=True, slots=True)
class Valid:
    """A request that a server answers with OK."""

    server: str
    method: str  # /package.Service/Method
    message: Message


def of_gateway(items: Sequence[str], user: str) -> list[Valid]:
    """Return valid requests of the public API; `items` are ids of the catalogue, at least 5."""
    one, two, three, *_ = items
    view = t.Event(event_id="fuzz-event", user_id="fuzz", item_id=one, type=t.EVENT_TYPE_VIEW)
    view.event_time.GetCurrentTime()
    view.price, view.quantity, view.market, view.query = 1.5, 2.0, "fuzz", "milk"
    shopper = api.Shopper(user_id=user, market="fuzz", events=[view])
    rules = t.Rules(
        exclude_item_ids=[three], min_price=0.1, max_price=500.0, bury_item_ids=[two],
        boosts=[t.Boost(item_id=two, weight=1.0), t.Boost(category="A", weight=-1.0)],
        pin_item_ids=[one],
    )  # fmt: skip
    item = t.Item(
        item_id="fuzz-item", title="Oat drink", text="organic oat drink", domain="GROCERY",
        category="MILK", brand="fuzz", price=2.0, attributes={"size": "1 l"},
    )  # fmt: skip
    home = api.RecommendRequest(
        shopper=shopper, surface=t.SURFACE_HOME, page_size=5, rules=rules, diversity=0.3
    )
    like = api.RecommendRequest(shopper=shopper, surface=t.SURFACE_ITEM, item_ids=[one])
    cart = api.RecommendRequest(surface=t.SURFACE_CART, item_ids=[one, two], explain=True)
    search = api.SearchRequest(shopper=shopper, query="milk", page_size=5, rules=rules)
    rank = api.RankRequest(shopper=shopper, item_ids=list(items[:5]), query="milk", rules=rules)
    calls: list[tuple[str, Message]] = [
        *(("RecommendationService/Recommend", message) for message in (home, like, cart)),
        ("RecommendationService/Search", search),
        ("RecommendationService/Rank", rank),
        ("EventService/RecordEvents", events.RecordEventsRequest(events=[view, view])),
        ("CatalogService/UpsertItems", catalog.UpsertItemsRequest(items=[item])),
        ("CatalogService/DeleteItems", catalog.DeleteItemsRequest(item_ids=["fuzz-gone"])),
        ("CatalogService/GetItem", catalog.GetItemRequest(item_id=one)),
        ("ProfileService/GetProfile", profiles.GetProfileRequest(user_id=user, events=[view])),
        ("ProfileService/DeleteProfile", profiles.DeleteProfileRequest(user_id="fuzz-gone")),
    ]
    made = [Valid("gateway", f"/plait.v1.{method}", message) for method, message in calls]
    return [*made, _check("gateway")]


def of_model_server(server: str, address: str, keys: Sequence[int]) -> list[Valid]:
    """Return valid requests of one model server, from what it says its models want."""
    made = [_check(server)]

    def add(method: str, message: Message) -> None:
        made.append(Valid(server, f"/inference.GRPCInferenceService/{method}", message))

    for method, empty in (
        ("ServerLive", pb.ServerLiveRequest()),
        ("ServerReady", pb.ServerReadyRequest()),
        ("ServerMetadata", pb.ServerMetadataRequest()),
        ("RepositoryIndex", pb.RepositoryIndexRequest(ready=True)),
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=server)),
    ):
        add(method, empty)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=10)
        for model in index.models:
            asked = pb.ModelMetadataRequest(name=model.name, version=model.version)
            add("ModelReady", pb.ModelReadyRequest(name=model.name, version=model.version))
            add("ModelMetadata", asked)
            described = stub.ModelMetadata(asked, timeout=10)
            for without in ("candidates", "k"):
                request = _infer(described, keys, without)
                # Most of what a server does it does here.
                for _ in range(5):
                    add("ModelInfer", request)
                # Over a call that stays open; here its only message.
                add("ModelStreamInfer", request)
    return made


def _check(server: str) -> Valid:
    return Valid(server, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())


def _infer(
    described: pb.ModelMetadataResponse, keys: Sequence[int], without: str
) -> pb.ModelInferRequest:
    inputs = {t.name: _tensor(t, keys) for t in described.inputs if t.name != without}
    return write_request(described.name, inputs, version=described.versions[-1])


def _tensor(declared: pb.ModelMetadataResponse.TensorMetadata, keys: Sequence[int]) -> Array:
    shape = [1 if at == 0 else _WIDTH if n < 0 else n for at, n in enumerate(declared.shape)]
    if declared.datatype == "BYTES":
        words = np.empty(shape, object)
        words[...] = b"milk"
        return words
    if declared.name == "k":
        return np.full(shape, 5, np.int64)
    values = np.resize(np.asarray(keys[:_WIDTH]), shape)
    dtype = _DTYPES[declared.datatype]
    return values.astype(dtype) if dtype is np.int64 else np.ones(shape, dtype)
