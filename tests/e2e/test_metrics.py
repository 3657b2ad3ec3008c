"""Every process says how it is, in names that documentation and dashboards use."""

import pytest
from prometheus_client import REGISTRY

from cli.scrape import scrape
from cli.topology import NAMES, SOURCES
from plait.v1.recommendation_service_pb2 import SearchRequest
from services.runtime import metrics
from tests.e2e.conftest import Ground, Processes

MODEL = ("plait_request_seconds", "plait_queue_seconds", "plait_inference_seconds")
GATEWAY = ("plait_recommend_seconds", "plait_source_seconds", "plait_stage_seconds",
           "plait_merge_seconds")  # fmt: skip


@pytest.fixture
def used(five: Processes, ground: Ground) -> Processes:
    """Every model has answered at least once."""
    five.home(ground.cast.household)
    five.gateway.call(five.gateway.recommendations.Search, SearchRequest(query="yogurt"))
    return five


@pytest.mark.parametrize("name", NAMES)
def test_the_endpoint_of_each_process_can_be_read(used: Processes, name: str) -> None:
    end = used.topology.find(name)
    seen = scrape(end.host, end.metrics_port)
    assert seen.values("plait_build_info", "role") == (name,)
    assert {s.name.partition("_")[0] for s in seen.samples} <= {"plait", "python", "process"}


@pytest.mark.parametrize("name", SOURCES)
def test_a_model_counts_requests_waits_and_inference(used: Processes, name: str) -> None:
    end = used.topology.find(name)
    seen = scrape(end.host, end.metrics_port)
    for metric in MODEL:
        assert seen.histogram(metric).count > 0, metric
    assert seen.values("plait_model_info", "version")
    assert seen.values("plait_inference_seconds_count", "source")[0] == name


def test_the_text_model_counts_queries_whose_vectors_it_kept(used: Processes) -> None:
    end = used.topology.find("text")
    search = used.gateway.recommendations.Search
    before = scrape(end.host, end.metrics_port)
    for _ in range(2):
        used.gateway.call(search, SearchRequest(query="strawberry yogurt for counting"))
    after = scrape(end.host, end.metrics_port)
    for outcome in ("kept", "encoded"):
        counted = [s.sum("plait_query_vectors_total", outcome=outcome) for s in (before, after)]
        assert counted[1] > counted[0], outcome


def test_the_gateway_counts_rankings_sources_and_stages(used: Processes) -> None:
    end = used.topology.gateway
    seen = scrape(end.host, end.metrics_port)
    for metric in GATEWAY:
        assert seen.histogram(metric).count > 0, metric
    assert set(SOURCES) <= set(seen.values("plait_source_seconds_count", "source"))
    assert seen.sum("plait_catalogue_items") > 1000


def test_no_process_exposes_a_metric_that_is_not_declared(used: Processes) -> None:
    declared = {m.name for m in REGISTRY.collect() if m.name.startswith("plait_")}
    assert metrics.REQUEST_SECONDS is not None
    for end in used.topology.all:
        names = {s.name for s in scrape(end.host, end.metrics_port).samples}
        for name in (n for n in names if n.startswith("plait_")):
            base = name
            for suffix in ("_bucket", "_count", "_sum", "_total", "_created"):
                base = base.removesuffix(suffix)
            assert base in declared, name
