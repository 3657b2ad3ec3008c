"""Plait in one process answers as the five do."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cli.client import Gateway
from cli.failures import UserError
from cli.fleet_config import FleetConfig
from cli.processes import Fleet
from cli.topology import EMBEDDED, Endpoint, Topology
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.recommendation_service_pb2 import (
    RankRequest,
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
    Shopper,
)
from tests.e2e.conftest import Ground, Processes, fleet_config


@contextmanager
def running(config: FleetConfig, gateway: Endpoint) -> Iterator[Processes]:
    """A gateway alone, on a state of its own: what others record does not reach it."""
    config = dataclasses.replace(config, topology=Topology(gateway, ()))
    log: list[tuple[str, str]] = []
    with (
        Fleet(config, lambda name, line: log.append((name, line))) as fleet,
        Gateway(fleet.topology.gateway.address) as client,
    ):
        yield Processes(fleet, client, log)


@pytest.fixture(scope="module")
def one(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    config = fleet_config(ground, tmp_path_factory.mktemp("one"))
    gateway = dataclasses.replace(config.topology.gateway, program=EMBEDDED)
    with running(config, gateway) as processes:
        yield processes


@pytest.fixture(scope="module")
def wired(
    ground: Ground, five: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """A second gateway over the model services of the five."""
    config = fleet_config(ground, tmp_path_factory.mktemp("wired"))
    sources = ",".join(f"{end.name}={end.address}" for end in five.topology.sources)
    settings = {**config.settings, "PLAIT_GATEWAY_SOURCES": sources}
    config = dataclasses.replace(config, settings=settings)
    with running(config, config.topology.gateway) as processes:
        yield processes


def same(one: RecommendResponse | SearchResponse, five: RecommendResponse | SearchResponse) -> None:
    """Every source took part, and items, scores and shares are those of the other."""
    assert not one.coverage.partial
    assert not five.coverage.partial
    assert [i.item_id for i in one.items] == [i.item_id for i in five.items]
    for mine, theirs in zip(one.items, five.items, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
        shares = [[c.share for c in i.explanation.contributions] for i in (mine, theirs)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-4)


def events(*keys: str) -> list[t.Event]:
    return [t.Event(item_id=key, type=t.EVENT_TYPE_VIEW) for key in keys]


def test_one_process_gives_the_answers_of_five(one: Processes, wired: Processes) -> None:
    items = [item.item_id for item in wired.home("nobody-at-all").items][:3]
    shopper = Shopper(user_id="embedded-guest", events=events(*items))
    requests = [
        RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME, explain=True),
        RecommendRequest(shopper=shopper, surface=t.SURFACE_ITEM, item_ids=items[:1], explain=True),
        RecommendRequest(shopper=shopper, surface=t.SURFACE_CART, item_ids=items, explain=True),
    ]
    for request in requests:
        same(one.recommend(request), wired.recommend(request))
    search = SearchRequest(shopper=shopper, query="milk", explain=True)
    rank = RankRequest(shopper=shopper, item_ids=items)
    found = [p.gateway.call(p.gateway.recommendations.Search, search) for p in (one, wired)]
    same(*found)
    ranked = [p.gateway.call(p.gateway.recommendations.Rank, rank) for p in (one, wired)]
    assert [i.item_id for i in ranked[0].items] == [i.item_id for i in ranked[1].items]


def test_it_is_one_process_that_places_new_items_too(one: Processes) -> None:
    assert not psutil.Process(one.fleet.pid("gateway")).children()
    item = t.Item(item_id="embedded-new", title="Embedded oat milk", category="MILK")
    answer = one.gateway.call(one.gateway.catalog.UpsertItems, UpsertItemsRequest(items=[item]))
    assert (answer.created_count, answer.embedded_count) == (1, 1)
    search = SearchRequest(query="embedded oat milk", page_size=5)
    found = one.gateway.call(one.gateway.recommendations.Search, search)
    assert "embedded-new" in [i.item_id for i in found.items]


def test_a_missing_model_stops_the_start_and_is_named(ground: Ground, tmp_path: Path) -> None:
    config = fleet_config(ground, tmp_path)
    assert config.repository is not None
    broken = tmp_path / "models"
    broken.mkdir()
    for entry in config.repository.iterdir():
        if entry.name != "sequence":
            (broken / entry.name).symlink_to(entry)
    gateway = dataclasses.replace(config.topology.gateway, program=EMBEDDED)
    config = dataclasses.replace(config, topology=Topology(gateway, ()), repository=broken)
    with pytest.raises(UserError, match=r"models/sequence"):
        Fleet(config).start()
