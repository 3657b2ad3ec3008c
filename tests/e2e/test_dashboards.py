"""The dashboard, asked of a Prometheus that scrapes the five running processes."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.client import Gateway
from dashboards.build import ROWS
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RecommendRequest, SearchRequest, Shopper
from tests.contracts.repository import ROOT
from tests.e2e.conftest import Ground, Processes
from tests.support.prometheus import as_asked, needs_prometheus, prometheus, scrape_config

PARTIAL = "plait_partial_answers_total"
# What five sound processes never show: such scores, and what is there only during a
# canary, with several workers or gateways, or where weights follow events, which is off by
# default.
# tests/contracts records all of them.
NEVER = {
    "Scores that were NaN or infinite",
    "Canaries: part of the shoppers",
    "Canary questions answered by the default",
    "Workers by state",
    "Workers started again",
    "Blend weights by surface and source",
    "Events that moved weights, and those that could not",
    "Gateways by what the journal is to them",
    "Entries of the journal per second",
}


@contextmanager
def shoppers(address: str, ground: Ground) -> Iterator[None]:
    """Keep the shop busy with all that the dashboard tells apart."""
    over = threading.Event()
    household, bought = ground.cast.household, ground.cast.last_bought[0].item_id

    def one_round(gateway: Gateway, number: int) -> None:
        seen = t.Event(item_id=bought, type=t.EVENT_TYPE_VIEW)
        known = RecommendRequest(shopper=Shopper(user_id=household), surface=t.SURFACE_HOME)
        choosy = RecommendRequest()
        choosy.CopyFrom(known)
        choosy.rules.exclude_item_ids.append(bought)
        stranger = RecommendRequest(shopper=Shopper(), surface=t.SURFACE_HOME)
        lost = RecommendRequest(shopper=Shopper(events=[seen]), surface=t.SURFACE_SESSION)
        lost.shopper.events.add(item_id=f"no-such-item-{number % 3}", type=t.EVENT_TYPE_VIEW)
        for request in (known, choosy, stranger, lost):
            gateway.call(gateway.recommendations.Recommend, request)
        gateway.call(gateway.recommendations.Search, SearchRequest(query="yogurt"))
        event = t.Event(user_id="dashboard", item_id=bought, type=t.EVENT_TYPE_CART)
        gateway.call(gateway.events.RecordEvents, RecordEventsRequest(events=[event]))

    def shop() -> None:
        with Gateway(address) as gateway:
            item = t.Item(item_id="dashboard-item", title="Oat drink", text="organic oat drink")
            gateway.call(gateway.catalog.UpsertItems, UpsertItemsRequest(items=[item]))
            for number in itertools.count():
                if over.wait(0.1):
                    return
                one_round(gateway, number)

    thread = threading.Thread(target=shop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@needs_prometheus
def test_every_query_of_the_dashboard_finds_numbers_of_the_running_processes(
    five: Processes, ground: Ground, tmp_path: Path
) -> None:
    ends = {end.name: f"{end.host}:{end.metrics_port}" for end in five.topology.all}
    panels = [panel for row in ROWS for panel in row.panels if panel.title not in NEVER]
    empty = []
    with (
        shoppers(five.address, ground),
        prometheus(tmp_path, scrape_config(ROOT, ends)) as server,
    ):
        assert server.wait_for("rate(plait_recommend_seconds_count[20s]) > 0")
        # A counter's first appearance is no increase: lose a model, and once more.
        for expression in (PARTIAL, f"rate({PARTIAL}[20s]) > 0"):
            five.fleet.kill("cf")
            assert server.wait_for(expression)
            assert five.until(five.whole)
        for panel in panels:
            for target in panel.targets:
                asked = as_asked(target.expr, "20s")
                if not server.wait_for(asked):
                    empty.append(f"{panel.title}: {asked}")
        assert server.wait_for('count(up{job="plait"} == 1) == 5')
    assert empty == []
