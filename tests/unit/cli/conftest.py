"""A gateway written by hand: it answers by rule and keeps what it was asked."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from cli.main import plait
from plait.v1 import (
    catalog_service_pb2_grpc,
    event_service_pb2_grpc,
    profile_service_pb2_grpc,
    recommendation_service_pb2_grpc,
)
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import (
    DeleteItemsRequest,
    DeleteItemsResponse,
    GetItemRequest,
    GetItemResponse,
    UpsertItemsRequest,
    UpsertItemsResponse,
)
from plait.v1.event_service_pb2 import RecordEventsRequest, RecordEventsResponse
from plait.v1.profile_service_pb2 import (
    DeleteProfileRequest,
    DeleteProfileResponse,
    GetProfileRequest,
    GetProfileResponse,
    Profile,
)
from plait.v1.recommendation_service_pb2 import (
    RankRequest,
    RankResponse,
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
)

Context = Any
ITEMS = {
    "100": t.Item(item_id="100", item_key=100, title="Greek yogurt [6 oz]", category="YOGURT"),
    "200": t.Item(item_id="200", item_key=200, title="Oat milk", category="MILK", price=2.5),
}
CHEESE = t.Item(item_id="400", title="K\u00e4se", provider="Dairy 7", image_vector=[0.5, 0.25])
SOURCES = [
    t.SourceStatus(
        source="cf", outcome=t.SOURCE_OUTCOME_OK, model_version="1", candidate_count=2,
        latency_ms=1.25,
    ),
    t.SourceStatus(source="sequence", outcome=t.SOURCE_OUTCOME_LATE, detail="no answer in 40 ms"),
]  # fmt: skip
COVERAGE = t.Coverage(asked=2, answered=1, partial=True)


def ranked(position: int, item: t.Item) -> t.RankedItem:
    return t.RankedItem(
        item_id=item.item_id,
        item_key=item.item_key,
        position=position,
        score=1.0 / position,
        item=item,
        explanation=t.Explanation(
            contributions=[
                t.Contribution(source="cf", score=3.5, rank=position, share=0.75, weight=0.75),
                t.Contribution(source="sequence", rank=0, share=0.25, weight=0.25),
            ],
            rules=["boost:category=YOGURT"],
            reason="because you bought Oat milk",
        ),
    )


class FakeGateway(
    recommendation_service_pb2_grpc.RecommendationServiceServicer,
    event_service_pb2_grpc.EventServiceServicer,
    catalog_service_pb2_grpc.CatalogServiceServicer,
    profile_service_pb2_grpc.ProfileServiceServicer,
):
    """Answers every call with the two items; `fails` makes it abort instead.

    `takes`: upserts it answers before it refuses them.
    """

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[Any] = []
        self.fails: tuple[grpc.StatusCode, str] | None = None
        self.empty = False
        self.takes = 100
        self.profile = Profile()

    def _take(self, request: object, context: Context) -> list[t.RankedItem]:
        self.asked.append(request)
        if self.fails:
            context.abort(*self.fails)
        return [] if self.empty else [ranked(i, v) for i, v in enumerate(ITEMS.values(), 1)]

    def Recommend(self, request: RecommendRequest, context: Context) -> RecommendResponse:  # noqa: N802
        return RecommendResponse(
            items=self._take(request, context),
            sources=SOURCES,
            coverage=COVERAGE,
            next_page_token="page-2",
            dropped=[t.DroppedItem(item_id="300", reason="price")],
        )

    def Search(self, request: SearchRequest, context: Context) -> SearchResponse:  # noqa: N802
        found = self._take(request, context)
        coverage = COVERAGE if found else t.Coverage(asked=1, answered=1, fallback=True)
        return SearchResponse(items=found, sources=SOURCES, coverage=coverage)

    def Rank(self, request: RankRequest, context: Context) -> RankResponse:  # noqa: N802
        return RankResponse(
            items=self._take(request, context),
            sources=SOURCES,
            coverage=COVERAGE,
            unknown_item_count=1,
        )

    def RecordEvents(self, request: RecordEventsRequest, context: Context) -> RecordEventsResponse:  # noqa: N802
        self._take(request, context)
        return RecordEventsResponse(recorded_count=len(request.events), duplicate_count=1)

    def UpsertItems(self, request: UpsertItemsRequest, context: Context) -> UpsertItemsResponse:  # noqa: N802
        self._take(request, context)
        self.takes -= 1
        if self.takes < 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "items[0].item_id: required")
        return UpsertItemsResponse(created_count=len(request.items), embedded_count=1)

    def DeleteItems(self, request: DeleteItemsRequest, context: Context) -> DeleteItemsResponse:  # noqa: N802
        self._take(request, context)
        return DeleteItemsResponse(deleted_count=1, missing_count=0)

    def GetItem(self, request: GetItemRequest, context: Context) -> GetItemResponse:  # noqa: N802
        self._take(request, context)
        if request.item_id == CHEESE.item_id:
            return GetItemResponse(item=CHEESE)
        if request.item_id not in ITEMS:
            context.abort(grpc.StatusCode.NOT_FOUND, f"item {request.item_id}")
        return GetItemResponse(item=ITEMS[request.item_id])

    def GetProfile(self, request: GetProfileRequest, context: Context) -> GetProfileResponse:  # noqa: N802
        self._take(request, context)
        self.profile.user_id = request.user_id
        return GetProfileResponse(profile=self.profile)

    def DeleteProfile(  # noqa: N802
        self, request: DeleteProfileRequest, context: Context
    ) -> DeleteProfileResponse:
        self._take(request, context)
        if request.user_id == "unlucky":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the shopper is not forgotten")
        return DeleteProfileResponse(deleted_event_count=1200, deleted_exposure_count=1)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    limit = ("grpc.max_receive_message_length", 16 << 20)
    server = grpc.server(ThreadPoolExecutor(2), options=[limit])
    fake = FakeGateway()
    recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(fake, server)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(fake, server)
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(fake, server)
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None).wait()


Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run `plait` as a person would."""

    def call(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(plait, list(arguments), prog_name="plait", **options)

    return call
