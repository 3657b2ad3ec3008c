"""Rankings, events and the catalogue as gRPC methods: read, do, write, and note afterwards.

Methods raise the errors of services.runtime.errors; the server's interceptor
turns them into statuses, and names the field of a request that cannot be decoded.
`parts` raises Unavailable while the gateway is still loading.
"""

# gRPC names the methods.
# ruff: noqa: N802

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor

from gateway.admission.lanes import CATALOGUE, EVENTS, Lanes
from gateway.api import read, sizes
from gateway.api.write import Cards, Reply, write_item, write_page
from gateway.catalogue import Catalogue
from gateway.events import EventTaker
from gateway.fanout import expiry
from gateway.forgetting import Forgetter
from gateway.keeper import CatalogueKeeper
from gateway.profiles import Profiles
from gateway.rollouts.canaries import Canaries
from gateway.rollouts.fusion import FusionVersions
from gateway.slates import Slates
from gateway.types import Ask, Page
from plait.v1 import catalog_service_pb2 as catalog
from plait.v1 import event_service_pb2 as events
from plait.v1 import recommendation_service_pb2 as api

# A string: grpc.aio's context is generic to the type checker only.
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicers work with, once the state is loaded."""

    slates: Slates
    catalogue: Catalogue
    events: EventTaker
    keeper: CatalogueKeeper
    forgetter: Forgetter
    canaries: Canaries
    fusion: FusionVersions
    profiles: Profiles
    lanes: Lanes


class RecommendationServicer:
    """Rankings for one shopper."""

    DESCRIPTOR = api.DESCRIPTOR.services_by_name["RecommendationService"]

    def __init__(
        self,
        parts: Callable[[], Parts],
        default_page_size: int,
        most_bytes: int = sizes.MOST_BYTES,
    ) -> None:
        """No answer has more than `most_bytes`, nor than callers take."""
        self._parts = parts
        self._page_size = default_page_size
        self._most_bytes = min(most_bytes, sizes.MOST_BYTES)
        self._cards = Cards()

    async def Recommend(
        self, request: api.RecommendRequest, context: _Context
    ) -> api.RecommendResponse:
        """Items for a surface."""
        ask = read.read_recommend(request, now_ms(), self._page_size)
        return await self._answer(ask, api.RecommendResponse(), context)

    async def Search(self, request: api.SearchRequest, context: _Context) -> api.SearchResponse:
        """Items for a query, ordered for this shopper."""
        ask = read.read_search(request, now_ms(), self._page_size)
        return await self._answer(ask, api.SearchResponse(), context)

    async def Rank(self, request: api.RankRequest, context: _Context) -> api.RankResponse:
        """The caller's own candidates, ordered for this shopper."""
        ask = read.read_rank(request, now_ms())
        return await self._answer(ask, api.RankResponse(), context)

    async def _answer(self, ask: Ask, reply: Reply, context: _Context) -> Reply:
        parts = self._parts()
        page = await parts.slates.page(ask, context.time_remaining())
        start = time.perf_counter()
        write_page(reply, page, parts.catalogue, self._cards)
        if sizes.may_exceed(reply, self._cards, self._most_bytes):
            page = self._cut(reply, page, ask)
        parts.slates.shown(page, time.perf_counter() - start, first=not ask.page_token)
        return reply

    def _cut(self, reply: Reply, page: Page, ask: Ask) -> Page:
        """Cut a reply to what callers take; return the page that is left."""
        if isinstance(reply, api.RankResponse):
            sizes.leave_out_cards(reply, self._most_bytes)
            return page
        count = sizes.fitting(reply, self._most_bytes)
        if count >= len(page.places):
            return page
        parts = self._parts()
        page = parts.slates.shorter(page, count, ask)
        reply.Clear()
        write_page(reply, page, parts.catalogue, self._cards)
        return page


class EventServicer:
    """Takes events."""

    DESCRIPTOR = events.DESCRIPTOR.services_by_name["EventService"]

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts = parts

    async def RecordEvents(
        self, request: events.RecordEventsRequest, context: _Context
    ) -> events.RecordEventsResponse:
        """Record events, all or none; durable and visible when this returns."""
        parts = self._parts()
        parts.events.check(len(request.events))
        async with parts.lanes.events.admitted(EVENTS, time_limit(context)):
            recorded = await parts.events.record(read.read_events(request, now_ms()))
        return events.RecordEventsResponse(
            recorded_count=recorded.new,
            duplicate_count=recorded.duplicates,
            unknown_item_count=recorded.unknown,
        )


class CatalogServicer:
    """Keeps the catalogue."""

    DESCRIPTOR = catalog.DESCRIPTOR.services_by_name["CatalogService"]

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts = parts

    async def UpsertItems(
        self, request: catalog.UpsertItemsRequest, context: _Context
    ) -> catalog.UpsertItemsResponse:
        """Add or replace items, all or none."""
        parts = self._parts()
        async with parts.lanes.catalogue.admitted(CATALOGUE, time_limit(context)) as visit:
            visit.note(None)  # waiting for models says nothing of how long others take
            items = read.read_items(request)
            done = await parts.keeper.upsert(items, context.time_remaining())
        return catalog.UpsertItemsResponse(
            created_count=done.created, updated_count=done.updated, embedded_count=done.embedded
        )

    async def DeleteItems(
        self, request: catalog.DeleteItemsRequest, context: _Context
    ) -> catalog.DeleteItemsResponse:
        """Remove items."""
        parts = self._parts()
        async with parts.lanes.catalogue.admitted(CATALOGUE, time_limit(context)):
            deleted, missing = await parts.keeper.delete(read.read_deletes(request))
        return catalog.DeleteItemsResponse(deleted_count=deleted, missing_count=missing)

    async def GetItem(
        self, request: catalog.GetItemRequest, context: _Context
    ) -> catalog.GetItemResponse:
        """Read one item."""
        del context
        response = catalog.GetItemResponse()
        write_item(response.item, self._parts().keeper.get(read.read_item_id(request)))
        return response


# By whether the answer is a stream.
_KINDS: dict[bool, Callable[..., Any]] = {
    False: grpc.unary_unary_rpc_method_handler,
    True: grpc.unary_stream_rpc_method_handler,
}


class Servicer(Protocol):
    """What `add_to_server` adds: a method for each of the service's, under its name."""

    DESCRIPTOR: ServiceDescriptor


def add_to_server(server: grpc.aio.Server, servicer: Servicer) -> str:
    """Add a service to a server; return its full name."""
    service: ServiceDescriptor = servicer.DESCRIPTOR
    handlers = {
        method.name: _KINDS[method.server_streaming](
            _behaviour(servicer, method.name),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(
                method.output_type
            ).SerializeToString,
        )
        for method in service.methods
    }
    handler = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((handler,))
    return service.full_name


def _behaviour(servicer: Servicer, name: str) -> Callable[[Any, Any], Any]:
    method: Callable[[Any, Any], Any] = getattr(servicer, name)
    return method


def time_limit(context: _Context) -> float:
    """Return until when (time.perf_counter()) the caller waits."""
    return expiry(context.time_remaining(), time.perf_counter())


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)
