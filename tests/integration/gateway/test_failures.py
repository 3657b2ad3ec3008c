"""Any subset of the sources may be gone, slow or wrong: the answer says which, and is OK."""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, Shopper
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import (
    SOURCES,
    Shop,
    fake_sources,
    ids,
    open_shop,
    outcomes,
    vectors,
)

PATIENCE = 30.0


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for an awaitable condition to come true."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):  # noqa: ASYNC110 -- asks another process
            await asyncio.sleep(0.02)
    return found


async def test_any_subset_of_sources_failing_leaves_an_answer_that_names_them(shop: Shop) -> None:
    for size in range(1, 5):
        for away in itertools.combinations(SOURCES, size):
            for name, source in shop.sources.items():
                source.status = grpc.StatusCode.INTERNAL if name in away else None
            answer = await shop.recommend("ann")
            assert len(answer.items) == 20
            expected = {name: "error" if name in away else "ok" for name in SOURCES}
            assert outcomes(answer) == expected
            assert answer.coverage.partial
            assert answer.coverage.answered == 4 - size
            assert answer.coverage.fallback == (size == 4)


async def test_with_every_source_gone_trends_are_the_answer(shop: Shop) -> None:
    for source in shop.sources.values():
        await source.stop()
    answer = await shop.recommend("ann")
    assert answer.items[0].item_id == "33"
    assert answer.coverage.fallback
    assert set(outcomes(answer).values()) == {"error"}
    assert [s.detail for s in answer.sources] == ["not reachable"] * 4


async def test_a_gateway_serves_before_any_source_was_ever_there(directory: Path) -> None:
    nowhere = tuple(f"{name}=127.0.0.1:9" for name in SOURCES)
    async with open_shop(directory, sources={}, addresses=nowhere) as shop:
        answer = await shop.recommend("ann")
        assert len(answer.items) == 20
        assert answer.coverage.fallback
        found = await shop.search("yogurt")
        assert {item.item.category for item in found.items} == {"YOGURT"}


async def test_a_source_that_misses_its_deadline_is_left_out_and_told_to_stop(
    directory: Path,
) -> None:
    async with open_shop(directory, max_deadline_ms=300, merge_reserve_ms=50) as shop:
        slow = shop.sources["sequence"]
        slow.delay = PATIENCE
        answer = await shop.recommend("ann")
        assert outcomes(answer) == {"cf": "ok", "content": "ok", "sequence": "late", "text": "ok"}
        assert answer.items[0].item.category == "YOGURT"

        async def told() -> bool:
            return slow.cancelled > 0

        await until(told)


async def test_a_clients_own_deadline_cuts_the_wait_short(directory: Path) -> None:
    async with open_shop(directory, max_deadline_ms=60_000, merge_reserve_ms=100) as shop:
        for source in shop.sources.values():
            source.delay = PATIENCE
        request = RecommendRequest(shopper=Shopper(user_id="ann"), surface=t.SURFACE_HOME)
        answer = await shop.recommendations.Recommend(request, timeout=1.0)
        assert set(outcomes(answer).values()) == {"late"}
        assert answer.items


async def test_a_source_that_sheds_is_named_as_such(shop: Shop) -> None:
    shop.sources["cf"].status = grpc.StatusCode.RESOURCE_EXHAUSTED
    answer = await shop.recommend("ann")
    assert outcomes(answer)["cf"] == "shed"


def ragged(outputs: dict[str, Any]) -> dict[str, Any]:
    return outputs | {"scores": outputs["scores"][:, :-1]}


def doubled(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: np.repeat(array, 2, axis=0) for name, array in outputs.items()}


def flat(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: array.ravel() for name, array in outputs.items()}


def doubles(outputs: dict[str, Any]) -> dict[str, Any]:
    return outputs | {"scores": outputs["scores"].astype(np.float64)}


def float_keys(outputs: dict[str, Any]) -> dict[str, Any]:
    return outputs | {"item_keys": outputs["item_keys"].astype(np.float32)}


def texts(outputs: dict[str, Any]) -> dict[str, Any]:
    column = np.empty(outputs["scores"].shape, object)
    column[:] = b"high"
    return outputs | {"scores": column}


def missing(outputs: dict[str, Any]) -> dict[str, Any]:
    return {"item_keys": outputs["item_keys"]}


@pytest.mark.parametrize(
    "wrong",
    [ragged, doubled, flat, doubles, float_keys, texts, missing],
    ids=lambda f: f.__name__,
)
async def test_an_answer_of_the_wrong_shape_or_type_costs_only_its_source(
    shop: Shop, wrong: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    shop.sources["cf"].mangle = wrong
    answer = await shop.recommend("ann")
    assert outcomes(answer) == {"cf": "error", "content": "ok", "sequence": "ok", "text": "ok"}
    detail = next(s.detail for s in answer.sources if s.source == "cf")
    assert detail.startswith("answer not usable: ")
    assert answer.items[0].item.category == "YOGURT"


async def test_a_source_that_keeps_failing_is_left_alone_and_named_open(directory: Path) -> None:
    async with open_shop(directory, breaker_failures=3, breaker_rest_ms=60_000) as shop:
        shop.sources["cf"].status = grpc.StatusCode.INTERNAL
        shop.sources["content"].mangle = ragged
        answers = [await shop.recommend("ann") for _ in range(5)]
        seen = [(outcomes(a)["cf"], outcomes(a)["content"]) for a in answers]
        assert seen == [("error", "error")] * 3 + [("open", "open")] * 2
        assert len(shop.sources["cf"].asked) == 3
        assert answers[-1].coverage.partial
        assert answers[-1].items[0].item.category == "YOGURT"
        details = {s.source: s.detail for s in answers[-1].sources}
        assert details["cf"] == "resting after failures"


async def test_a_source_that_fails_for_long_fills_no_log(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_shop(directory, breaker_failures=2, breaker_rest_ms=1) as shop:

        def opened() -> float:
            labels = {"source": "cf", "state": "open"}
            return REGISTRY.get_sample_value("plait_breaker_changes_total", labels) or 0.0

        before = opened()
        shop.sources["cf"].mangle = ragged
        async with asyncio.timeout(60):
            while opened() < before + 5:
                await shop.recommend("ann")
        shop.sources["cf"].mangle = None
        async with asyncio.timeout(60):
            while outcomes(await shop.recommend("ann"))["cf"] != "ok":
                pass
    said = [r.getMessage() for r in caplog.records]
    assert said.count("answer not usable") == 1
    breakers = [r for r in caplog.records if r.getMessage() == "breaker"]
    assert [vars(r)["state"] for r in breakers if r.levelno >= logging.INFO] == ["open", "closed"]


async def test_scores_that_are_no_numbers_never_lead_and_are_counted(shop: Shop) -> None:
    def broken(outputs: dict[str, Any]) -> dict[str, Any]:
        scores = outputs["scores"].copy()
        scores[0, 0::3] = np.nan
        scores[0, 1::3] = np.inf
        scores[0, 2::3] = -np.inf
        return outputs | {"scores": scores}

    healthy = ids(await shop.recommend("ann"))
    shop.sources["cf"].mangle = broken
    answer = await shop.recommend("ann", page_size=200)
    assert answer.items[0].item.category == "YOGURT"
    assert all(math.isfinite(item.score) for item in answer.items)
    assert ids(answer)[0] in healthy
    for source in shop.sources.values():
        source.mangle = broken
    answer = await shop.recommend("ann")
    assert answer.coverage.fallback
    assert len(answer.items) == 20


async def test_a_source_that_names_only_unknown_items_is_named_and_left_out(shop: Shop) -> None:
    def strangers(outputs: dict[str, Any]) -> dict[str, Any]:
        return outputs | {"item_keys": outputs["item_keys"] + 10**6}

    shop.sources["cf"].mangle = strangers
    answer = await shop.recommend("ann")
    assert outcomes(answer)["cf"] == "error"
    assert answer.coverage.partial
    detail = next(s.detail for s in answer.sources if s.source == "cf")
    assert detail == "answer not usable: item_keys: the catalogue has none of these items"


async def test_items_that_only_a_source_knows_are_skipped(shop: Shop) -> None:
    def strangers(outputs: dict[str, Any]) -> dict[str, Any]:
        keys = outputs["item_keys"].copy()
        keys[0, :10] = [10**6, -5, 2**62, 61, 62, 63, 64, 65, 66, 67]
        return outputs | {"item_keys": keys}

    shop.sources["cf"].mangle = strangers
    answer = await shop.recommend("ann", page_size=200)
    assert outcomes(answer)["cf"] == "ok"
    assert set(ids(answer)) == {str(n) for n in range(1, 61)}


async def test_keys_given_twice_appear_once(shop: Shop) -> None:
    def twice(outputs: dict[str, Any]) -> dict[str, Any]:
        keys = outputs["item_keys"].copy()
        keys[0, 1] = keys[0, 0]
        return outputs | {"item_keys": keys}

    for source in shop.sources.values():
        source.mangle = twice
    shown = ids(await shop.recommend("ann", page_size=200))
    assert len(shown) == len(set(shown))


async def test_a_restarted_source_is_used_again_by_itself(shop: Shop) -> None:
    source = shop.sources["cf"]
    await source.stop()
    assert outcomes(await shop.recommend("ann"))["cf"] == "error"
    described = source.described
    await source.start(source.port)

    async def used() -> bool:
        return outcomes(await shop.recommend("ann"))["cf"] == "ok"

    await until(used)

    async def described_anew() -> bool:
        return source.described > described

    await until(described_anew)


async def test_a_source_that_comes_late_to_the_party_is_used(directory: Path) -> None:
    sources = fake_sources()
    late = sources.pop("sequence")
    await late.start()
    port = late.port
    await late.stop()
    for source in sources.values():
        await source.start()
    addresses = tuple(f"{n}=127.0.0.1:{f.port}" for n, f in sources.items())
    addresses += (f"sequence=127.0.0.1:{port}",)
    async with open_shop(directory, sources={}, addresses=addresses) as shop:
        answer = await shop.recommend("ann")
        assert outcomes(answer)["sequence"] == "error"
        await late.start(port)

        async def used() -> bool:
            return outcomes(await shop.recommend("ann"))["sequence"] == "ok"

        await until(used)
    for source in (late, *sources.values()):
        await source.stop()


async def test_a_new_version_is_described_anew_and_named(shop: Shop) -> None:
    source = shop.sources["cf"]
    before = source.described
    source.version = "2"
    answer = await shop.recommend("ann")
    assert next(s.model_version for s in answer.sources if s.source == "cf") == "2"

    async def described() -> bool:
        return source.described > before

    await until(described)


async def test_a_fifth_source_is_one_more_entry(directory: Path) -> None:
    sources = fake_sources() | {"vision": FakeSource("vision", vectors(9))}
    async with open_shop(directory, sources=sources) as shop:
        answer = await shop.recommend("ann", explain=True)
        assert outcomes(answer)["vision"] == "ok"
        parts = {c.source: c for c in answer.items[0].explanation.contributions}
        assert parts["vision"].weight == pytest.approx(0.2)


async def test_rank_survives_the_loss_of_sources_too(shop: Shop) -> None:
    given = [str(n) for n in range(1, 21)]
    request = RankRequest(shopper=Shopper(user_id="ann"), item_ids=given)
    for source in shop.sources.values():
        source.status = grpc.StatusCode.UNAVAILABLE
    answer = await shop.recommendations.Rank(request)
    assert sorted(ids(answer)) == sorted(given)
    assert answer.coverage.fallback
