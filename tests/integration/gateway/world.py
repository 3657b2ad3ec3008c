"""A small shop for tests: items, a fusion artifact, a seeded store, four fake sources.

Items 1 .. 60 in three domains; items of one category have similar vectors, so
recommendations can be told right from wrong by category.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from artifacts import layout
from artifacts.fusion import FusionArtifact, save
from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from gateway.seed import EventBatch, seed
from gateway.types import Item
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2_grpc import CatalogServiceStub
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.manifest_pb2 import Manifest
from plait.v1.recommendation_service_pb2 import (
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
    Shopper,
)
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from services.runtime.server import Server
from tests.integration.gateway.fakes import WIDTH, FakeSource, letters

SOURCES = ("cf", "content", "sequence", "text")
DOMAINS = ("GROCERY", "DRUG", "PRODUCE")
CATEGORIES = ("YOGURT", "CHEESE", "SOAP", "SHAMPOO", "APPLES", "BANANAS")
COUNT = 60


def items() -> list[Item]:
    """Sixty items; item n is of category n mod 6."""
    made = []
    for n in range(1, COUNT + 1):
        category = CATEGORIES[n % 6]
        made.append(
            Item(
                item_id=str(n),
                key=n,
                title=f"{category.title()} number {n}",
                domain=DOMAINS[(n % 6) // 2],
                category=category,
                brand=f"brand {n % 4}",
                price=float(n) / 4,
                attributes={"size": f"{n} OZ"},
            )
        )
    return made


def vectors(seed: int = 0) -> dict[int, np.ndarray]:
    """Unit vectors: the category's axis and a little of the item's own."""
    drawn = np.random.default_rng(seed)
    made = {}
    for n in range(1, COUNT + 1):
        vector = 0.2 * drawn.normal(size=WIDTH).astype(np.float32)
        vector[n % 6] += 1
        made[n] = vector / np.linalg.norm(vector)
    return made


def fusion() -> FusionArtifact:
    """A fusion artifact over the items."""
    keys = np.arange(1, COUNT + 1, dtype=np.int64)
    weights = dict.fromkeys(SOURCES, 0.25)
    surfaces = ("HOME", "ITEM", "CART", "SESSION", "SEARCH", "RANK")
    return FusionArtifact(
        item_keys=keys,
        vectors=np.stack([vectors()[int(k)] for k in keys]).astype(np.float32),
        popularity=np.linspace(1.0, 0.0, COUNT, dtype=np.float32),
        domain_names=DOMAINS,
        domain_transition=np.zeros((3, 3), np.float32),
        domain_prior=np.full(3, 1 / 3, np.float32),
        weights=dict.fromkeys(surfaces, weights),
        quantiles={},
    )


def publish_fusion(repository: Path) -> None:
    """Write the artifact into a repository."""
    with layout.publish(repository, "fusion") as (directory, version):
        save(directory, fusion(), Manifest(version=version))


def events(rows: Sequence[tuple[str, int, str, int]], market: str = "m") -> EventBatch:
    """Return a batch of (user, key, type, age in seconds)."""
    now = int(time.time() * 1000)
    return EventBatch(
        user_ids=[r[0] for r in rows],
        item_keys=[r[1] for r in rows],
        types=[r[2] for r in rows],
        times_ms=[now - 1000 * r[3] for r in rows],
        quantities=[1.0] * len(rows),
        prices=[None] * len(rows),
        markets=[market] * len(rows),
        queries=[None] * len(rows),
    )


# ann buys yogurt (6, 12, ...), bob buys soap (2, 8, ...).
SEEDED = (
    [("ann", n, "purchase", 86_400 * 10 - n) for n in (6, 12, 18)]
    + [("bob", n, "purchase", 86_400 * 10 - n) for n in (2, 8, 14)]
    + [(f"crowd{u}", 33, "purchase", 3_600) for u in range(9)]
)


@dataclass
class Shop:
    """A running gateway and the sources it asks."""

    server: Server
    sources: dict[str, FakeSource]
    config: GatewayConfig
    application: GatewayApplication
    channel: grpc.aio.Channel
    recommendations: Any = field(init=False)
    events: Any = field(init=False)
    catalog: Any = field(init=False)

    def __post_init__(self) -> None:
        self.recommendations = RecommendationServiceStub(self.channel)
        self.events = EventServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)

    async def recommend(
        self, user: str = "ann", surface: t.Surface.ValueType = t.SURFACE_HOME, **fields: Any
    ) -> RecommendResponse:
        shopper = Shopper(
            user_id=user, market=fields.pop("market", "m"), events=fields.pop("events", ())
        )
        request = RecommendRequest(shopper=shopper, surface=surface, **fields)
        answer: RecommendResponse = await self.recommendations.Recommend(request)
        return answer

    async def search(self, query: str, user: str = "", **fields: Any) -> SearchResponse:
        request = SearchRequest(shopper=Shopper(user_id=user), query=query, **fields)
        answer: SearchResponse = await self.recommendations.Search(request)
        return answer


def ids(answer: Any) -> list[str]:
    """The item ids of an answer, in order."""
    return [item.item_id for item in answer.items]


def outcomes(answer: Any) -> dict[str, str]:
    """Source -> outcome, as one lower-case word."""
    return {
        s.source: t.SourceOutcome.Name(s.outcome).removeprefix("SOURCE_OUTCOME_").lower()
        for s in answer.sources
    }


def prepare(directory: Path) -> None:
    """Write the artifact and the seeded store."""
    publish_fusion(directory / "models")
    seed(directory / "state.sqlite", items(), [events(SEEDED)])


@asynccontextmanager
async def open_shop(
    directory: Path,
    *,
    sources: dict[str, FakeSource] | None = None,
    addresses: tuple[str, ...] | None = None,
    **settings: Any,
) -> AsyncIterator[Shop]:
    """Run the gateway of a prepared directory, with fake sources unless told otherwise."""
    async with AsyncExitStack() as stack:
        fakes = fake_sources() if sources is None else sources
        for fake in fakes.values():
            await fake.start()
            stack.push_async_callback(fake.stop)
        config = GatewayConfig(
            metrics_port=0,
            repository=directory / "models",
            state=directory / "state.sqlite",
            sources=addresses or tuple(f"{n}=127.0.0.1:{f.port}" for n, f in fakes.items()),
            exposure_log=directory / "exposures.jsonl",
            drain_seconds=0.0,
            **{
                "port": 0,
                "max_deadline_ms": 2_000,
                "embed_retry_ms": 50,
                "contact_ms": 10_000 if fakes else 0,
                **settings,
            },
        )
        application = GatewayApplication(config)
        server = Server(config, application)
        stack.push_async_callback(server.stop)
        await server.start()
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        )
        yield Shop(server, fakes, config, application, channel)


def fake_sources() -> dict[str, FakeSource]:
    """Four sources that know every item; text compares letters with titles."""
    made = {
        name: FakeSource(name, vectors(seed))
        for seed, name in enumerate(("cf", "content", "sequence"))
    }
    titles = {item.key: letters(f"{item.title} {item.category}") for item in items()}
    return {**made, "text": FakeSource("text", titles, reads_text=True)}
