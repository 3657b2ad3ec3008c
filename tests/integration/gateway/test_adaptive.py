"""Weights follow events that name a ranking, survive a restart, and belong to an artifact."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RecommendResponse
from tests.integration.gateway.test_fusion_versions import change, mostly_cf, publish
from tests.integration.gateway.world import Shop, ids, open_shop
from tests.support.servers import eventually

ADAPTIVE: dict[str, Any] = {"adaptive_surfaces": ("HOME",), "adaptive_rate": 0.2}


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def ask(shop: Shop, user: str = "ann", **fields: Any) -> RecommendResponse:
    return await shop.recommend(user, **fields)


async def weights(shop: Shop, **fields: Any) -> dict[str, float]:
    answer = await ask(shop, explain=True, **fields)
    return {c.source: c.weight for c in answer.items[0].explanation.contributions}


async def click(
    shop: Shop, answer: RecommendResponse, item_id: str, user: str = "ann", **fields: Any
) -> None:
    """Click an item of a ranking, and wait until it was taken in."""
    told = {"type": t.EVENT_TYPE_CLICK, "ranking_id": answer.ranking_id, **fields}
    event = t.Event(user_id=user, item_id=item_id, **told)
    await shop.events.RecordEvents(RecordEventsRequest(events=[event]))
    await ask(shop, "somebody")  # comes after what the event left to do


async def favour(shop: Shop, source: str, times: int = 12) -> None:
    """Click what one source says most for."""
    for _ in range(times):
        answer = await ask(shop, explain=True)

        def said(item: t.RankedItem) -> float:
            parts = {c.source: c.calibrated for c in item.explanation.contributions}
            return parts[source] - sum(parts.values()) / len(parts)

        await click(shop, answer, max(answer.items, key=said).item_id)


def moved() -> float:
    return metric("plait_weight_updates_total", surface="HOME")


async def test_clicks_move_the_weights_of_their_surface_within_its_bounds_and_no_other(
    directory: Path,
) -> None:
    async with open_shop(directory, **ADAPTIVE, adaptive_factor=1.5) as shop:
        cart = {"surface": t.SURFACE_CART, "item_ids": ["6"]}
        before, elsewhere = await weights(shop), await weights(shop, **cart)
        await favour(shop, "content")
        after = await weights(shop)
        assert after["content"] > before["content"] + 0.02
        assert after["content"] <= 0.25 * 1.5 + 1e-6
        assert min(after.values()) >= 0.25 / 1.5 - 1e-6
        assert sum(after.values()) == pytest.approx(1, abs=1e-6)
        shown = metric("plait_adapted_weight_ratio", surface="HOME", source="content")
        assert shown == pytest.approx(after["content"], abs=1e-6)
        assert await weights(shop, **cart) == elsewhere


async def test_they_are_off_unless_a_surface_is_named(shop: Shop) -> None:
    before, count = await weights(shop), moved()
    await favour(shop, "content", times=2)
    assert await weights(shop) == before
    assert moved() == count


async def test_what_was_learned_survives_a_restart_and_belongs_to_its_artifact(
    directory: Path,
) -> None:
    async with open_shop(directory, **ADAPTIVE) as shop:
        await favour(shop, "content")
        learned = await weights(shop)
        assert learned["content"] > 0.27
    async with open_shop(directory, **ADAPTIVE) as shop:
        assert await weights(shop) == pytest.approx(learned, abs=1e-6)
        publish(directory, mostly_cf())
        await change(shop)
        assert await weights(shop) == pytest.approx(
            {"cf": 0.7, "content": 0.1, "sequence": 0.1, "text": 0.1}, abs=1e-6
        )
        await change(shop, previous=True)
        assert await weights(shop) == pytest.approx(learned, abs=1e-6)


async def test_a_click_counts_once_for_who_was_shown_the_item_and_dislikes_do_not(
    directory: Path,
) -> None:
    async with open_shop(directory, **ADAPTIVE) as shop:
        answer = await ask(shop, page_size=5)
        first, count = ids(answer)[0], moved()
        await click(shop, answer, first, user="bob")
        await click(shop, answer, first, ranking_id="0123456789abcdef")
        unseen = next(str(n) for n in range(1, 61) if str(n) not in ids(answer))
        await click(shop, answer, unseen)
        await click(shop, answer, first, type=t.EVENT_TYPE_DISLIKE)
        assert moved() == count
        await click(shop, answer, first)
        await click(shop, answer, first, type=t.EVENT_TYPE_PURCHASE)
        assert moved() == count + 1
        await click(shop, answer, ids(answer)[1])
        assert moved() == count + 2


async def test_a_partial_answer_moves_only_those_who_answered(directory: Path) -> None:
    async with open_shop(directory, **ADAPTIVE) as shop:
        shop.sources["cf"].status = grpc.StatusCode.INTERNAL
        count = moved()
        answer = await ask(shop)
        await click(shop, answer, ids(answer)[3])
        assert moved() == count + 1


async def test_events_that_name_a_ranking_are_in_the_exposure_log(directory: Path) -> None:
    async with open_shop(directory) as shop:
        answer = await shop.recommend("ann", page_size=3)
        await click(shop, answer, ids(answer)[1])
    lines = [json.loads(x) for x in (directory / "exposures.jsonl").read_text().splitlines()]
    (told,) = [line for line in lines if "event" in line]
    assert told["ranking_id"] == answer.ranking_id
    assert (told["user_id"], told["item_id"], told["event"]) == ("ann", ids(answer)[1], "click")


async def test_a_ranking_id_that_is_too_long_is_refused(shop: Shop) -> None:
    event = t.Event(user_id="u", item_id="1", type=t.EVENT_TYPE_CLICK, ranking_id="x" * 33)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.events.RecordEvents(RecordEventsRequest(events=[event]))
    assert "events[0].ranking_id" in (refused.value.details() or "")


async def test_memory_of_rankings_is_bounded(directory: Path) -> None:
    async with open_shop(directory, **ADAPTIVE, max_rankings=3) as shop:
        old = await ask(shop)
        for _ in range(4):
            await ask(shop)
        count = moved()
        await click(shop, old, ids(old)[0])
        await eventually(
            lambda: metric("plait_events_unmatched_total", reason="ranking") > 0, "an old click"
        )
        assert moved() == count
