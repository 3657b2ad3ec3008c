"""What the gateway says about itself while it answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
from prometheus_client import REGISTRY

from gateway.fusion.pipeline import STAGES
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from tests.integration.gateway.test_failures import until
from tests.integration.gateway.world import Shop, open_shop


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def grown(name: str, by: float, act: Callable[[], Awaitable[None]], **labels: str) -> None:
    """Assert that a metric grows by this much, soon after the reply."""
    before = value(name, **labels)
    await act()

    async def there() -> bool:
        return value(name, **labels) == before + by

    await until(there)


async def test_a_ranking_is_timed_by_surface_outcome_stage_and_source(shop: Shop) -> None:
    async def ask() -> None:
        await shop.recommend("ann")

    labels = {"surface": "HOME", "outcome": "ok"}
    await grown("plait_recommend_seconds_count", 1, ask, **labels)
    await grown("plait_merge_seconds_count", 1, ask, surface="HOME")
    for stage in ("read_state", "fan_out", "pool", "reply", *(s.__name__ for s in STAGES)):
        await grown("plait_stage_seconds_count", 1, ask, stage=stage)
    for source in shop.sources:
        await grown("plait_source_seconds_count", 1, ask, source=source, version="1", outcome="ok")


async def test_how_many_gateways_there_are_to_be_is_told(directory: Path) -> None:
    async with open_shop(directory, wanted_gateways=3):
        assert value("plait_gateways_wanted") == 3


async def test_partial_answers_fallbacks_and_bad_scores_are_counted(shop: Shop) -> None:
    async def ann() -> None:
        await shop.recommend("ann")

    async def nobody() -> None:
        await shop.recommend("nobody")

    reason = {"surface": "HOME", "reason": "nothing_to_ask"}
    await grown("plait_fallbacks_total", 1, nobody, **reason)
    shop.sources["content"].mangle = lambda outputs: {
        **outputs, "scores": np.full_like(outputs["scores"], np.inf)
    }  # fmt: skip
    await grown("plait_invalid_scores_total", 60, ann, source="content")
    shop.sources["cf"].status = grpc.StatusCode.INTERNAL
    await grown("plait_partial_answers_total", 1, ann, surface="HOME")
    for source in shop.sources.values():
        source.status = grpc.StatusCode.INTERNAL
    await grown("plait_fallbacks_total", 1, ann, surface="HOME", reason="no_source")


async def test_dropped_candidates_and_unknown_items_are_counted(shop: Shop) -> None:
    async def ask() -> None:
        view = t.Event(item_id="nothing", type=t.EVENT_TYPE_VIEW)
        await shop.recommend("ann", rules=t.Rules(exclude_item_ids=["12", "18"]), events=[view])

    await grown("plait_dropped_candidates_total", 2, ask, reason="excluded")
    await grown("plait_unknown_items_total", 1, ask, source="catalogue")


async def test_events_and_their_commits_are_counted(shop: Shop) -> None:
    event = t.Event(user_id="u", item_id="1", type=t.EVENT_TYPE_CART)

    async def record() -> None:
        await shop.events.RecordEvents(RecordEventsRequest(events=[event]))

    await grown("plait_events_total", 1, record, type="cart")
    await grown("plait_event_commit_seconds_count", 1, record)
    assert value("plait_catalogue_items") == 60


async def test_what_was_shown_to_whom_is_written_after_the_reply(directory: Path) -> None:
    async with open_shop(directory) as shop:
        answer = await shop.recommend("ann", page_size=3)
        await asyncio.sleep(0)
    lines = (directory / "exposures.jsonl").read_text().splitlines()
    shown = json.loads(lines[0])
    assert shown["ranking_id"] == answer.ranking_id
    assert shown["user_id"] == "ann"
    assert shown["item_ids"] == [item.item_id for item in answer.items]
    assert shown["sources"]["cf"] == "OK"
